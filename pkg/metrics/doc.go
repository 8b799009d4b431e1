// Package metrics turns what happens in hubs and on the backplane into numbers for Prometheus.
//
// names.go holds the one table of names; nothing else in the project names a metric. Label values come from closed sets
// and their series exist from the start, so that the first event of a kind shows as an increase. Nothing that a client can
// choose, a user, a group, an unknown method, ever becomes a label.
//
// To add a metric: a row in names.go; a field for its series, looked up once, in the file of the package that it is about
// (hub.go, backplane.go, peer.go), and a hook of that package which moves it; what has a value at any time is read at the
// scrape instead (readings.go). Tests then ask for the series in the registry, and for the row in docs/metrics.md, which
// "go test ./internal/readme -run TestMetricsDocument -update" writes.
package metrics

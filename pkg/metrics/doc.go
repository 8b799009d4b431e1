// Package metrics turns what happens in hubs and on the backplane into numbers for Prometheus.
//
// names.go holds the one table of names; nothing else in the project names a metric. Label values come from closed sets
// and their series exist from the start, so that the first event of a kind shows as an increase. Nothing that a client can
// choose, a user, a group, an unknown method, ever becomes a label.
package metrics

// Package hubgen writes TypeScript declarations for a hub written in Go, and for the client methods that it calls: what the
// command of the same name does.
//
// It reads types, not values: what pkg/hub finds out about a hub by reflection when the hub is mapped, this package finds
// out from the source, by the same rules and with the same words for what breaks them. How values look on the wire it knows
// from encoding/json and pkg/protocol. Tests hold the two readings together.
//
// The hub's package is parsed and checked; the packages that it imports come as the compiler's export data, which
// "go list -export" has at hand from the last build. For a package that imports pkg/node that took a quarter of a second,
// where go/importer's "source" mode took twenty; golang.org/x/tools/go/packages does the same as is done here, at the price
// of a requirement that every user of the library would inherit.
package hubgen

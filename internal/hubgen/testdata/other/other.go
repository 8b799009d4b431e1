// Package other has types that hubs of another package use.
package other

// User is a user of the other package.
type User struct {
	ID int // who
	// Friends are users.
	Friends []User `json:",omitempty"`
}

// Level is an enumeration of another package, of which only what is exported counts.
type Level int

// The levels.
const (
	Low Level = iota
	Middle
	High
	count
)

// Count keeps count in use.
func Count() int { return int(count) }

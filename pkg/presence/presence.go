package presence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

const (
	// DefaultGrace is how long a user stays online after its last connection has left.
	DefaultGrace = 5 * time.Second
	// MaxMetadata is how many bytes a connection's metadata may have.
	MaxMetadata = 1 << 10
)

var (
	// ErrUnavailable is wrapped by every error that means that the cluster's presence cannot be told now.
	ErrUnavailable = errors.New("presence is unavailable")
	// ErrNoConnection is wrapped by the errors for a connection that is not there.
	ErrNoConnection = errors.New("presence: no such connection")
	// ErrTooLarge is wrapped by the error for metadata of more than MaxMetadata bytes.
	ErrTooLarge = errors.New("presence: the metadata is too large")
)

// Connection is one connection, on any node.
type Connection struct {
	// ID names the connection. No other connection ever has the same.
	ID string
	// User is the id of its user. Empty means anonymous: the connection is recorded, and nobody is online because of it.
	User string
	// Hub and Transport are the names of what it is connected to, and by what.
	Hub, Transport string
	// Node is the id of the node that has it. A tracker fills it in.
	Node string
	// Since is when it came; Add takes zero for now. What others are told has milliseconds.
	Since time.Time
	// Metadata is what its hub wants others to know of it; at most MaxMetadata bytes. Nobody may change it.
	Metadata []byte
}

// Change says that a user came online, or went offline.
type Change struct {
	User   string
	Online bool
}

// Update is what a watcher is told at once.
type Update struct {
	// Changes of one user alternate, over all updates of a watcher, beginning with what the snapshot says of it.
	Changes []Change
	// Resync says that transitions may have been missed: Changes are then the differences between what the watcher was told
	// before and what is true, one per user at most, in the order of the users.
	Resync bool
}

// Tracker is one node's view of the presence of a cluster. All methods may be called concurrently.
type Tracker interface {
	// Add says that a connection is on this node. It does not wait until others can see it. Metadata beyond MaxMetadata bytes is
	// left out. Adding a connection again replaces what was known of it; its user must stay the same.
	Add(Connection)
	// Remove says that a connection of this node has left. It does not wait. A connection that is not there is left alone.
	Remove(id string)
	// SetMetadata replaces the metadata of a connection of this node. It does not wait, and keeps no reference to metadata. The error wraps
	// ErrNoConnection or ErrTooLarge.
	SetMetadata(id string, metadata []byte) error

	// Online says which of the users are online, in the order asked. An empty id is nobody's.
	Online(ctx context.Context, users ...string) ([]bool, error)
	// Users lists online users in lexical order of their bytes: the first limit of those behind after. Empty means from the start.
	Users(ctx context.Context, after string, limit int) ([]string, error)
	// Connections are those of a user, the oldest first. A user in its grace period has none.
	Connections(ctx context.Context, user string) ([]Connection, error)
	// Connection finds a connection, whichever node has it. It costs a question per node and partition, so it is for people who
	// look and not for every message. The error wraps ErrNoConnection when there is none.
	Connection(ctx context.Context, id string) (Connection, error)

	// Watch gives the users who are online now, in no order, and then every change, once and in order for each user. A watcher that
	// does not keep up is told the differences instead, as a resync; nobody waits for it. The sequence may be ranged over once.
	// It ends when ctx ends, which must happen at some time, or when the tracker stops.
	Watch(ctx context.Context) (snapshot []string, updates iter.Seq[Update], err error)
}

// checkMetadata says why metadata cannot be taken.
func checkMetadata(metadata []byte) error {
	if len(metadata) > MaxMetadata {
		return fmt.Errorf("%w: %d bytes, and at most %d are allowed", ErrTooLarge, len(metadata), MaxMetadata)
	}
	return nil
}

// grace is the grace period that an option means.
func grace(option time.Duration) time.Duration {
	switch {
	case option == 0:
		return DefaultGrace
	case option < 0:
		return 0
	}
	return option
}

// sortConnections puts the oldest first.
func sortConnections(list []Connection) {
	slices.SortFunc(list, func(a, b Connection) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
}

package hub

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Tracker knows who is online in the whole cluster. pkg/presence has some; pkg/node makes them fit.
//
// A user is online from the first connection to the last and a while beyond. Errors that mean that the others cannot be
// asked now wrap ErrUnavailable.
type Tracker interface {
	// Add says that a connection of this server is there. It never blocks.
	Add(c Present)
	// Remove says that it has gone. It never blocks.
	Remove(connectionID string)
	// Settle returns when a connection that was added is known to all nodes.
	Settle(ctx context.Context, connectionID string) error
	// SetMetadata attaches a small value to a connection of this server. The error says that there is no such connection here, or that
	// the value is too large.
	SetMetadata(connectionID string, metadata []byte) error
	// Online says which of the users are online, in the order asked.
	Online(ctx context.Context, users ...string) ([]bool, error)
	// Users lists online users in lexical order: at most limit of those behind after, which is empty for the first page.
	Users(ctx context.Context, after string, limit int) ([]string, error)
	// Connections lists the connections of a user.
	Connections(ctx context.Context, user string) ([]Present, error)
	// Watch returns all online users, and what changes from then on: each change once, in order. What it could not
	// follow it makes up for with the differences to what it said before. The changes end with ctx, or when the tracker does.
	Watch(ctx context.Context) (online []string, changes iter.Seq[[]PresenceChange], err error)
}

// Present is a connection as a Tracker knows it.
type Present struct {
	ID        string
	User      string // empty: anonymous; known, but never online
	Hub       string // the hub's name
	Node      string // the node that has it
	Transport string // "WebSockets", "ServerSentEvents" or "LongPolling"
	Since     time.Time
	Metadata  []byte // what Presence.SetMetadata attached
}

// PresenceChange is a user's coming or going.
type PresenceChange struct {
	User   string
	Online bool
}

// ErrNoPresence is returned by everything that asks who is online when the server has no Options.Presence.
var ErrNoPresence = errors.New("hub: nobody knows who is online: set Options.Presence, or use pkg/node, which does")

// absent is the Tracker of a server that was given none.
type absent struct{}

func (absent) Add(Present)                                            {}
func (absent) Remove(string)                                          {}
func (absent) Settle(context.Context, string) error                   { return nil }
func (absent) SetMetadata(string, []byte) error                       { return ErrNoPresence }
func (absent) Online(context.Context, ...string) ([]bool, error)      { return nil, ErrNoPresence }
func (absent) Users(context.Context, string, int) ([]string, error)   { return nil, ErrNoPresence }
func (absent) Connections(context.Context, string) ([]Present, error) { return nil, ErrNoPresence }
func (absent) Watch(context.Context) ([]string, iter.Seq[[]PresenceChange], error) {
	return nil, nil, ErrNoPresence
}

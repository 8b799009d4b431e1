package hub

import (
	"context"
	"iter"
)

// Presence says who is online, on all nodes and in all hubs. It is safe for concurrent use. Its errors wrap ErrUnavailable while
// the other nodes cannot be asked, and ErrNoPresence when the server has no Options.Presence.
type Presence struct{ host *host }

// CallPresence is Presence as a hub method has it: it knows who called.
type CallPresence struct {
	presence
	call *Call
}

// presence is what CallPresence embeds: under its own name it would stand beside the methods.
type presence = Presence

// Presence says who is online.
func (c *Context) Presence() Presence { return Presence{host: c.host} }

// Presence says who is online. Inside OnConnected the caller's user is; inside OnDisconnected the connection counts no more.
func (c *Call) Presence() CallPresence {
	return CallPresence{presence{host: c.conn.host}, c}
}

func (p Presence) tracker() Tracker { return p.host.server.options.Presence }

// Online says which of the users are online, in the order asked. An empty id is never online.
func (p Presence) Online(ctx context.Context, users ...string) ([]bool, error) {
	return p.tracker().Online(ctx, users...)
}

// Users lists online users in the lexical order of their ids: at most limit of those greater than after, which is empty for
// the first page. A page that is not full is the last.
func (p Presence) Users(ctx context.Context, after string, limit int) ([]string, error) {
	return p.tracker().Users(ctx, after, limit)
}

// Connections lists the connections of a user, in all hubs; none is no error.
func (p Presence) Connections(ctx context.Context, user string) ([]Present, error) {
	return p.tracker().Connections(ctx, user)
}

// Watch returns who is online now, and then what changes: each change once, in order. When it could not follow, it yields the
// differences to what it has said before. The iterator runs on the caller's goroutine, and ends with ctx, or when the server's
// presence does.
// For clients that shall be told, CallPresence.Notify costs less.
func (p Presence) Watch(ctx context.Context) (online []string, changes iter.Seq[[]PresenceChange], err error) {
	return p.tracker().Watch(ctx)
}

// SetMetadata attaches a small value to the caller's connection, which Connections shows on every node; nil removes it.
// The error says so when it is too large.
func (p CallPresence) SetMetadata(metadata []byte) error {
	return p.tracker().SetMetadata(p.call.conn.id, metadata)
}

// Notify returns the online users, at most limit, in lexical order, and from then on calls method(userID, online) of the caller for
// every change, until its connection ends or StopNotify is called. Of all users, not only of those returned. The changes
// follow the answer of the hub method, however soon they come: a method that returns what Notify returned gives its client first the
// state and then all that changes it. After an error of the method nothing follows.
//
// All connections that are notified share one watch of their node, and each change is encoded once. A second call starts anew,
// with its method in place of the first one's. It cannot be called in a method that streams, which has no one answer; there, use
// Watch and stream what it yields.
func (p CallPresence) Notify(ctx context.Context, method string, limit int) (online []string, err error) {
	return p.host.server.watching.add(ctx, p.call, method, limit)
}

// StopNotify ends what Notify began; it does nothing if nothing was.
func (p CallPresence) StopNotify() { p.host.server.watching.remove(p.call.conn) }

package hub

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Call is one piece of work that a connection has asked for: an invocation, or one of its lifecycle methods. It is the
// context.Context of that work, and ends when its stream is cancelled or the server stops hard. The client's leaving does not
// end it: a send or a group change that has begun is finished. Who wants to know listens to Connection().Done().
//
// A Call is safe for concurrent use, and may be used after its method has returned.
type Call struct {
	ctx     context.Context
	conn    *Connection
	method  string
	uploads []*upload
	streams bool // its method has many answers
	pipes   bool // its answer can wait for what it has sent

	mu      sync.Mutex
	slot    chan struct{} // the connection's slots; nil for work that needs none, and once the method has returned
	holds   bool          // it has one of them
	waiting int           // for clients' results
	watcher *watcher      // what Notify has begun, and waits for the answer
	over    bool          // it has been answered

	piped piped
}

// hold says whether w shall wait for the answer of c: not if it waits already, nor when the answer has been given.
func (c *Call) hold(w *watcher) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.watcher == w {
		return false
	}
	c.watcher = w
	return true
}

// answered says that the answer, or err instead, is on its way to the client.
func (c *Call) answered(err error) {
	c.mu.Lock()
	w := c.watcher
	c.watcher, c.over = nil, true
	c.mu.Unlock()
	c.leaveWindow()
	if w != nil {
		c.conn.host.server.watching.answered(c.conn, w, err)
	}
}

// yield gives the call's slot to others, while it waits for a client's result, until resume.
func (c *Call) yield() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	c.giveBack()
}

// resume waits for a slot again, unless other results are still waited for, or the method has returned.
func (c *Call) resume() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting--; c.waiting > 0 || c.slot == nil {
		return
	}
	select {
	case c.slot <- struct{}{}:
		c.holds = true
	case <-c.conn.Done(): // nobody else waits for its slots any more
	}
}

// returned gives the slot back for good.
func (c *Call) returned() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveBack()
	c.slot = nil
}

func (c *Call) giveBack() {
	if c.holds {
		<-c.slot
		c.holds = false
	}
}

// callKey is what a Call is found by in contexts derived from it.
type callKey struct{}

var _ context.Context = (*Call)(nil)

// Deadline is when the work must be done, for lifecycle methods and calls whose filters set one.
func (c *Call) Deadline() (time.Time, bool) { return c.ctx.Deadline() }

// Done is closed when the work shall stop; see Call.
func (c *Call) Done() <-chan struct{} { return c.ctx.Done() }

// Err says why Done is closed.
func (c *Call) Err() error { return c.ctx.Err() }

// Value returns what the context holds for key.
func (c *Call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return c.ctx.Value(key)
}

// Connection is the connection that asked.
func (c *Call) Connection() *Connection { return c.conn }

// ConnectionID is the id of the connection that asked.
func (c *Call) ConnectionID() string { return c.conn.id }

// UserID is the id of the connection's user; empty when it is anonymous.
func (c *Call) UserID() string { return c.conn.identity.UserID }

// Identity is who the connection is.
func (c *Call) Identity() Identity { return c.conn.identity }

// Claims are what Options.Authenticate knows of the user. They must not be changed.
func (c *Call) Claims() map[string]any { return c.conn.identity.Claims }

// Request is the HTTP request that opened the connection; see Connection.Request.
func (c *Call) Request() *http.Request { return c.conn.Request() }

// Hub is the name of the hub.
func (c *Call) Hub() string { return c.conn.host.name }

// Method is the name of the method, as it is spelled in Go.
func (c *Call) Method() string { return c.method }

// Logger logs with the hub, the connection, its user and the method as attributes.
func (c *Call) Logger() *slog.Logger { return c.conn.log().With("method", c.method) }

// Clients says to whom to send.
func (c *Call) Clients() CallClients {
	return CallClients{clients{host: c.conn.host, from: c.conn}}
}

// Groups changes who is in which group.
func (c *Call) Groups() Groups { return Groups{host: c.conn.host} }

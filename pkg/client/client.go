package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
)

// Client is one client of one hub. It is safe for concurrent use.
type Client struct {
	url      *url.URL
	o        Options
	handlers registry
	tasks    inbox[func()] // handlers and hooks to run
	answers  answers
	done     chan struct{}

	life context.Context // ends when all shall end
	end  context.CancelCauseFunc

	mu       sync.Mutex
	state    State
	stopping bool
	conn     *connection // while the state is Connected
	err      error       // why the client is closed
}

// State is where a Client stands.
type State int

const (
	// Disconnected: Start has not been called, or has failed.
	Disconnected State = iota
	// Connecting: Start is under way.
	Connecting
	// Connected: calls are possible. It stays so while a connection with stateful reconnect is being resumed.
	Connected
	// Reconnecting: the connection was lost, and Options.Reconnect lets the client try again.
	Reconnecting
	// Closed: the client has ended for good.
	Closed
)

func (s State) String() string {
	switch s {
	case Disconnected:
		return "disconnected"
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Reconnecting:
		return "reconnecting"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// New returns a client of the hub at an http, https, ws or wss URL, whose query is sent with every request. It starts
// nothing. The error says which setting is wrong.
func New(hubURL string, o Options) (*Client, error) {
	u, err := url.Parse(hubURL)
	if err != nil {
		return nil, fmt.Errorf("client: the hub's URL: %w", err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, fmt.Errorf("client: the hub's URL must begin with http:// or https://, not with %q", u.Scheme)
	}
	if u.Host == "" {
		return nil, errors.New("client: the hub's URL names no host")
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Client{url: u, o: o, done: make(chan struct{}), tasks: inbox[func()]{limit: o.ReceiveBuffer}}
	c.answers.slots = make(chan struct{}, o.ParallelAnswers)
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// Start connects. It returns when the hub can be called, or why it cannot; ctx bounds only the starting. After an error it
// may be called again. A client that was closed stays so; make a new one.
func (c *Client) Start(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	conn, err := c.connect(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopping:
		if err == nil {
			conn.abandon(errStopped)
		}
		c.finish(nil)
		return ErrClosed
	case err != nil:
		c.state = Disconnected
		return err
	}
	c.state, c.conn = Connected, conn
	go c.run(conn)
	return nil
}

func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopping, c.state == Closed:
		return ErrClosed
	case c.state != Disconnected:
		return errStarted
	}
	c.state = Connecting
	return nil
}

// Stop says goodbye to the server, closes the connection, and waits until everything that Start began has ended: calls
// fail with ErrClosed, handlers that are running are waited for, and no other is started. When ctx ends first, the connection
// is cut, and the error wraps the context's; Done tells when the rest has ended. In a handler or a hook, which Stop waits for,
// use "go c.Stop(ctx)". Stopping again, or a client that never started, is no error.
func (c *Client) Stop(ctx context.Context) error {
	c.mu.Lock()
	first := !c.stopping
	c.stopping = true
	if c.state == Disconnected {
		c.finish(nil)
	}
	conn := c.conn
	c.mu.Unlock()
	if first {
		if conn != nil {
			conn.goodbye(ctx)
		}
		c.end(errStopped)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.end(errStopped)
		return fmt.Errorf("client: the connection was cut before all had ended: %w", context.Cause(ctx))
	}
}

// Done is closed when the client has ended for good, and nothing of it is left running.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the client has ended: nil after Stop, and until Done is closed. It wraps ErrServerClosed if that is how the
// server wanted it, and a HubError if it said why.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// State tells where the client stands at this moment.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// ConnectionID is what the server calls this client's connection; empty when there is none, and with SkipNegotiation.
func (c *Client) ConnectionID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return ""
	}
	return c.conn.route.id
}

// Transport is what carries the connection; empty when there is none.
func (c *Client) Transport() Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return ""
	}
	return c.conn.route.transport
}

// current returns the connection for a call.
func (c *Client) current() (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopping, c.state == Closed:
		return nil, ErrClosed
	case c.conn == nil:
		return nil, ErrNotConnected
	}
	return c.conn, nil
}

// run carries connections, one after the other, until the client is closed. It owns all goroutines but those of calls.
func (c *Client) run(conn *connection) {
	var handlers sync.WaitGroup
	handlers.Go(c.handle)
	var err error
	for conn != nil {
		err = conn.serve()
		conn, err = c.reconnect(err)
	}
	if c.isStopping() {
		err = nil
	}
	c.o.Logger.Info("client closed", "error", err)
	if hook := c.o.Hooks.Closed; hook != nil {
		c.tasks.push(func() { hook(err) })
	}
	c.tasks.close(nil)
	handlers.Wait()
	c.answers.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(err)
}

// handle runs handlers and hooks, in order.
func (c *Client) handle() {
	for {
		task, ok, _ := c.tasks.take(context.Background())
		if !ok {
			return
		}
		task()
	}
}

// finish closes the client for good. c.mu must be held.
func (c *Client) finish(err error) {
	if c.state == Closed {
		return
	}
	c.state, c.err, c.conn = Closed, err, nil
	c.end(ErrClosed)
	close(c.done)
}

func (c *Client) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

package peer

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// client is the response to a client. Each write to it must get through within a time: the owner ends the connection of a client that
// does not read, but cannot free us of the write that waits for it.
type client struct {
	http.ResponseWriter
	ctx     context.Context // when it ends, so does the response
	control *http.ResponseController
	timeout time.Duration // of one write; not positive: none
	unwatch func() bool

	mu   sync.Mutex
	over bool // nothing may touch the connection any more, or everything on it shall fail
}

func newClient(ctx context.Context, w http.ResponseWriter, timeout time.Duration) *client {
	c := &client{ResponseWriter: w, ctx: ctx, control: http.NewResponseController(w), timeout: timeout}
	_ = c.control.SetReadDeadline(time.Time{}) // the server's own limits are not made for requests that last
	c.limit(0)
	c.unwatch = context.AfterFunc(ctx, c.abort)
	return c
}

// limit bounds what is written from now on; zero or less, not at all.
func (c *client) limit(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.setLimit(d)
	}
}

// setLimit is limit for who holds c.mu.
func (c *client) setLimit(d time.Duration) {
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	_ = c.control.SetWriteDeadline(deadline)
}

// abort makes a write under way fail.
func (c *client) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over = true
		_ = c.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// finish must be called before somebody else goes on with the response: without an answer it is as if nothing had been. What the server
// still has to write is bounded as well.
func (c *client) finish(answered bool) {
	c.unwatch()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over || !answered {
		c.setLimit(c.timeout)
	}
	c.over = true
}

func (c *client) Write(b []byte) (int, error) {
	c.limit(c.timeout)
	defer c.limit(0) // HTTP/2 resets a stream after a deadline even when nothing is being written
	return c.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController looks for.
func (c *client) FlushError() error {
	c.limit(c.timeout)
	defer c.limit(0)
	return c.control.Flush()
}

// Unwrap gives http.ResponseController the rest.
func (c *client) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Hijack takes the connection out of HTTP, for a WebSocket.
func (c *client) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := c.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	// What came right behind the handshake is in the server's buffer.
	early, err := rw.Peek(rw.Reader.Buffered())
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	stop := context.AfterFunc(c.ctx, func() { _ = conn.Close() })
	return &tunnel{Conn: conn, early: early, timeout: c.timeout, unwatch: stop}, rw, nil
}

// tunnel is a client's connection once it has become a WebSocket.
type tunnel struct {
	net.Conn
	early   []byte // read before all else
	timeout time.Duration
	unwatch func() bool
}

// tunnelBuffer is what a WebSocket costs in each direction for as long as it lasts.
const tunnelBuffer = 4 << 10

func (t *tunnel) Read(b []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(b, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	return t.Conn.Read(b)
}

func (t *tunnel) Write(b []byte) (int, error) {
	if t.timeout > 0 {
		_ = t.Conn.SetWriteDeadline(time.Now().Add(t.timeout))
	}
	return t.Conn.Write(b)
}

func (t *tunnel) Close() error {
	t.unwatch()
	return t.Conn.Close()
}

// ReadFrom and WriteTo spare io.Copy buffers of 32 KiB.

func (t *tunnel) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{t}, struct{ io.Reader }{r}, make([]byte, tunnelBuffer))
}

func (t *tunnel) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{t}, make([]byte, tunnelBuffer))
}

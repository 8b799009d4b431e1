package backplane

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// laneConn is a lane's network connection. A goroutine of its own is always reading from it, so that its end is known at
// once, also while nothing is published: the lane can then say "unavailable" before it writes into the void and must say
// "may have been sent", and it connects again before the next message comes.
//
// go-redis' read deadlines do nothing: expect bounds the wait, and ends the connection, which a late reply would confuse.
type laneConn struct {
	net.Conn
	client *redis.Client

	wrote  atomic.Bool   // something was handed to the network since it was last cleared
	chunks chan []byte   // what was read; the reader waits on taken before it reuses the buffer
	taken  chan struct{} // room for one
	moved  chan struct{} // has one when this is not the right server any more
	untie  func()        // from the topology
	rest   []byte        // of the last chunk; owned by Read
	dead   chan struct{} // closed at the end, after cause was set
	once   sync.Once
	cause  error
	reader sync.WaitGroup

	mu     sync.Mutex // guards what follows, together with the network's read deadline
	until  time.Time  // when replies that are waited for must have come; zero when none are
	looked bool       // that has passed, and it is looked once more
}

// lookAgain is how long it is looked once more for replies that are late. On a machine with too much to do, a deadline passes
// before the reader has had its turn, and fails it without a look at what has come.
const lookAgain = 100 * time.Millisecond

// lane opens a connection for publishing to the server for a slot. It has answered a PING when lane returns.
func (d *dialer) lane(ctx context.Context, slot int) (*laneConn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.connectTimeout)
	defer cancel()
	raw, server, err := d.dial(ctx, slot)
	if err != nil {
		return nil, err
	}
	c := &laneConn{Conn: raw, chunks: make(chan []byte), taken: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		untie: func() {}, dead: make(chan struct{})}
	c.reader.Go(c.read)
	c.client = d.client(c)
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	err = c.client.Ping(ctx).Err()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	// What is on its way gets its replies: it was not wrong when it was sent.
	c.untie = d.topology.tie(slot, server, func(time.Time) {
		select {
		case c.moved <- struct{}{}:
		default:
		}
	})
	return c, nil
}

// read hands on what comes until the connection ends.
func (c *laneConn) read() {
	buf := make([]byte, 4096) // a reply to PUBLISH has some five bytes
	for {
		n, err := c.Conn.Read(buf)
		if n > 0 {
			select {
			case c.chunks <- buf[:n]:
			case <-c.dead:
				return
			}
			select {
			case <-c.taken:
			case <-c.dead:
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if c.patient() {
				continue
			}
			err = errNoReply
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// expect says within which time replies must come; zero, that none are waited for any more.
func (c *laneConn) expect(within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until, c.looked = (time.Time{}), false; within > 0 {
		c.until = time.Now().Add(within)
	}
	_ = c.Conn.SetReadDeadline(c.until)
}

// patient says whether to read on after a deadline has passed: it may be that of replies that have come meanwhile, and those that have
// not are looked for once more, however many of them come then.
func (c *laneConn) patient() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.until.IsZero() || time.Now().Before(c.until):
		_ = c.Conn.SetReadDeadline(c.until)
		return true
	case c.looked:
		return false
	}
	c.looked = true
	_ = c.Conn.SetReadDeadline(time.Now().Add(lookAgain))
	return true
}

// Read is called by go-redis when it waits for a reply.
func (c *laneConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.chunks:
		case <-c.dead:
			return 0, c.cause
		}
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.taken <- struct{}{}
	}
	return n, nil
}

func (c *laneConn) Write(p []byte) (int, error) {
	c.wrote.Store(true) // before: a write that fails half-way has sent something as well
	return c.Conn.Write(p)
}

func (c *laneConn) SetReadDeadline(time.Time) error { return nil }

func (c *laneConn) SetDeadline(t time.Time) error { return c.SetWriteDeadline(t) }

// Close is called by go-redis when it is through with the connection.
func (c *laneConn) Close() error {
	c.end(net.ErrClosed)
	return nil
}

// end ends the connection; the first cause counts.
func (c *laneConn) end(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.dead)
		_ = c.Conn.Close()
	})
}

// close ends the connection and waits for its reader.
func (c *laneConn) close() {
	c.untie()
	c.end(net.ErrClosed)
	_ = c.client.Close()
	c.reader.Wait()
}

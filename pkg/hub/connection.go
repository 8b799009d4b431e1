package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// Connection is one client's connection to a hub. It is safe for concurrent use.
type Connection struct {
	id       string
	host     *host
	socket   atomic.Pointer[transport.Conn]
	request  *transport.Request
	identity Identity
	expires  atomic.Int64 // when it ends because its identity does, in Unix nanoseconds; 0: never
	codec    int          // index of the protocol it speaks
	place    int          // in the heartbeat's list
	accepted int64        // when it came, in nanoseconds since server.epoch

	out       outbox
	finishing sync.WaitGroup // the goroutines that say goodbye
	busy      sync.Mutex     // held while it begins, while what it sent is dispatched, and while it leaves
	connected bool           // OnConnected has let it in; guarded by busy
	joining   atomic.Bool    // OnConnected runs
	released  atomic.Bool    // Server.Release has taken it on
	session   *session       // nil: it ends with its socket
	slots     chan struct{}  // taken by running invocations; made by the reader for the first one

	// For the heartbeat, in nanoseconds since server.epoch.
	opened    atomic.Int64 // when the handshake was done; 0 before
	lastPing  atomic.Int64 // when we last pinged it
	lastBatch atomic.Int64 // when we last finished what it had sent
	lastAck   int64        // when we last looked whether to acknowledge; the heartbeat's
	armed     atomic.Bool  // it pings us, so its silence means something
	reading   atomic.Bool  // its messages are being dispatched, so its silence is our doing

	mu       sync.Mutex
	calls    int           // invocations that have come and are not answered
	owed     int           // results that others wait for from the client
	window   chan struct{} // taken by pipelined sends until they are confirmed; made for the first one
	full     bool          // it takes no more calls
	ended    bool
	ending   ending
	done     chan struct{}                      // made when somebody asks for it
	groups   map[string]struct{}                // names of the groups it is in
	left     bool                               // it can join nothing any more
	streams  map[string]context.CancelCauseFunc // to the client, by invocation id
	uploads  map[string]*upload                 // from the client, by stream id
	commands []groupCommand                     // from other nodes, waiting
	obeying  bool                               // a goroutine works on them
}

// link is the transport's connection; a stateful one may change it.
func (c *Connection) link() transport.Conn { return *c.socket.Load() }

func (c *Connection) setLink(conn transport.Conn) { c.socket.Store(&conn) }

// ID is the connection id, by which Clients().Client addresses it. It is public: other clients may know it.
func (c *Connection) ID() string { return c.id }

// UserID is the id of its user; empty when it is anonymous.
func (c *Connection) UserID() string { return c.identity.UserID }

// Identity is who it is, as Options.Authenticate found out.
func (c *Connection) Identity() Identity { return c.identity }

// Transport is "WebSockets", "ServerSentEvents" or "LongPolling".
func (c *Connection) Transport() string { return string(c.link().Kind()) }

// Request is the HTTP request that opened the connection, without its body, TLS state and context.
// It is rebuilt at each call.
func (c *Connection) Request() *http.Request { return c.request.HTTP() }

// Done is closed when the connection ends, before OnDisconnected is called.
func (c *Connection) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended {
			close(c.done)
		}
	}
	return c.done
}

// Abort ends the connection: the client is told not to reconnect. It does not wait.
func (c *Connection) Abort() { c.end(endAborted, nil) }

// ending is how a connection ends.
type ending struct {
	reason CloseReason
	say    goodbye
	err    error // what OnDisconnected is told
}

// goodbye is what the client is told at the end (SignalR hub protocol, Close message).
type goodbye uint8

const (
	sayNothing          goodbye = iota // nobody is listening, or there is no room to say it
	sayClose                           // it shall not come back
	sayReconnect                       // it may come back
	sayErrorReconnect                  // an error, and it may come back
	sayErrorNoReconnect                // an error, and it shall not come back
)

// The ways in which connections end.
var (
	endClient    = ending{reason: ClosedByClient, say: sayNothing}
	endGoodbye   = ending{reason: ClosedByClient, say: sayClose}
	endAborted   = ending{reason: ClosedAborted, say: sayClose}
	endTimeout   = ending{reason: ClosedTimeout, say: sayErrorReconnect}
	endVanished  = ending{reason: ClosedTimeout, say: sayNothing}
	endTransport = ending{reason: ClosedTransport, say: sayNothing}
	endProtocol  = ending{reason: ClosedProtocol, say: sayErrorReconnect}
	endTooBig    = ending{reason: ClosedTooBig, say: sayErrorReconnect}
	endSlow      = ending{reason: ClosedSlow, say: sayNothing}
	endExpired   = ending{reason: ClosedExpired, say: sayReconnect}
	endShutdown  = ending{reason: ClosedShutdown, say: sayReconnect}
	endRefused   = ending{reason: ClosedOnConnected, say: sayErrorNoReconnect}
	endCodec     = ending{reason: ClosedCodec, say: sayErrorReconnect}
)

// end ends the connection in the given way, unless it is ending already. It does not wait, and may be called anywhere.
func (c *Connection) end(how ending, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(how, err)
}

// endLocked is end for who holds c.mu.
func (c *Connection) endLocked(how ending, err error) {
	if c.ended {
		return
	}
	how.err = err
	c.ended, c.ending = true, how
	if c.done != nil {
		close(c.done)
	}
	c.cancelStreams()
	c.finishing.Go(c.finish)
}

func (c *Connection) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// finish says goodbye behind all that already waits, closes the transport, and takes the connection out of its hub. The
// last two go on at the same time: a client that does not close its side must not keep others from learning that it has gone.
func (c *Connection) finish() {
	// Before all else: a method that waits for the client would hold up what follows.
	c.endUploads()
	c.disappoint()
	orderly := c.sayGoodbye()
	c.finishing.Go(func() {
		if orderly {
			c.link().Close(nil)
		} else {
			c.link().Abort()
		}
	})
	c.leave()
}

// sayGoodbye says whether the client is there to close its side.
func (c *Connection) sayGoodbye() bool {
	how := c.ending
	if how.say == sayNothing {
		dropped := c.out.discard()
		if how.reason == ClosedSlow {
			c.log().Warn("slow client disconnected", "error", how.err, "dropped_bytes", dropped, "max_queue", c.host.limits.MaxQueue)
			call1(c.host.hooks.SlowClient, dropped)
		}
		return how.reason == ClosedByClient
	}
	if c.out.finish(c.closeFrame(how)) {
		go c.out.run()
	}
	wait := c.host.limits.SendTimeout
	if how.reason == ClosedShutdown {
		wait = min(wait, sayTimeout)
	}
	if c.out.idle(wait) {
		return true
	}
	c.out.discard()
	return false
}

func (c *Connection) closeFrame(how ending) *transport.Frame {
	m := protocol.Message{Type: protocol.TypeClose}
	if how.say == sayErrorReconnect || how.say == sayErrorNoReconnect {
		m.Error, m.HasError = explain("Connection closed with an error.", how.err, c.host.limits.DetailedErrors), true
	}
	m.Reconnect = how.say == sayReconnect || how.say == sayErrorReconnect
	return c.frame(&m)
}

// frame encodes a message that holds no values of the user's, which cannot fail.
func (c *Connection) frame(m *protocol.Message) *transport.Frame {
	codec := c.protocol()
	f, err := encode(codec, func(dst []byte) ([]byte, error) { return codec.Append(dst, m) })
	if err != nil {
		panic("hub: encoding a message without values failed: " + err.Error())
	}
	return f
}

func (c *Connection) protocol() protocol.Codec { return c.host.server.codecs[c.codec] }

// write is the writer: it runs while something waits in the outbox.
func (c *Connection) write() {
	if !c.out.begin() {
		return
	}
	for {
		l := c.out.take()
		if l == nil {
			return
		}
		n := 0
		for _, f := range l.frames {
			n += f.Len()
		}
		link := l.link
		if link == nil {
			link = c.link()
		}
		err := link.Write(l.frames)
		call2(c.host.hooks.Written, len(l.frames), n)
		queued := l.queued
		l.release()
		c.out.wrote(queued)
		if err != nil && !c.suspend(link) {
			c.out.discard()
			c.transportFailed(err)
		}
	}
}

// transportFailed ends a connection that broke; one that broke because the client took nothing was slow. Whichever of reader and
// writer learns of it first says so.
func (c *Connection) transportFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(endSlow, errors.New("the client did not take a message within the send timeout"))
		return
	}
	c.end(endTransport, err)
}

// missingCodec ends a connection for whose protocol a message from another node was not encoded.
// It would otherwise miss messages without a word; ASP.NET Core does the same.
func (c *Connection) missingCodec() {
	c.end(endCodec, errors.New("this message was received from another server that did not have the requested protocol available"))
}

// reply queues what the client itself asked for, waiting for room in its queue, which paces whoever produces it.
func (c *Connection) reply(f *transport.Frame) { _ = c.replyWithin(c.host.server.hard, f) }

// replyWithin is reply for as long as ctx lasts; its error is that of ctx. A client that makes no room within the send timeout is
// ended, and what is sent to one that has gone is not an error.
func (c *Connection) replyWithin(ctx context.Context, f *transport.Frame) error {
	p, err := c.out.pushWait(ctx, f, c.host.limits.SendTimeout)
	switch {
	case p == pushWake, p == pushHurry:
		go c.out.run()
	case errors.Is(err, errNoRoom):
		c.end(endSlow, err)
		return nil
	}
	return err
}

// log is the connection's logger. It is made when it is needed: an idle connection carries none.
func (c *Connection) log() *slog.Logger {
	l := c.host.log.With("connection", c.id)
	if c.identity.UserID != "" {
		l = l.With("user", c.identity.UserID)
	}
	return l
}

func call0(f func()) {
	if f != nil {
		f()
	}
}

func call1[A any](f func(A), a A) {
	if f != nil {
		f(a)
	}
}

func call2[A, B any](f func(A, B), a A, b B) {
	if f != nil {
		f(a, b)
	}
}

func call3[A, B, C any](f func(A, B, C), a A, b B, c C) {
	if f != nil {
		f(a, b, c)
	}
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// webSocket is a Conn over a WebSocket. The library does the reading and the closing; data frames, pings and pongs are
// written here, straight to the socket: a shared frame goes out without being copied.
type webSocket struct {
	id           string
	ws           *websocket.Conn
	socket       socket
	closeTimeout time.Duration
	message      io.Reader // the one that is being read; belongs to the reading goroutine
	binary       atomic.Bool
	toEnd        sync.Mutex  // held to set ending, and by the reader to look at what Close reads from then on
	ending       atomic.Bool // Close or Abort was called
}

func (c *webSocket) ID() string          { return c.id }
func (c *webSocket) Kind() Kind          { return WebSockets }
func (c *webSocket) SetBinary()          { c.binary.Store(true) }
func (c *webSocket) LastRead() time.Time { return time.Unix(0, c.socket.lastRead.Load()) }

// Next waits for the next message. What the last one had left is skipped.
func (c *webSocket) Next() (io.Reader, error) {
	if c.message != nil {
		if _, err := io.Copy(io.Discard, (*messageReader)(c)); err != nil {
			return nil, err
		}
	}
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, c.readError(err)
	}
	c.message = r
	return (*messageReader)(c), nil
}

// Rest waits in the network, with little above it on the stack, unless the library's reader has read ahead: a short frame fits into
// its buffer, and nothing may come behind it.
func (c *webSocket) Rest() {
	if c.buffered() == 0 {
		c.socket.await()
	}
}

// buffered is how many bytes the library's reader has and was not asked for; 0 once the connection is ending, as Close reads them
// itself.
func (c *webSocket) buffered() int {
	c.toEnd.Lock()
	defer c.toEnd.Unlock()
	if c.ending.Load() {
		return 0
	}
	return c.socket.reader.Buffered()
}

// messageReader is the reader that Next returns: the webSocket itself, so that it costs no allocation.
type messageReader webSocket

func (m *messageReader) Read(p []byte) (int, error) {
	if m.message == nil {
		return 0, io.EOF
	}
	n, err := m.message.Read(p)
	switch {
	case err == io.EOF:
		m.message = nil
	case err != nil:
		m.message = nil
		err = (*webSocket)(m).readError(err)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // it is not the end of the message
		}
	}
	return n, err
}

// readError is io.EOF when the client closed in an orderly way, and anything but that otherwise.
func (c *webSocket) readError(err error) error {
	if c.ending.Load() {
		return net.ErrClosed
	}
	if c.socket.stuck.Load() {
		return fmt.Errorf("transport: the client took nothing within the send timeout: %w", os.ErrDeadlineExceeded)
	}
	switch status := websocket.CloseStatus(err); {
	case status == websocket.StatusNormalClosure, status == websocket.StatusGoingAway, status == websocket.StatusNoStatusRcvd:
		return io.EOF
	case status != -1:
		return &ClosedError{Status: int(status)}
	case errors.Is(err, io.EOF): // of the network connection
		return fmt.Errorf("transport: the connection broke: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("transport: reading from the WebSocket: %w", err)
}

// maxJoined bounds the messages that are joined into one: browsers take any size, but Go clients of this library refuse what is
// over 32 KiB by default, and half of that already makes the price of a system call vanish.
const maxJoined = 16 << 10

type joinBuffer [Headroom + maxJoined]byte

var joinBuffers = sync.Pool{New: func() any { return new(joinBuffer) }}

// Write sends each frame that stands alone, or is too large to be joined, as it lies in memory, and copies the others
// together. The error wraps os.ErrDeadlineExceeded when the client did not take the bytes within the send timeout.
func (c *webSocket) Write(frames []*Frame) error {
	for len(frames) > 0 {
		n, size := 1, frames[0].Len()
		for n < len(frames) && size+frames[n].Len() <= maxJoined {
			size += frames[n].Len()
			n++
		}
		var err error
		if n == 1 && frames[0].binary() == c.binary.Load() {
			err = c.socket.writeFrame(frames[0].wire())
		} else {
			err = c.writeJoined(frames[:n], size)
		}
		if err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}

// writeJoined sends frames, size bytes in all, as one message.
func (c *webSocket) writeJoined(frames []*Frame, size int) error {
	var b []byte
	if size <= maxJoined {
		pooled := joinBuffers.Get().(*joinBuffer)
		defer joinBuffers.Put(pooled)
		b = pooled[:Headroom]
	} else {
		b = make([]byte, Headroom, Headroom+size) // one large frame with the other opcode: rare
	}
	for _, f := range frames {
		b = append(b, f.Bytes()...)
	}
	start := Headroom - putHeader(b[:Headroom], size, c.binary.Load())
	return c.socket.writeFrame(b[start:])
}

// Frames without payload, as a server sends them: final and unmasked.
var pingFrame = []byte{0x89, 0}

// Ping sends a WebSocket ping, unless something is being written: that tells as much. It does so on a goroutine of its own, as
// the socket of a client that does not read can be full, which only a write finds out. The goroutine ends
// with the send timeout at the latest; Close and Abort wait for it, by the socket's lock.
func (c *webSocket) Ping() {
	if !c.socket.mu.TryLock() {
		return
	}
	if c.socket.over {
		c.socket.mu.Unlock()
		return
	}
	go func() {
		defer c.socket.mu.Unlock()
		_, _ = c.socket.send(pingFrame) // an error closes the connection, and the reader reports it
	}()
}

// pong answers a ping of the client. The library would do so itself, but gives up the whole connection when another write
// keeps it waiting for 5 s, while we bear with a slow client for the send timeout.
func (c *webSocket) pong(_ context.Context, payload []byte) bool {
	var b [2 + 125]byte // a control frame holds at most 125 bytes (RFC 6455, section 5.5)
	b[0], b[1] = 0x8a, byte(len(payload))
	n := 2 + copy(b[2:], payload)
	_ = c.socket.writeFrame(b[:n])
	return false
}

// Close does the closing handshake. It may be called while another goroutine is in Next, which then finds the client's
// close frame; if none is, Close reads. It takes 5 s or the close timeout at most, whichever is more.
func (c *webSocket) Close(err error) {
	if c.end() {
		return
	}
	status := websocket.StatusNormalClosure
	if err != nil {
		status = websocket.StatusInternalError
	}
	// The library waits for 5 s, but not in the middle of a frame: there it would wait for ever.
	_ = c.socket.net.SetReadDeadline(time.Now().Add(max(c.closeTimeout, 0)))
	_ = c.ws.Close(status, "") // its error is that of a connection which is gone anyway
	_ = c.socket.Close()
}

// Abort closes the network connection. A Close under way ends at once.
func (c *webSocket) Abort() {
	ending := c.end()
	c.socket.cut()
	_ = c.socket.Close() // waits for writes under way
	if !ending {
		_ = c.ws.CloseNow() // nobody else does
	}
}

// end says whether the connection was ending already.
func (c *webSocket) end() bool {
	c.toEnd.Lock()
	defer c.toEnd.Unlock()
	return c.ending.Swap(true)
}

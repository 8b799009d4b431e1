package transport

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// The sizes of buffers. Those of net/http, 4 KiB each, would be most of what an idle connection costs.
const (
	// readBuffer is the socket's, and holds a few small messages; larger ones are read past it.
	readBuffer = 256
	// headerBuffer is the library's, as small as there is one: it holds the header of a frame.
	headerBuffer = 16
	// writeBuffer holds the largest control frame (2 + 125 bytes), so that the library writes it with one call.
	writeBuffer = 160
)

// canHijack says whether the connection can be taken from the HTTP server.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// hijack is a ResponseWriter whose Hijack gives the connection to s, and to its caller small buffers in place of net/http's.
// Once the handler has returned, nothing keeps those alive.
type hijack struct {
	http.ResponseWriter
	s *socket
}

func (h hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// What came right behind the handshake.
	early, err := rw.Peek(rw.Reader.Buffered())
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	h.s.ahead = bytes.Clone(early)
	h.s.net = conn
	h.s.reader = bufio.NewReaderSize(h.s, headerBuffer)
	return socketConn{conn, h.s}, bufio.NewReadWriter(h.s.reader, bufio.NewWriterSize(h.s, writeBuffer)), nil
}

// socketConn is a net.Conn whose bytes pass through a socket.
type socketConn struct {
	net.Conn
	s *socket
}

func (c socketConn) Read(p []byte) (int, error)  { return c.s.Read(p) }
func (c socketConn) Write(p []byte) (int, error) { return c.s.Write(p) }
func (c socketConn) Close() error                { return c.s.Close() }

// open upgrades the request and hands the connection to accept. When it returns, the HTTP server's goroutine and
// the request are free. onClose is called once, when the connection has ended or did not come to be.
func (e *Endpoint) open(w http.ResponseWriter, r *http.Request, id string, onClose func(), accept func(Conn)) {
	c := &webSocket{id: id, closeTimeout: orDefault(e.CloseTimeout, DefaultCloseTimeout)}
	c.socket.sendTimeout = orDefault(e.SendTimeout, DefaultSendTimeout)
	c.socket.onClose = onClose
	c.socket.lastRead.Store(time.Now().UnixNano())
	ws, err := websocket.Accept(hijack{w, &c.socket}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin was checked before
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     c.pong,
	})
	if err != nil { // the library has answered
		e.refused(RefusedUpgrade)
		onClose()
		return
	}
	c.socket.reader.Reset(&c.socket) // the library has put a reader in between, for bytes that nobody has left it
	ws.SetReadLimit(-1)              // it counts WebSocket messages; what is limited is a hub message, and that by the hub
	c.ws = ws
	accept(c)
}

func orDefault(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}

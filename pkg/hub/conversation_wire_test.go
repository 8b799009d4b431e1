package hub_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wire is one network connection of a speaker: for a request, and for what it may become.
type wire struct {
	client *speaker
	conn   net.Conn
	method string
	writes chan []byte // never full: the player does not wait for the server

	// Guarded by play.mu.
	heard                 []string
	saidClose, heardClose bool
	hungUp                bool
	open                  bool          // it is a WebSocket, or an event stream
	stalled               chan struct{} // closed when it reads again; nil while it reads
}

// Read reads what the server sends, unless the client has stopped to. What was under way then waits, as it would in the buffers
// of a network.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.conn.Read(p)
	w.client.play.mu.Lock()
	stalled := w.stalled
	w.client.play.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	return n, err
}

// stall makes the client stop reading, or read again.
func (w *wire) stall(stop bool) {
	w.client.play.mu.Lock()
	defer w.client.play.mu.Unlock()
	switch {
	case stop && w.stalled == nil:
		w.stalled = make(chan struct{})
	case !stop && w.stalled != nil:
		close(w.stalled)
		w.stalled = nil
	}
}

// hear writes down a line.
func (w *wire) hear(line string) {
	w.client.play.mu.Lock()
	w.heard = append(w.heard, line)
	w.client.play.mu.Unlock()
	w.client.play.notify()
}

// hangUp closes the connection behind what was said, without a word that would be written down.
func (w *wire) hangUp() {
	w.stall(false)
	w.client.play.mu.Lock()
	defer w.client.play.mu.Unlock()
	if !w.hungUp {
		w.hungUp = true
		close(w.writes)
	}
}

func (w *wire) write() {
	defer w.conn.Close()
	for b := range w.writes {
		if _, err := w.conn.Write(b); err != nil {
			break
		}
	}
	for range w.writes { // of what cannot be sent any more the reader hears the reason
	}
}

// read writes down what the server sends, until the connection ends.
func (w *wire) read(socket bool) {
	r := bufio.NewReader(w)
	res, err := w.readResponse(r)
	switch {
	case err != nil:
		w.ended()
	case socket && res.StatusCode == 101:
		w.readFrames(r)
	default:
		w.readBody(res)
	}
	w.client.play.mu.Lock()
	w.open = false
	w.client.play.mu.Unlock()
}

// ended writes down that the connection is gone, if that was not the next thing to expect.
func (w *wire) ended() {
	w.client.play.mu.Lock()
	expected := w.hungUp || w.heardClose && w.saidClose
	w.client.play.mu.Unlock()
	if !expected {
		w.hear("cut")
	}
}

// readFrames writes down the frames of a WebSocket (RFC 6455, section 5.2), one line for each message of the hub protocol.
func (w *wire) readFrames(r *bufio.Reader) {
	for {
		opcode, data, err := serverFrame(r)
		if err != nil {
			w.ended()
			return
		}
		switch opcode {
		case 1, 2:
			kind := map[byte]string{1: "text ", 2: "binary "}[opcode]
			for _, line := range shown(data) {
				w.hear(kind + line)
			}
		case 8:
			w.client.play.mu.Lock()
			w.heardClose = true
			w.client.play.mu.Unlock()
			if len(data) < 2 {
				w.hear("close")
				break
			}
			w.hear(strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(data), data[2:])))
		case 9:
			w.hear(strings.TrimSpace("ping " + string(data)))
		case 10:
			w.hear(strings.TrimSpace("pong " + string(data)))
		default:
			w.hear(fmt.Sprintf("a frame with opcode %d", opcode))
		}
	}
}

// serverFrame reads one frame: final and without a mask, as our server sends all of them.
func serverFrame(r *bufio.Reader) (opcode byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1] >= 0x80 {
		return 0, nil, errors.New("a frame that is not final, or masked")
	}
	size := uint64(head[1])
	if size >= 126 {
		var long [8]byte
		n := map[uint64]int{126: 2, 127: 8}[size]
		if _, err := io.ReadFull(r, long[8-n:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	data = make([]byte, size)
	_, err = io.ReadFull(r, data)
	return head[0] & 0x0f, data, err
}

// clientFrame makes a final frame, with a mask of zeros.
func clientFrame(opcode byte, data []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(data); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), data...)
}

// wired opens a WebSocket of which the test writes every byte, and does the handshake of a hub protocol.
func wired(t testing.TB, base, protocol string) (net.Conn, *bufio.Reader) {
	t.Helper()
	addr, path, _ := strings.Cut(strings.TrimPrefix(base, "http://"), "/")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\n\r\n", path, base64.StdEncoding.EncodeToString(make([]byte, 16)))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	if _, err := conn.Write(clientFrame(1, fmt.Appendf(nil, "{\"protocol\":%q,\"version\":1}\x1e", protocol))); err != nil {
		t.Fatal(err)
	}
	if _, data, err := serverFrame(r); err != nil || string(data) != "{}\x1e" {
		t.Fatalf("handshake answered with %q: %v", data, err)
	}
	return conn, r
}

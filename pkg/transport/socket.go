package transport

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// socket is the network connection under a WebSocket, shared by the library, which reads and closes, and us, who write.
// Whoever writes holds mu for one whole WebSocket frame, so that frames never mix, and nothing follows a close frame.
type socket struct {
	net         net.Conn
	reader      *bufio.Reader // the library's
	sendTimeout time.Duration // not positive: none
	lastRead    atomic.Int64  // Unix nanoseconds

	reading turn   // whoever reads has it: the reader of the WebSocket, or who closes it
	ahead   []byte // has been read, and nobody has asked for it yet; its reader's
	buffer  [readBuffer]byte

	closed  atomic.Bool
	stuck   atomic.Bool // the client took nothing within the send timeout; set before the connection is closed for it
	onClose func()      // called once, when the connection is closed by either side of it

	mu   sync.Mutex
	over bool // no frame may follow: a close frame went out, or half of another
}

const (
	opcodeMask   = 0x0f
	opcodeBinary = 0x2
	opcodeClose  = 0x8
)

// Read reads for the library, ahead where it asks for little.
func (s *socket) Read(p []byte) (int, error) {
	s.reading.take()
	defer s.reading.give()
	if len(s.ahead) == 0 {
		if len(p) >= len(s.buffer) {
			return s.receive(p)
		}
		n, err := s.receive(s.buffer[:])
		s.ahead = s.buffer[:n]
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, s.ahead)
	s.ahead = s.ahead[n:]
	return n, nil
}

// turn is a lock that is held while its holder waits for the network. Whoever waits for it is seen to wait by tests that turn the clock, as
// nobody is who waits for a sync.Mutex.
type turn struct {
	mu    sync.Mutex
	taken bool
	free  chan struct{} // closed when it is given back; nil when nobody waits
}

func (t *turn) take() {
	for {
		t.mu.Lock()
		if !t.taken {
			t.taken = true
			t.mu.Unlock()
			return
		}
		if t.free == nil {
			t.free = make(chan struct{})
		}
		free := t.free
		t.mu.Unlock()
		<-free
	}
}

func (t *turn) give() {
	t.mu.Lock()
	t.taken = false
	if t.free != nil {
		close(t.free)
		t.free = nil
	}
	t.mu.Unlock()
}

// await returns when Read has something to return, be it an error. All that it adds to the stack is what it takes to read from
// the network. An error is found again by Read.
func (s *socket) await() {
	s.reading.take()
	if len(s.ahead) == 0 {
		n, _ := s.receive(s.buffer[:])
		s.ahead = s.buffer[:n]
	}
	s.reading.give()
}

// receive reads from the network. The wall clock costs little beside the system call. s.reading must be taken.
func (s *socket) receive(p []byte) (int, error) {
	n, err := s.net.Read(p)
	if n > 0 {
		s.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

// Write sends a control frame of the library, which it writes whole: its buffer holds the largest one.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.send(p)
	if len(p) > 0 && p[0]&opcodeMask == opcodeClose {
		s.over = true
	}
	return n, err
}

// writeFrame sends one whole frame of ours.
func (s *socket) writeFrame(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.send(p)
	return err
}

// send writes p within the send timeout. When that fails, part of a frame may be under way, and nothing sensible can follow:
// the connection is closed. s.mu must be held.
func (s *socket) send(p []byte) (int, error) {
	if s.over {
		return 0, net.ErrClosed
	}
	if s.sendTimeout > 0 {
		if err := s.net.SetWriteDeadline(time.Now().Add(s.sendTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := s.net.Write(p)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.stuck.Store(true)
		}
		s.over = true
		s.cut()
	}
	return n, err
}

// cut closes the connection without a farewell of TLS, which would wait for a client that does not read.
func (s *socket) cut() {
	if t, ok := s.net.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
	}
	_ = s.shut()
}

// Close closes the connection, and returns when no write is under way any more. Those that were fail.
func (s *socket) Close() error {
	err := s.shut()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	return err
}

// shut closes the connection once.
func (s *socket) shut() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.net.Close()
	s.onClose()
	return err
}

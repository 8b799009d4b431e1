package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestClientCloses(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		payload string
		eof     bool
	}{
		"normally":         {"\x03\xe8", true},
		"going away":       {"\x03\xe9bye", true},
		"without a status": {"", true},
		"with an error":    {"\x03\xf3", false},
		"as it likes":      {"\x0f\xa0", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, br, conn := s.rawClient(t, masked(0x88, test.payload))
			if _, err := conn.Next(); err == nil || (err == io.EOF) != test.eof {
				t.Errorf("Next: %v", err)
			}
			if b := readFrame(t, br); b != "\x88"+string(rune(len(test.payload)))+test.payload {
				t.Errorf("answered with %q, want the same status", b)
			}
			if _, err := br.ReadByte(); err != io.EOF {
				t.Errorf("then %v, want the end of the connection", err)
			}
			if err := conn.Write([]*Frame{text("late")}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write: %v", err)
			}
			conn.Ping()
			conn.Close(nil)
			conn.Abort()
			if _, err := conn.Next(); err == nil {
				t.Error("Next succeeds after the end")
			}
		})
	}
}

func TestClose(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		err    error
		status websocket.StatusCode
	}{"normally": {nil, 1000}, "failed": {errors.New("x"), 1011}} {
		for _, reading := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				client, conn := s.dial(t, "")
				next := make(chan error, 1)
				if reading {
					go func() { _, err := conn.Next(); next <- err }()
				}
				closed := make(chan error)
				go func() { _, _, err := client.Read(t.Context()); closed <- err }()
				started := time.Now()
				conn.Close(test.err)
				if took := time.Since(started); took > time.Second {
					t.Errorf("took %v, though the client agreed at once", took)
				}
				err := receive(t, closed)
				var got websocket.CloseError
				if !errors.As(err, &got) || got.Code != test.status || got.Reason != "" {
					t.Errorf("the client sees %v, want status %d without a reason", err, test.status)
				}
				if reading {
					if err := receive(t, next); !errors.Is(err, net.ErrClosed) {
						t.Errorf("Next: %v, want that it was closed here", err)
					}
				}
				conn.Close(nil) // and once more
			})
		}
	}
}

// What a client still sends before it agrees is skipped, wherever the reading stood.
func TestCloseInTheMiddleOfAMessage(t *testing.T) {
	s := newSite(t)
	nc, br, conn := s.rawClient(t, masked(0x01, "first"))
	r, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); conn.Close(nil) }()
	if b := readFrame(t, br); b != "\x88\x02\x03\xe8" {
		t.Errorf("got %q, want close 1000", b)
	}
	_, _ = io.WriteString(nc, masked(0x80, "last")+masked(0x81, "more")+masked(0x88, "\x03\xe8"))
	wait(t, "Close", done)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// A message that the client does not finish is not a short one.
func TestClientClosesInTheMiddleOfAMessage(t *testing.T) {
	s := newSite(t)
	_, _, conn := s.rawClient(t, masked(0x01, "first")+masked(0x88, "\x03\xe8"))
	r, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "first" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v; want what came, and an error", b, err)
	}
	conn.Close(nil)
}

// A client that does not agree to the end costs no more than the close timeout, wherever its stream stands.
func TestCloseTimeout(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"short": 50 * time.Millisecond, "none": -1} {
		for _, early := range []string{"", "\x81\x85\x00\x00\x00\x00ha"} {
			s := newSite(t, func(e *Endpoint) { e.CloseTimeout = timeout })
			_, br, conn := s.rawClient(t, early)
			if early != "" {
				if _, err := conn.Next(); err != nil {
					t.Fatal(err)
				}
			}
			started := time.Now()
			conn.Close(nil)
			if took := time.Since(started); took > 3*time.Second || (timeout > 0 && took < timeout) {
				t.Errorf("%s: Close took %v", name, took)
			}
			if b := readFrame(t, br); b != "\x88\x02\x03\xe8" {
				t.Errorf("%s: got %q, want close 1000", name, b)
			}
		}
	}
}

func TestAbort(t *testing.T) {
	s := newSite(t)
	_, br, conn := s.rawClient(t, "")
	next := make(chan error)
	go func() { _, err := conn.Next(); next <- err }()
	conn.Abort()
	if err := receive(t, next); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if b, err := io.ReadAll(br); len(b) != 0 || err != nil {
		t.Errorf("the client reads %q, %v; want an end without a word, and without a reset", b, err)
	}
	conn.Close(nil)
	conn.Abort()
}

func TestAbortCutsCloseShort(t *testing.T) {
	s := newSite(t)
	_, br, conn := s.rawClient(t, "")
	done := make(chan struct{})
	started := time.Now()
	go func() { defer close(done); conn.Close(nil) }()
	readFrame(t, br) // Close has begun, and waits
	conn.Abort()
	wait(t, "Close", done)
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// fill writes until the client's and our buffers are full, and returns what ended it.
func fill(conn Conn) <-chan error {
	result := make(chan error, 1)
	go func() {
		f := text(strings.Repeat("x", 1<<20))
		for {
			if err := conn.Write([]*Frame{f}); err != nil {
				result <- err
				return
			}
		}
	}()
	return result
}

func TestClientThatDoesNotRead(t *testing.T) {
	t.Run("send timeout", func(t *testing.T) {
		s := newSite(t, func(e *Endpoint) { e.SendTimeout = 100 * time.Millisecond })
		_, _, conn := s.rawClient(t, "")
		if err := receive(t, fill(conn)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v, want a timeout", err)
		}
		if _, err := conn.Next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Next: %v, want the end of the connection", err)
		}
		conn.Close(nil)
	})
	for name, end := range map[string]func(Conn){"Abort": Conn.Abort, "Close": func(c Conn) { c.Close(nil) }} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(e *Endpoint) { e.SendTimeout = -1 })
			_, _, conn := s.rawClient(t, "")
			written := fill(conn)
			blocked(t, conn)
			end(conn)
			if err := receive(t, written); err == nil {
				t.Error("Write succeeded")
			}
		})
	}
	t.Run("Ping", func(t *testing.T) {
		s := newSite(t, func(e *Endpoint) { e.SendTimeout = time.Minute })
		_, _, conn := s.rawClient(t, "")
		fill(conn)
		blocked(t, conn)
		started := time.Now()
		for range 1000 {
			conn.Ping()
		}
		if took := time.Since(started); took > time.Second {
			t.Errorf("a thousand pings took %v", took)
		}
		conn.Abort()
	})
}

// blocked returns when a writer has been stuck for a while.
func blocked(t testing.TB, conn Conn) {
	t.Helper()
	c := conn.(*webSocket)
	deadline := time.Now().Add(patience)
	for stuck := 0; stuck < 20; time.Sleep(5 * time.Millisecond) {
		if c.socket.mu.TryLock() {
			c.socket.mu.Unlock()
			stuck = 0
		} else {
			stuck++
		}
		if time.Now().After(deadline) {
			t.Fatal("the writer never blocks")
		}
	}
}

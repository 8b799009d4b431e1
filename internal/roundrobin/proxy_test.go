package roundrobin

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend answers each connection with its name, then with all that it was sent, once the client has sent its last.
func backend(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, name+":")
				got, _ := io.ReadAll(conn)
				_, _ = conn.Write(got)
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// refusing returns an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve runs a proxy and returns its address. Backends must be made before it, so that it is closed first.
func serve(t *testing.T, p *Proxy) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		p.Close()
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve returned %v, want ErrClosed", err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// ask sends text, ends its own direction and reads all that comes back.
func ask(t *testing.T, address, text string) string {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestRound(t *testing.T) {
	a, b, c := backend(t, "a"), backend(t, "b"), backend(t, "c")
	tests := []struct {
		name     string
		backends []string
		want     string
	}{
		{"in turn", []string{a, b, c}, "a:x b:x c:x a:x b:x c:x"},
		{"one alone", []string{a}, "a:x a:x a:x a:x a:x a:x"},
		{"one refuses", []string{a, refusing(t), c}, "a:x c:x a:x c:x a:x c:x"},
		{"all refuse", []string{refusing(t), refusing(t)}, "     "},
		{"none", nil, "     "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address := serve(t, New(test.backends, Options{}))
			var got []string
			for range 6 {
				if strings.TrimSpace(test.want) == "" {
					got = append(got, readNothing(t, address))
					continue
				}
				got = append(got, ask(t, address, "x"))
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("answers %q, want %q", s, test.want)
			}
		})
	}
}

// readNothing expects the connection to be closed without a byte.
func readNothing(t *testing.T, address string) string {
	t.Helper()
	got, err := io.ReadAll(dial(t, address))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stayed open though no backend answers")
	}
	return string(got)
}

// TestHalfClose: the client's end of sending must reach the backend without cutting off the answer.
func TestHalfClose(t *testing.T) {
	address := serve(t, New([]string{backend(t, "a")}, Options{}))
	text := strings.Repeat("0123456789", 100_000)
	if got := ask(t, address, text); got != "a:"+text {
		t.Errorf("got %d bytes back, want %d", len(got), len(text)+2)
	}
}

// TestBackendGone: a backend that breaks off must end the client's connection, not leave it hanging.
func TestBackendGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn := dial(t, serve(t, New([]string{l.Addr().String()}, Options{})))

	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := accepted.(*net.TCPConn).SetLinger(0); err != nil { // RST, as when a process is killed with data unread
		t.Fatal(err)
	}
	accepted.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read returned %v, want the connection to be over", err)
	}
}

// TestCloseEndsConnections: Close returns only when nothing is left, though neither end has closed.
func TestCloseEndsConnections(t *testing.T) {
	p := New([]string{backend(t, "a")}, Options{})
	conn := dial(t, serve(t, p))
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil { // through to the backend and back
		t.Fatal(err)
	}
	p.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read after Close returned %v, want the connection to be over", err)
	}
	if err := p.Serve(nopListener{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close returned %v, want ErrClosed", err)
	}
}

// TestDialTimeout: the bound holds, here one so short that nobody can answer within it.
func TestDialTimeout(t *testing.T) {
	p := New([]string{backend(t, "a")}, Options{DialTimeout: time.Nanosecond})
	if got := readNothing(t, serve(t, p)); got != "" {
		t.Errorf("got %q from a backend that had no time to answer", got)
	}
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

package node

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestListenerClosesAtOnce: the same holds while somebody accepts.
func TestListenerClosesAtOnce(t *testing.T) {
	for range 200 {
		l, err := listen("clients", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Serve ended with %v", err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "here") {
			t.Fatalf("the client got %q, %v", answer, err)
		}
		_ = conn.Close()
	}
}

// TestListenerTurnsNobodyAway: requests whose connections wait to be accepted when the listener closes are answered.
func TestListenerTurnsNobodyAway(t *testing.T) {
	l, err := listen("clients", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const waiting = 5
	var conns []net.Conn
	for range waiting {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("a closed listener accepts another connection")
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve ended with %v", err)
	}
	for _, conn := range conns {
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(answer), "here") {
			t.Errorf("a client that was waiting got %q, %v", answer, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

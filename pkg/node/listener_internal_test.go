package node

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
)

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
		if err != nil || len(answer) < 4 || string(answer[len(answer)-4:]) != "here" {
			t.Errorf("a client that was waiting got %q, %v", answer, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

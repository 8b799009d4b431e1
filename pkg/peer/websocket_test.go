package peer

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// echo accepts a WebSocket and sends back what comes; ended gets why it ended.
func echo(ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(-1)
		for {
			kind, data, err := ws.Read(context.Background())
			if err == nil {
				err = ws.Write(context.Background(), kind, data)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
}

func TestWebSocket(t *testing.T) {
	ended := make(chan error, 1)
	p := newPair(t, echo(ended))
	ws, res, err := websocket.Dial(t.Context(), p.front.URL+"/chat?id=abc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if res.Header.Get("X-Front") != "" {
		t.Error("the front's headers got through")
	}
	ws.SetReadLimit(-1)
	for _, size := range []int{0, 1, 200, 100_000, 5 << 20} {
		want := bytes.Repeat([]byte("x"), size)
		sent := make(chan error, 1)
		go func() { sent <- ws.Write(t.Context(), websocket.MessageBinary, want) }()
		kind, got, err := ws.Read(t.Context())
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.Close(4000, "enough"); err != nil {
		t.Errorf("the closing handshake: %v", err)
	}
	if err := wait(t, ended, "end at the owner"); websocket.CloseStatus(err) != 4000 {
		t.Errorf("the owner was told %v", err)
	}
	p.near.underWay.Wait() // nothing of it is left
}

// TestWebSocketBreaks: each side learns that the other is gone.
func TestWebSocketBreaks(t *testing.T) {
	ended := make(chan error, 1)
	p := newPair(t, echo(ended))
	ws, _, err := websocket.Dial(t.Context(), p.front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.CloseNow()
	wait(t, ended, "end at the owner")

	ws, _, err = websocket.Dial(t.Context(), p.front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	p.near.Close()
	wait(t, ended, "end at the owner")
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the client was not told")
	}
}

// TestWebSocketRefused: a refusal of the owner is passed on as it is.
func TestWebSocketRefused(t *testing.T) {
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "No Connection with that ID")
	}))
	_, res, err := websocket.Dial(t.Context(), p.front.URL, nil)
	if err == nil || res.StatusCode != 404 {
		t.Fatalf("%v, %v", res, err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "No Connection with that ID" || res.Header.Get("Content-Type") != "" {
		t.Errorf("%q %v", body, res.Header)
	}
}

// TestWebSocketEagerClient: bytes right behind the handshake are not lost.
func TestWebSocketEagerClient(t *testing.T) {
	p := newPair(t, echo(make(chan error, 1)))
	conn, err := net.Dial("tcp", p.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	handshake := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	frame := "\x81\x82\x00\x00\x00\x00hi" // text, masked with zeros
	if _, err := io.WriteString(conn, handshake+frame); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 101") {
			t.Fatal(line)
		}
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(in, answer); err != nil || string(answer) != "\x81\x02hi" {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestWebSocketSlowClient: one that does not read is cut off, also when the owner has gone first.
func TestWebSocketSlowClient(t *testing.T) {
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		for err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			err = ws.Write(ctx, websocket.MessageBinary, make([]byte, 1<<20))
			cancel()
		}
	}), func(near, _ *Options) { near.WriteTimeout = 300 * time.Millisecond })
	ws, _, err := websocket.Dial(t.Context(), p.front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	done := make(chan struct{})
	go func() { p.near.underWay.Wait(); close(done) }()
	wait(t, done, "end of the forwarding")
}

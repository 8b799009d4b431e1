package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// inBubble runs f with faked time, against a chat hub that is reached over net.Pipe.
func inBubble(t *testing.T, h *chat, o hub.Options, f func(t *testing.T, memory dialOption)) {
	synctest.Test(t, func(t *testing.T) {
		http, _, stop := serveInMemory(newServer(t, h, o))
		defer stop()
		f(t, over(http))
	})
}

const there = "http://hub/chat"

func TestHandshakeTimeout(t *testing.T) {
	inBubble(t, &chat{}, hub.Options{}, func(t *testing.T, memory dialOption) {
		c := dial(t, there, memory, rawSocket)
		defer c.ws.CloseNow()
		c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"protocol":"json"`))
		start := time.Now()
		if got, want := c.patiently(t), "{\"error\":\"Handshake was canceled.\"}\x1e"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(start); took != hub.DefaultHandshakeTimeout {
			t.Errorf("after %v", took)
		}
		c.wantClosed(1000)
	})
}

// patiently reads one WebSocket message, however long it takes.
func (c *client) patiently(t *testing.T) string {
	t.Helper()
	_, data, err := c.ws.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestKeepAlive(t *testing.T) {
	inBubble(t, &chat{}, hub.Options{}, func(t *testing.T, memory dialOption) {
		c := dial(t, there, memory)
		defer c.ws.CloseNow()
		last := time.Now()
		for range 20 {
			if got := c.patiently(t); got != "{\"type\":6}\x1e" {
				t.Fatalf("got %q", got)
			}
			if gap := time.Since(last); gap < 15*time.Second || gap > 16*time.Second {
				t.Errorf("a ping after %v", gap)
			}
			last = time.Now()
		}
	})
}

func TestNoKeepAlive(t *testing.T) {
	inBubble(t, &chat{}, hub.Options{Limits: hub.Limits{KeepAlive: -1}}, func(t *testing.T, memory dialOption) {
		c := dial(t, there, memory)
		defer c.ws.CloseNow()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if _, data, err := c.ws.Read(ctx); err == nil {
			t.Errorf("got %q", data)
		}
	})
}

// A client is timed out only once it has pinged, and only by its silence.
func TestClientTimeout(t *testing.T) {
	inBubble(t, &chat{}, hub.Options{Limits: hub.Limits{DetailedErrors: true}}, func(t *testing.T, memory dialOption) {
		c := dial(t, there, memory)
		defer c.ws.CloseNow()
		pings := 0
		for range 4 { // a minute without a word
			if c.patiently(t) == "{\"type\":6}\x1e" {
				pings++
			}
		}
		if pings != 4 {
			t.Fatalf("%d pings in a minute", pings)
		}
		c.send(`{"type":6}`)
		start := time.Now()
		if m := c.untilClose(t); m != `{"type":7,"error":"Connection closed with an error. OperationCanceledException: Client hasn't sent a message/ping within the configured ClientTimeoutInterval.","allowReconnect":true}`+"\x1e" {
			t.Errorf("got %s", m)
		}
		if took := time.Since(start); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("after %v", took)
		}
		c.wantClosed(1000)
	})
}

// untilClose returns the first message that is not a ping.
func (c *client) untilClose(t *testing.T) string {
	t.Helper()
	for {
		if got := c.patiently(t); got != "{\"type\":6}\x1e" {
			return got
		}
	}
}

// A client that keeps pinging, or whose call runs for long, is not silent.
func TestClientTimeoutSpares(t *testing.T) {
	inBubble(t, &chat{}, hub.Options{}, func(t *testing.T, memory dialOption) {
		c := dial(t, there, memory)
		defer c.ws.CloseNow()
		for range 20 {
			c.send(`{"type":6}`)
			c.patiently(t)
		}
		c.wantCall("result: 3", "Add", 1, 2)
	})
}

// A client whose machine has gone does not answer the WebSocket's own pings either, and is found by that.
func TestVanishedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan error, 1)
		h := &chat{disconnected: func(_ *hub.Call, reason error) { gone <- reason }}
		http, mute, stop := serveInMemory(newServer(t, h, hub.Options{}))
		defer stop()
		c := dial(t, there, over(http))
		defer c.ws.CloseNow()
		for range 8 { // it never pings, but answers pings
			c.patiently(t)
		}
		mute.Store(true)
		start := time.Now()
		go func() {
			for {
				if _, _, err := c.ws.Read(context.Background()); err != nil {
					return
				}
			}
		}()
		if reason := <-gone; reason == nil {
			t.Error("no reason")
		}
		if took := time.Since(start); took < 30*time.Second || took > 75*time.Second {
			t.Errorf("found after %v", took)
		}
	})
}

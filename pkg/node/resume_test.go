package node

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// TestResumeAtAnyNode: a stateful connection goes on wherever its client comes back, and loses nothing.
func TestResumeAtAnyNode(t *testing.T) {
	_, a, b, c := fleet(t)
	token, id := negotiateStateful(t, a)
	ws := b.openStateful(t, token) // which is where it lives now
	sent := 0
	send := func() {
		t.Helper()
		sent++
		if err := a.Hub("/room").Clients().Client(id).Send(t.Context(), "n", sent); err != nil {
			t.Fatal(err)
		}
	}
	want := func(ws *client, from int) {
		t.Helper()
		for i := from; i <= sent; i++ {
			if got, want := ws.next(), fmt.Sprintf(`{"type":1,"target":"n","arguments":[%d]}`, i); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	}
	send()
	want(ws, 1)
	for _, s := range []started{c, a, b, c, c} {
		_ = ws.conn.CloseNow()
		send()
		var status int
		if ws, status = s.open(t, token); ws == nil {
			t.Fatalf("resumed with %d", status)
		}
		if got := ws.next(); got != `{"type":9,"sequenceId":1}` {
			t.Fatalf("resumed with %s", got)
		}
		want(ws, 1) // nothing was acknowledged
		ws.send(`{"type":9,"sequenceId":1}`)
		send()
		want(ws, sent)
	}

	// The node in between stops: the client's socket breaks, and it comes back through another one.
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if _, err := ws.read(); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("the socket did not break: %v", err)
	}
	ws, status := a.open(t, token)
	if ws == nil {
		t.Fatalf("resumed with %d", status)
	}
	_ = ws.next()
	want(ws, 1)

	// With the end of the connection the token is worth nothing.
	if err := ws.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	for _, s := range []started{a, b} {
		if ws, status := s.open(t, token); ws != nil || status != http.StatusNotFound {
			t.Errorf("after the end: %d", status)
		}
	}
}

// TestResumeWithoutHolder: a client whose node is gone starts afresh.
func TestResumeWithoutHolder(t *testing.T) {
	t.Parallel()
	_, a, b, c := fleet(t)
	token, _ := negotiateStateful(t, a)
	ws := b.openStateful(t, token)
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	ws.expectClose()
	for _, s := range []started{a, c} {
		if ws, status := s.open(t, token); ws != nil || status != http.StatusNotFound {
			t.Errorf("after the end of its node: %d", status)
		}
	}
}

// fleetWithoutRedis is three nodes that have met, and lost Redis.
func fleetWithoutRedis(t *testing.T) (server *redistest.Server, a, b, c started) {
	t.Helper()
	server, a, b, c = fleet(t)
	warm := negotiate(t, a)
	for _, s := range []started{b, c} {
		if status, _, _ := ask(t, "POST", s.url("/room?id="+warm)); status != 200 {
			t.Fatalf("POST: %d", status)
		}
		eventually(t, "seen", func() bool { return s.others.count() == 3 })
	}
	server.Stop()
	for _, s := range []started{a, b, c} {
		eventually(t, "away", func() bool { return !s.cluster.State().Up })
	}
	return server, a, b, c
}

// TestForwardedWebSocketIsReleased: a WebSocket that was opened through another node, because Redis was away, ends as it should when that
// node drains, and as if it were the owner's own: with what it was promised, Close, and 1000.
func TestForwardedWebSocketIsReleased(t *testing.T) {
	_, a, b, _ := fleetWithoutRedis(t)
	ws := b.connect(t, "?id="+negotiate(t, a))
	if n := b.peer.Running(); n != 1 {
		t.Fatalf("%d requests are forwarded, want the WebSocket", n)
	}
	var ended sync.WaitGroup
	ended.Go(ws.expectClose)
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	ended.Wait()
	eventually(t, "gone", func() bool { return a.hubs.Connections() == 0 })
}

// TestFirstUseWhileRedisIsAway: whichever node a new client reaches, the one that minted its token lets it in, once.
func TestFirstUseWhileRedisIsAway(t *testing.T) {
	_, a, b, c := fleetWithoutRedis(t)
	token := negotiate(t, a)
	ws := b.connect(t, "?id="+token)
	ws.send(`{"type":1,"invocationId":"1","target":"Who","arguments":[]}`)
	if got := ws.next(); got != `{"type":3,"invocationId":"1","result":""}` {
		t.Errorf("got %s", got)
	}
	if _, status := c.open(t, token); status != http.StatusConflict {
		t.Errorf("the second use: %d", status)
	}
}

package node

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// negotiateStateful gets a token for a connection that can outlive its socket, and its id.
func negotiateStateful(t *testing.T, s started) (token, id string) {
	t.Helper()
	status, body, _ := ask(t, "POST", s.url("/room/negotiate?negotiateVersion=1&useStatefulReconnect=true"))
	if status != 200 || !strings.Contains(body, `"useStatefulReconnect":true`) {
		t.Fatalf("negotiate: %d %s", status, body)
	}
	field := func(name string) string {
		_, rest, _ := strings.Cut(body, `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	return field("connectionToken"), field("connectionId")
}

// open opens a WebSocket; the client is nil when it is refused.
func (s started) open(t *testing.T, token string) (*client, int) {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), s.url("/room?id="+token), &websocket.DialOptions{HTTPClient: httpClient})
	if resp == nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t: t, conn: conn}, resp.StatusCode
}

// openStateful opens the first WebSocket of a stateful connection.
func (s started) openStateful(t *testing.T, token string) *client {
	t.Helper()
	c, status := s.open(t, token)
	if c == nil {
		t.Fatalf("status %d", status)
	}
	c.send(`{"protocol":"json","version":2}`)
	if got := c.next(); got != "{}" {
		t.Fatalf("handshake answered with %s", got)
	}
	return c
}

// TestSessionsAreHeld: the claim of a stateful connection lasts for as long as the connection, even if Redis forgets everything, and
// no longer.
func TestSessionsAreHeld(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := make1(t, Config{Redis: server.URL(), RedisPrefix: "x:"})
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	n.holdEvery = 20 * time.Millisecond
	s := run(t, n)
	eventually(t, "ready", func() bool { status, _ := s.askAdmin(t, "/readyz"); return status == 200 })
	token, id := negotiateStateful(t, s)
	c := s.openStateful(t, token)
	held := func() bool { return server.Do(t, "TTL", "x:tok:"+id).(int64) > 30 }
	server.Do(t, "EXPIRE", "x:tok:"+id, 5)
	eventually(t, "held", held)
	server.Restart()
	eventually(t, "held again", held)

	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "over", func() bool {
		for range n.hubs.Sessions() {
			return false
		}
		return true
	})
	other, _ := negotiateStateful(t, s)
	s.openStateful(t, other)
	eventually(t, "held no more", func() bool { // while the other one is
		server.Do(t, "EXPIRE", "x:tok:"+id, 5)
		time.Sleep(2 * n.holdEvery) // on purpose: it is shown only by what a whole turn does
		return !held()
	})
}

// TestSessionsAreHeldAgain: when Redis has come back empty, nobody waits for the next turn.
func TestSessionsAreHeldAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := make1(t, Config{Redis: server.URL(), RedisPrefix: "x:"})
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	n.holdEvery = time.Hour
	s := run(t, n)
	eventually(t, "ready", func() bool { status, _ := s.askAdmin(t, "/readyz"); return status == 200 })
	token, id := negotiateStateful(t, s)
	s.openStateful(t, token)
	server.Restart()
	eventually(t, "held again", func() bool { return server.Do(t, "EXISTS", "x:tok:"+id) == int64(1) })
}

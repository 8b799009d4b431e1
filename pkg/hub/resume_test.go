package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// What the client has not acknowledged comes again over the next socket, in order, behind a Sequence message; what was sent meanwhile
// comes behind that.
func TestStatefulReconnect(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	c := dial(t, serve(t, s)+"/chat", stateful)
	send := func(i int) {
		t.Helper()
		if err := s.Hub("/chat").Clients().All().Send(context.Background(), "M", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		send(i)
	}
	c.want("M[0]", "M[1]", "M[2]")
	c.send(`{"type":8,"sequenceId":2}`)
	c.wantCall("result: 3", "Add", 1, 2) // the fourth; behind it the ack has been dealt with
	c.ws.CloseNow()
	send(4)
	if status := c.reopen(); status != 101 {
		t.Fatalf("reopened with status %d", status)
	}
	c.want("sequence 3", "M[2]", "result: 3", "M[4]")
	send(5)
	c.want("M[5]")

	// Once more, at once, and with everything acknowledged.
	c.send(`{"type":9,"sequenceId":2}`) // its next message will be its second
	c.send(`{"type":8,"sequenceId":6}`)
	c.wantCall("result: 7", "Add", 3, 4)
	c.send(`{"type":8,"sequenceId":7}`)
	c.ws.Write(context.Background(), websocket.MessageText, []byte("{\"type\":6}\x1e{\"half\":"))
	c.ws.CloseNow()
	c.reopen()
	if got := c.next(); got.Type != 9 || got.SequenceID < 7 || got.SequenceID > 8 {
		t.Errorf("got %v", got)
	}
}

// What the client sends twice is dispatched once.
func TestStatefulReconnectDropsTwins(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	url := serve(t, s) + "/chat"
	c, other := dial(t, url, stateful), dial(t, url)
	c.wantCall("result: null", "ToOthers", "1")
	c.wantCall("result: null", "ToOthers", "2")
	other.want(`M["1"]`, `M["2"]`)
	c.ws.CloseNow()
	c.reopen()
	c.want("sequence 1", "result: null", "result: null")
	c.send(`{"type":9,"sequenceId":2}`)
	c.send(`{"type":1,"target":"ToOthers","arguments":["2"]}`)
	c.send(`{"type":1,"target":"ToOthers","arguments":["3"]}`)
	other.want(`M["3"]`)
}

// The server acknowledges what it has got, once a second, and only when there is news.
func TestStatefulAcks(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}), stateful)
	c.wantCall("result: 3", "Add", 1, 2)
	c.want("ack 1")
	c.wantCall("result: 3", "Add", 1, 2)
	c.want("ack 2")
}

func TestStatefulReconnectEnds(t *testing.T) {
	gone := make(chan error, 10)
	h := &chat{disconnected: func(_ *hub.Call, reason error) { gone <- reason }}
	url := start(t, h, hub.Options{Limits: hub.Limits{DisconnectTimeout: 30 * time.Millisecond, DetailedErrors: true}})

	c := dial(t, url, stateful) // says goodbye
	c.ws.Close(websocket.StatusNormalClosure, "")
	<-gone
	if status := c.reopen(); status != 404 {
		t.Errorf("after a closing handshake: status %d", status)
	}
	c = dial(t, url, stateful) // does not come back in time
	c.ws.CloseNow()
	if reason := <-gone; reason == nil {
		t.Error("a connection that did not come back left without a reason")
	}
	if status := c.reopen(); status != 404 {
		t.Errorf("too late: status %d", status)
	}
	c = dial(t, url, stateful) // claims to have sent what never came
	c.send(`{"type":9,"sequenceId":2}`)
	if got := c.next().String(); !strings.Contains(got, "Sequence ID greater than amount of messages we've received.") {
		t.Errorf("got %s", got)
	}
	<-gone
	c = dial(t, url, stateful) // is aborted
	c.post("Abort")
	<-gone
	if status := c.reopen(); status != 404 {
		t.Errorf("after an abort: status %d", status)
	}
	c = dial(t, url, stateful, func(d *dialing) { d.version = 1 }) // changed its mind in the handshake
	if status := c.reopen(); status != 204 {
		t.Errorf("with version 1: status %d", status)
	}
	plain := dial(t, url)
	if status := plain.reopen(); status != 409 {
		t.Errorf("a used token: status %d", status)
	}
}

// The second socket takes over even when the first one is not known to be broken.
func TestStatefulReconnectReplaces(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	c := dial(t, serve(t, s)+"/chat", stateful)
	old := c.ws
	for i := range 20 {
		if status := c.reopen(); status != 101 {
			t.Fatalf("status %d", status)
		}
		c.want("sequence 1")
		for k := range i {
			c.want(fmt.Sprintf("M[%d]", k))
		}
		if err := s.Hub("/chat").Clients().Client(c.id).Send(context.Background(), "M", i); err != nil {
			t.Fatal(err)
		}
		c.want(fmt.Sprintf("M[%d]", i))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, _, err := old.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the first socket still lives: %v", err)
	}
}

// What was not acknowledged is bounded; what does not fit waits for acks in the queue.
func TestReplayBuffer(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{Limits: hub.Limits{ReplayBuffer: 1}})
	c := dial(t, serve(t, s)+"/chat", stateful)
	for i := range 3 {
		if err := s.Hub("/chat").Clients().All().Send(context.Background(), "M", i); err != nil {
			t.Fatal(err)
		}
	}
	c.want("M[0]")
	for i := range 3 {
		c.ws.CloseNow()
		c.reopen()
		c.want(fmt.Sprintf("sequence %d", i+1), fmt.Sprintf("M[%d]", i))
		c.send(fmt.Sprintf(`{"type":8,"sequenceId":%d}`, i+1))
		if i < 2 {
			c.want(fmt.Sprintf("M[%d]", i+1))
		}
	}
}

// A message that is streamed while the socket breaks again and again arrives once, and in order.
func TestStatefulReconnectInAStream(t *testing.T) {
	srv := hub.NewServer(hub.Options{})
	if err := srv.Map("/chat", streams{}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, srv)+"/chat", stateful)
	const n = 3000
	c.send(fmt.Sprintf(`{"type":4,"invocationId":"s","target":"Count","arguments":[%d]}`, n))
	received, next, cut := int64(0), int64(0), int64(0) // messages; the last one's number; when it was cut last
	for received < n+1 {
		if received >= cut+250 {
			cut = received
			c.ws.CloseNow()
			if status := c.reopen(); status != 101 {
				t.Fatalf("status %d", status)
			}
			c.send(`{"type":9,"sequenceId":2}`)
			m := c.next()
			if m.Type != 9 || m.SequenceID > received+1 {
				t.Fatalf("got %v after %d messages", m, received)
			}
			next = m.SequenceID - 1
		}
		m := c.next()
		if m.Type == 8 {
			continue
		}
		if next++; next <= received {
			continue // it came before
		}
		received = next
		if m.Type == 3 {
			break
		}
		if got := string(m.Item); got != fmt.Sprint(received-1) {
			t.Fatalf("message %d is item %s", received, got)
		}
		if received%100 == 0 {
			c.send(fmt.Sprintf(`{"type":8,"sequenceId":%d}`, received))
		}
	}
	if received != n+1 {
		t.Errorf("%d messages", received)
	}
}

// TestSessions: those connections are named that can come back, and no longer than they can.
func TestSessions(t *testing.T) {
	gone := make(chan error, 4)
	s := newServer(t, &chat{disconnected: func(_ *hub.Call, reason error) { gone <- reason }}, hub.Options{})
	url := serve(t, s) + "/chat"
	sessions := func() []string { return slices.Sorted(s.Sessions()) }
	dial(t, url)
	dial(t, url, stateful, func(d *dialing) { d.version = 1 })
	if got := sessions(); len(got) != 0 {
		t.Errorf("sessions %q of connections that cannot come back", got)
	}
	a, b := dial(t, url, stateful), dial(t, url, stateful)
	want := []string{a.id, b.id}
	slices.Sort(want)
	if got := sessions(); !slices.Equal(got, want) {
		t.Errorf("sessions %q, want %q", got, want)
	}
	a.ws.CloseNow() // may come back
	if got := sessions(); !slices.Equal(got, want) {
		t.Errorf("sessions %q, want %q", got, want)
	}
	b.ws.Close(websocket.StatusNormalClosure, "")
	<-gone
	if got := sessions(); !slices.Equal(got, []string{a.id}) {
		t.Errorf("sessions %q, want %q", got, a.id)
	}
}

package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// A queue that overflows before its writer was started must not keep the connection for ever.
func TestOverflowBeforeTheWriterRuns(t *testing.T) {
	closed := make(chan hub.CloseReason, 1)
	s := newServer(t, &chat{}, hub.Options{Hooks: func(string, []string) hub.Hooks {
		return hub.Hooks{Disconnected: func(_ transport.Kind, why hub.CloseReason, _ time.Duration) { closed <- why }}
	}})
	c := dial(t, serve(t, s)+"/chat")
	c.call("Join", "a")
	c.call("Join", "b")
	if err := s.Hub("/chat").Clients().Groups("a", "b").Send(context.Background(), "M", strings.Repeat("x", 600<<10)); err != nil {
		t.Fatal(err)
	}
	if why := <-closed; why != hub.ClosedSlow {
		t.Errorf("closed because of %q", why)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// bomb panics when it is decoded or encoded.
type bomb struct{ Armed bool }

func (*bomb) UnmarshalJSON([]byte) error    { panic("decoding") }
func (b bomb) MarshalJSON() ([]byte, error) { panic("encoding") }

type bombs struct{}

func (bombs) Take(c *hub.Call, b bomb) {}
func (bombs) Give(c *hub.Call) bomb    { return bomb{} }
func (bombs) Sum(c *hub.Call, in <-chan bomb) string {
	for range in {
	}
	return fmt.Sprint(c.StreamErr(in))
}
func (bombs) Stream(c *hub.Call) <-chan bomb {
	ch := make(chan bomb, 1)
	ch <- bomb{}
	return ch
}
func (bombs) Forbidden(c *hub.Call)   {}
func (bombs) Ping(c *hub.Call) string { return "pong" }

// Whatever code of the user's panics, only its call ends.
func TestPanicsAreContained(t *testing.T) {
	s := hub.NewServer(hub.Options{})
	err := s.Map("/chat", bombs{}, hub.HubOptions{Authorize: func(c *hub.Call) bool {
		if c.Method() == "Forbidden" {
			panic("authorizing")
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, s)+"/chat")
	for _, method := range []string{"Take", "Give", "Forbidden"} {
		args := []any{}
		if method == "Take" {
			args = append(args, 1)
		}
		c.wantCall("error: An unexpected error occurred invoking '"+method+"' on the server.", method, args...)
	}
	if got := c.stream("Stream", "[]"); fmt.Sprint(got) != "[error: An error occurred on the server while streaming results.]" {
		t.Errorf("a stream of bombs: %v", got)
	}
	c.send(`{"type":1,"invocationId":"9","target":"Sum","arguments":[],"streamIds":["u"]}`)
	c.send(`{"type":2,"invocationId":"u","item":1}`)
	c.want(`result: "Failed to bind Stream message."`)
	c.wantCall(`result: "pong"`, "Ping")
}

// Joining a group fails while Redis is away also when the group has members already.
func TestJoinWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	url := redisNode(t, server.URL(), &chat{})
	first, second := dial(t, url), dial(t, url)
	first.wantCall("result: null", "Join", "g")
	server.Stop()
	for first.call("ToAll", "x").Error == nil { // until the loss is noticed
	}
	for began := time.Now(); ; { // the subscription's link is another one, and its loss may be noticed a moment later
		m := second.call("Join", "g")
		if m.Error != nil {
			if !strings.Contains(*m.Error, hub.ErrUnavailable.Error()) {
				t.Errorf("joined without Redis: %v", m)
			}
			return
		}
		if time.Since(began) > patience {
			t.Fatal("joined without Redis")
		}
	}
}

// slowText connects a client while it is encoded.
type slowText struct{ connect func() }

func (s slowText) MarshalText() ([]byte, error) { s.connect(); return []byte("hello"), nil }

// Who connects while a message is encoded gets it, or not; but is not thrown out for speaking a protocol that nobody spoke before.
func TestFirstSpeakerDuringASend(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	url := serve(t, s) + "/chat"
	var c *client
	var once sync.Once
	text := slowText{func() { once.Do(func() { c = dial(t, url) }) }}
	if err := s.Hub("/chat").Clients().All().Send(context.Background(), "M", text); err != nil {
		t.Fatal(err)
	}
	id := c.post("Add", 1, 2)
	for {
		m := c.next()
		if m.Type == 3 && m.InvocationID == id {
			break
		}
		if m.String() != `M["hello"]` {
			t.Fatalf("got %v", m)
		}
	}
}

// A message from a node that does not speak a client's protocol ends that client: it would miss messages without a word.
func TestMissingProtocol(t *testing.T) {
	server := redistest.Start(t)
	c := dial(t, redisNode(t, server.URL(), &chat{}))
	server.Do(t, "PUBLISH", "hubfleet:MyApp.ChatHub:all", unhex(t, "929081ab6d6573736167657061636bc40f0e960180c0a453656e6491a2686990"))
	c.want("close: Connection closed with an error. errorString: this message was received from another server that did not have the requested protocol available (reconnect true)")
}

// late keeps its Call, and asks when its method has returned.
type late struct{ asked chan error }

func (l late) Ask(c *hub.Call) {
	go func() {
		var answer string
		l.asked <- c.Clients().Caller().Invoke(c, &answer, "Q")
	}()
}

func (late) Ping(c *hub.Call) string { return "pong" }

func (l late) Upload(c *hub.Call, in <-chan int) string {
	<-l.asked // until the buffer is full, and the reader waits
	err := c.StreamErr(in)
	return fmt.Sprint(err)
}

func TestInvokeAfterTheMethodHasReturned(t *testing.T) {
	h := late{asked: make(chan error)}
	s := hub.NewServer(hub.Options{})
	if err := s.Map("/chat", h); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, s)+"/chat")
	for range 50 {
		id := c.post("Ask")
		var q message
		for q.Target == "" || id != "" {
			m := c.next()
			if m.Type == 3 {
				id = ""
			} else {
				q = m
			}
		}
		c.wantCall(`result: "pong"`, "Ping")
		c.send(`{"type":3,"invocationId":"` + q.InvocationID + `","result":"yes"}`)
		if err := <-h.asked; err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamErrWhileTheStreamIsFull(t *testing.T) {
	h := late{asked: make(chan error)}
	s := hub.NewServer(hub.Options{Limits: hub.Limits{StreamBuffer: 1}})
	if err := s.Map("/chat", h); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, s)+"/chat")
	c.send(`{"type":1,"invocationId":"1","target":"Upload","arguments":[],"streamIds":["u"]}`)
	for i := range 3 {
		c.send(fmt.Sprintf(`{"type":2,"invocationId":"u","item":%d}`, i))
	}
	h.asked <- nil
	c.want(`result: "<nil>"`)
}

func TestInvokeInOnConnected(t *testing.T) {
	errs := make(chan error, 1)
	h := &chat{connected: func(c *hub.Call) error {
		var answer string
		errs <- c.Clients().Caller().Invoke(context.Background(), &answer, "Q")
		return nil
	}}
	c := dial(t, start(t, h, hub.Options{}))
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("got %v", err)
	}
	c.wantCall("result: 3", "Add", 1, 2)
}

// A connection that is in its handshake when the server is cut off was never connected.
func TestShutdownDuringAHandshake(t *testing.T) {
	var mu sync.Mutex
	connected, disconnected := 0, 0
	s := newServer(t, &chat{}, hub.Options{Hooks: func(string, []string) hub.Hooks {
		return hub.Hooks{
			Connected:    func(transport.Kind) { mu.Lock(); connected++; mu.Unlock() },
			Disconnected: func(transport.Kind, hub.CloseReason, time.Duration) { mu.Lock(); disconnected++; mu.Unlock() },
		}
	}})
	c := dial(t, serve(t, s)+"/chat", rawSocket)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ctx)
	if _, data, err := c.read(); err == nil {
		t.Errorf("the client was told %q", data)
	}
	mu.Lock()
	defer mu.Unlock()
	if connected != disconnected {
		t.Errorf("%d connected, %d disconnected", connected, disconnected)
	}
}

// Whoever adds a connection of another node to a group learns soon that it has gone meanwhile.
func TestGroupCommandForAnEndedConnection(t *testing.T) {
	memory := backplane.NewMemory()
	held := make(chan struct{})
	h := &chat{disconnected: func(*hub.Call, error) { <-held }}
	one := newServer(t, h, hub.Options{Backplane: memory.Node()})
	other := newServer(t, &chat{}, hub.Options{Backplane: memory.Node()})
	serve(t, other)
	c := dial(t, serve(t, one)+"/chat")
	c.ws.CloseNow()
	done := make(chan error, 1)
	go func() {
		for {
			err := other.Hub("/chat").Groups().Add(context.Background(), c.id, "g")
			if err != nil {
				done <- err
				return
			}
		}
	}()
	close(held)
	select {
	case err := <-done:
		if !errors.Is(err, hub.ErrNoConnection) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("nobody says that the connection has gone")
	}
}

// Many members join and leave one group at the same time, while others count on hearing it.
func TestJoinAndLeaveAtOnce(t *testing.T) {
	server := redistest.Start(t)
	urls := []string{redisNode(t, server.URL(), &chat{}), redisNode(t, server.URL(), &chat{})}
	sender := dial(t, urls[1])
	var mu sync.Mutex // one send at a time, so that each member can tell its own
	var wait sync.WaitGroup
	for m := range 4 {
		c := dial(t, urls[0])
		wait.Go(func() {
			for i := range 200 {
				c.wantCall("result: null", "Join", "g")
				text := fmt.Sprint(m, "-", i)
				mu.Lock()
				sender.wantCall("result: null", "ToGroup", "g", text)
				mu.Unlock()
				for c.next().String() != fmt.Sprintf("M[%q]", text) {
				}
				c.wantCall("result: null", "Leave", "g")
			}
		})
	}
	wait.Wait()
}

// A client that knows that it is connected is reachable through Redis too, also when Redis takes its time to confirm.
func TestConnectThenSendOverRedis(t *testing.T) {
	server := redistest.Start(t)
	urls := []string{redisNode(t, server.URL(), &chat{}), redisNode(t, server.URL(), &chat{})}
	b := dial(t, urls[1])
	for i := range 300 {
		user := fmt.Sprint("user", i)
		a := dial(t, urls[0], asUser(user))
		b.wantCall("result: null", "ToUser", user, "hello")
		a.want(`M["hello"]`)
		b.wantCall("result: null", "ToClient", a.id, "you")
		a.want(`M["you"]`)
		a.ws.CloseNow()
	}
}

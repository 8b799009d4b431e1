package hub_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/hubpresence"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// watchHub is a hub whose clients watch who is online.
type watchHub struct {
	during func(c *hub.Call) // between Notify and its answer
}

func (h *watchHub) Watch(c *hub.Call, limit int) ([]string, error) {
	online, err := c.Presence().Notify(c, "Changed", limit)
	if h.during != nil {
		h.during(c)
	}
	return online, err
}

func (h *watchHub) WatchAndFail(c *hub.Call) error {
	_, _ = c.Presence().Notify(c, "Changed", 0)
	return hub.Errorf("no")
}

func (h *watchHub) Unwatch(c *hub.Call) { c.Presence().StopNotify() }

func (h *watchHub) WatchStreaming(c *hub.Call) (iter.Seq2[int, error], error) {
	_, err := c.Presence().Notify(c, "Changed", 0)
	return nil, hub.Errorf("%v", err)
}

func (h *watchHub) Tag(c *hub.Call, text string) error { return c.Presence().SetMetadata([]byte(text)) }

func (h *watchHub) Online(c *hub.Call, users []string) ([]bool, error) {
	return c.Presence().Online(c, users...)
}

// watched is a server whose presence the test has a hand in.
type watched struct {
	*hub.Server
	url    string
	hub    *watchHub
	memory *presence.Memory
	other  *presence.MemoryNode // another node
}

func newWatched(t *testing.T, options ...func(*hub.Options)) *watched {
	w := &watched{hub: &watchHub{}, memory: presence.NewMemory(presence.MemoryOptions{Grace: -1})}
	w.other = w.memory.Node("other")
	own := w.memory.Node("own")
	t.Cleanup(func() { own.Close(); w.other.Close() })
	o := hub.Options{Authenticate: byHeader, Presence: hubpresence.New(own)}
	for _, set := range options {
		set(&o)
	}
	w.Server = hub.NewServer(o)
	if err := w.Map("/chat", w.hub, hub.HubOptions{Name: "Chat"}); err != nil {
		t.Fatal(err)
	}
	w.url = serve(t, w.Server) + "/chat"
	return w
}

func (w *watched) come(user string) { w.other.Add(presence.Connection{ID: user, User: user}) }
func (w *watched) go1(user string)  { w.other.Remove(user) }

func TestNotify(t *testing.T) {
	w := newWatched(t)
	w.come("zoe")
	a, b := dial(t, w.url, asUser("ada")), dial(t, w.url)
	a.wantCall(`result: ["ada","zoe"]`, "Watch", 10)
	w.come("bob")
	a.want(`Changed["bob",true]`)
	b.wantCall(`result: ["ada","bob"]`, "Watch", 2)
	w.go1("zoe") // whom b was not told of
	a.want(`Changed["zoe",false]`)
	b.want(`Changed["zoe",false]`)
	c := dial(t, w.url, asUser("ada")) // who is online already
	a.ws.CloseNow()
	w.come("cid")
	b.want(`Changed["cid",true]`)
	b.wantCall(`result: null`, "Unwatch")
	w.go1("cid")
	b.wantCall(`result: ["ada","bob"]`, "Watch", 1000)
	c.ws.CloseNow()
	b.want(`Changed["ada",false]`)
	b.wantCall("error: An unexpected error occurred invoking 'WatchAndFail' on the server. HubException: no", "WatchAndFail")
	w.come("dan")
	b.post("Watch", 0)
	b.want(`result: []`) // and not a word of dan before it
}

// TestNotifyFollowsTheAnswer: whatever happens while the method runs comes behind its answer, complete and in order.
func TestNotifyFollowsTheAnswer(t *testing.T) {
	w := newWatched(t)
	var want []string
	w.hub.during = func(*hub.Call) {
		for i := range 300 {
			user := fmt.Sprint("u", i%7)
			if i/7%2 == 0 {
				w.come(user)
			} else {
				w.go1(user)
			}
		}
	}
	for i := range 300 {
		want = append(want, fmt.Sprintf("Changed[%q,%v]", fmt.Sprint("u", i%7), i/7%2 == 0))
	}
	a := dial(t, w.url, asUser("ada"))
	a.post("Watch", 10)
	a.want(append([]string{`result: ["ada"]`}, want...)...)
}

// TestNotifyBounded: what waits for an answer is bounded, as is what waits for the client.
func TestNotifyBounded(t *testing.T) {
	slow := make(chan int, 1)
	w := newWatched(t, func(o *hub.Options) {
		o.MaxQueue = 1000
		o.Hooks = func(string, []string) hub.Hooks { return hub.Hooks{SlowClient: func(n int) { slow <- n }} }
	})
	w.hub.during = func(c *hub.Call) {
		for i := 0; ; i++ {
			select {
			case <-c.Connection().Done():
				return
			default:
				w.come(fmt.Sprint("u", i))
			}
		}
	}
	a := dial(t, w.url)
	a.post("Watch", 10)
	<-slow
}

// TestNotifyWhere says where Notify has no place.
func TestNotifyWhere(t *testing.T) {
	w := newWatched(t)
	a := dial(t, w.url)
	a.send(`{"type":4,"invocationId":"s","target":"WatchStreaming","arguments":[]}`)
	if m := a.next(); m.Error == nil || !strings.Contains(*m.Error, "method that streams") {
		t.Errorf("got %v", m)
	}
	alone := hub.NewServer(hub.Options{})
	if err := alone.Map("/chat", &watchHub{}); err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Hub("/chat").Presence().Online(t.Context(), "x"); !errors.Is(err, hub.ErrNoPresence) {
		t.Errorf("Online without presence: %v", err)
	}
}

// TestPresenceOfConnections: who comes, goes, and what is known of them.
func TestPresenceOfConnections(t *testing.T) {
	inside := make(chan []bool, 2)
	w := newWatched(t, func(o *hub.Options) {
		note := func(c *hub.Call) {
			online, err := c.Presence().Online(c, "ada", "")
			if err != nil {
				t.Error(err)
			}
			inside <- online
		}
		o.Filters = []hub.Filter{{
			Connected:    func(c *hub.Call, next func(*hub.Call) error) error { note(c); return next(c) },
			Disconnected: func(c *hub.Call, err error, next func(*hub.Call, error)) { note(c); next(c, err) },
		}}
	})
	a := dial(t, w.url, asUser("ada"))
	if got := <-inside; !slices.Equal(got, []bool{true, false}) {
		t.Errorf("inside OnConnected: %v", got)
	}
	a.wantCall("result: null", "Tag", "busy")
	found, err := w.other.Connections(t.Context(), "ada")
	if err != nil || len(found) != 1 || found[0].ID != a.id || string(found[0].Metadata) != "busy" || found[0].Hub != "Chat" || found[0].Transport != "WebSockets" {
		t.Errorf("%+v, %v", found, err)
	}
	there, err := w.Hub("/chat").Presence().Connections(t.Context(), "ada")
	if err != nil || len(there) != 1 || there[0].ID != a.id || time.Since(there[0].Since).Abs() > time.Minute {
		t.Errorf("%+v, %v", there, err)
	}
	a.ws.CloseNow()
	if got := <-inside; !slices.Equal(got, []bool{false, false}) {
		t.Errorf("inside OnDisconnected: %v", got)
	}
	users, err := w.Hub("/chat").Presence().Users(t.Context(), "", 10)
	if len(users) != 0 || err != nil {
		t.Errorf("users %q, %v", users, err)
	}
}

// brittle is a tracker whose watch breaks.
type brittle struct {
	hub.Tracker
	online  []string
	broken  chan struct{}
	failing atomic.Bool
}

func (b *brittle) Watch(ctx context.Context) ([]string, iter.Seq[[]hub.PresenceChange], error) {
	if b.failing.Load() {
		return nil, nil, fmt.Errorf("%w: no luck", hub.ErrUnavailable)
	}
	return b.online, func(func([]hub.PresenceChange) bool) {
		select {
		case <-ctx.Done():
		case <-b.broken:
		}
	}, nil
}

// TestBrokenWatch: a watch that ends is begun again, and its watchers are told how things differ.
func TestBrokenWatch(t *testing.T) {
	b := &brittle{broken: make(chan struct{}), online: []string{"a", "b"}}
	w := newWatched(t, func(o *hub.Options) {
		b.Tracker = o.Presence
		o.Presence = b
	})
	b.failing.Store(true)
	c := dial(t, w.url)
	c.wantCall("error: An unexpected error occurred invoking 'Watch' on the server.", "Watch", 10)
	b.failing.Store(false)
	c.wantCall(`result: ["a","b"]`, "Watch", 10)
	b.online = []string{"b", "c"}
	b.broken <- struct{}{}
	c.want(`Changed["c",true]`, `Changed["a",false]`)
	c.ws.CloseNow()
	d := dial(t, w.url)
	d.wantCall(`result: ["b","c"]`, "Watch", 10)
}

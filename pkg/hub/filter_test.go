package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// trace notes the order in which filters run.
type trace struct {
	mu   sync.Mutex
	seen []string
}

func (tr *trace) add(format string, a ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.seen = append(tr.seen, fmt.Sprintf(format, a...))
}

func (tr *trace) filter(name string) hub.Filter {
	return hub.Filter{
		Invoke: func(c *hub.Call, args []any, next func(*hub.Call, []any) (any, error)) (any, error) {
			tr.add("%s>%s%v", name, c.Method(), args)
			result, err := next(c, args)
			tr.add("%s<%v,%v", name, result, err)
			return result, err
		},
		Connected: func(c *hub.Call, next func(*hub.Call) error) error { tr.add("%s connected", name); return next(c) },
	}
}

func TestFilters(t *testing.T) {
	tr := &trace{}
	double := hub.Filter{Invoke: func(c *hub.Call, args []any, next func(*hub.Call, []any) (any, error)) (any, error) {
		return next(c, []any{2 * args[0].(int), args[1]})
	}}
	refuse := hub.Filter{Invoke: func(c *hub.Call, args []any, next func(*hub.Call, []any) (any, error)) (any, error) {
		return nil, hub.Errorf("not today")
	}}
	wrong := hub.Filter{Invoke: func(c *hub.Call, args []any, next func(*hub.Call, []any) (any, error)) (any, error) {
		return next(c, []any{1, "y"})
	}}
	s := hub.NewServer(hub.Options{Filters: []hub.Filter{tr.filter("server")}})
	err := s.Map("/chat", &chat{}, hub.HubOptions{
		Filters:       []hub.Filter{tr.filter("hub")},
		MethodFilters: map[string][]hub.Filter{"add": {double, tr.filter("method")}, "Secret": {refuse}, "ToClient": {wrong}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, s)+"/chat")
	c.wantCall("result: 12", "Add", 5, 2)
	want := []string{"server connected", "hub connected", "server>Add[5 2]", "hub>Add[5 2]", "method>Add[10 2]", "method<12,<nil>", "hub<12,<nil>", "server<12,<nil>"}
	if tr.mu.Lock(); !slices.Equal(tr.seen, want) {
		t.Errorf("got %q, want %q", tr.seen, want)
	}
	tr.mu.Unlock()
	c.wantCall("error: An unexpected error occurred invoking 'Secret' on the server. HubException: not today", "Secret")
	c.wantCall("error: An unexpected error occurred invoking 'ToClient' on the server.", "ToClient", "x", "y")
	err = s.Map("/other", &streams{}, hub.HubOptions{MethodFilters: map[string][]hub.Filter{"Typo": nil}})
	if err == nil || !strings.Contains(err.Error(), `"Typo"`) {
		t.Errorf("a filter for no method: %v", err)
	}
}

func TestAuthorization(t *testing.T) {
	s := hub.NewServer(hub.Options{Authenticate: byHeader})
	err := s.Map("/chat", &chat{}, hub.HubOptions{
		Admit:     func(id hub.Identity) bool { return id.UserID != "" && id.UserID != "mallory" },
		Authorize: func(c *hub.Call) bool { return c.Method() != "Secret" || c.UserID() == "root" },
	})
	if err != nil {
		t.Fatal(err)
	}
	base := serve(t, s) + "/chat"
	for user, want := range map[string]string{"": "401", "mallory": "403"} {
		if _, err := tryDial(t, base, asUser(user)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("user %q: %v", user, err)
		}
	}
	c := dial(t, base, asUser("ada"))
	c.wantCall("error: Failed to invoke 'Secret' because user is unauthorized", "Secret")
	c.wantCall("result: 3", "Add", 1, 2)
	root := dial(t, base, asUser("root"))
	root.wantCall("error: An unexpected error occurred invoking 'Secret' on the server.", "Secret")
}

type typedClient struct {
	M    func(text string, n int) error
	Sure func(question string) (bool, error) `hub:"AreYouSure"`
}

func TestTyped(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	c := dial(t, serve(t, s)+"/chat")
	ctx := context.Background()
	clients := s.Hub("/chat").Clients()
	if err := hub.Typed[typedClient](ctx, clients.All()).M("hello", 5); err != nil {
		t.Fatal(err)
	}
	c.want(`M["hello",5]`)
	go func() {
		q := c.next()
		c.send(`{"type":3,"invocationId":"` + q.InvocationID + `","result":` + fmt.Sprint(q.String() == `AreYouSure["really?"]`) + `}`)
	}()
	if sure, err := hub.Typed[typedClient](ctx, clients.Client(c.id)).Sure("really?"); !sure || err != nil {
		t.Errorf("got %v, %v", sure, err)
	}
	if _, err := hub.Typed[typedClient](ctx, clients.All()).Sure("all?"); err == nil {
		t.Error("all clients could be asked")
	}
}

func TestTypedRefuses(t *testing.T) {
	clients := newServer(t, &chat{}, hub.Options{}).Hub("/chat").Clients()
	for name, f := range map[string]func(){
		"not a struct": func() { hub.Typed[int](context.Background(), clients.All()) },
		"not a func":   func() { hub.Typed[struct{ A int }](context.Background(), clients.All()) },
		"no error":     func() { hub.Typed[struct{ A func() }](context.Background(), clients.All()) },
		"a channel":    func() { hub.Typed[struct{ A func(chan int) error }](context.Background(), clients.All()) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// With several slots, invocations of one connection run side by side, and each slot is used again.
func TestParallelCalls(t *testing.T) {
	h := &chat{block: make(chan struct{}), entered: make(chan string, 9)}
	c := dial(t, start(t, h, hub.Options{Limits: hub.Limits{ParallelCalls: 3}}))
	for _, name := range []string{"a", "b", "c", "d"} {
		c.post("Block", name)
	}
	for range 3 {
		<-h.entered
	}
	select {
	case name := <-h.entered:
		t.Fatalf("%s is the fourth at once", name)
	default:
	}
	close(h.block)
	for range 4 {
		c.next()
	}
}

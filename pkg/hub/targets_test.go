package hub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// cluster starts n servers on one in-memory backplane; n = 0 means one server without a backplane.
func cluster(t *testing.T, n int) []string {
	if n == 0 {
		return []string{start(t, &chat{}, hub.Options{})}
	}
	memory := backplane.NewMemory()
	urls := make([]string, n)
	for i := range urls {
		urls[i] = start(t, &chat{}, hub.Options{Backplane: memory.Node(), NodeName: fmt.Sprint("node", i)})
	}
	return urls
}

// Every target, on one server and on several: who gets the message, and how often.
func TestTargets(t *testing.T) {
	for _, nodes := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) { testTargets(t, cluster(t, nodes)) })
	}
}

func testTargets(t *testing.T, urls []string) {
	// a and b are connections of ada, c is of bob, d of nobody; each on the next node.
	users := []string{"ada", "ada", "bob", ""}
	clients := make([]*client, len(users))
	ids := make([]string, len(users))
	for i, u := range users {
		clients[i] = dial(t, urls[i%len(urls)], asUser(u))
		ids[i] = clients[i].id
	}
	a, b, c := clients[0], clients[1], clients[2]
	for _, x := range []*client{a, b} {
		x.wantCall("result: null", "Join", "one")
	}
	for _, x := range []*client{b, c} {
		x.wantCall("result: null", "Join", "two")
	}
	const none = "00000000000000000000000"
	tests := []struct {
		method string
		args   []any
		want   [4]int // how often a, b, c and d get it; a sends
	}{
		{"ToAll", nil, [4]int{1, 1, 1, 1}},
		{"ToAllExcept", []any{[]string{ids[0], ids[2], none}}, [4]int{0, 1, 0, 1}},
		{"ToAllExcept", []any{[]string{}}, [4]int{1, 1, 1, 1}},
		{"ToCaller", nil, [4]int{1, 0, 0, 0}},
		{"ToOthers", nil, [4]int{0, 1, 1, 1}},
		{"ToClient", []any{ids[2]}, [4]int{0, 0, 1, 0}},
		{"ToClient", []any{none}, [4]int{}},
		{"ToClients", []any{[]string{ids[0], ids[1], ids[1], none}}, [4]int{1, 1, 0, 0}},
		{"ToClients", []any{[]string{}}, [4]int{}},
		{"ToGroup", []any{"one"}, [4]int{1, 1, 0, 0}},
		{"ToGroup", []any{"ONE"}, [4]int{}},
		{"ToGroup", []any{"none"}, [4]int{}},
		{"ToGroups", []any{[]string{"one", "two"}}, [4]int{1, 2, 1, 0}},
		{"ToGroups", []any{[]string{"one", "one"}}, [4]int{1, 1, 0, 0}},
		{"ToGroupExcept", []any{"one", []string{ids[1]}}, [4]int{1, 0, 0, 0}},
		{"ToOthersInGroup", []any{"one"}, [4]int{0, 1, 0, 0}},
		{"ToUser", []any{"ada"}, [4]int{1, 1, 0, 0}},
		{"ToUser", []any{"Ada"}, [4]int{}},
		{"ToUser", []any{""}, [4]int{}},
		{"ToUsers", []any{[]string{"ada", "bob", "ada"}}, [4]int{1, 1, 1, 0}},
	}
	for i, test := range tests {
		text := fmt.Sprint("m", i)
		a.wantCall("result: null", test.method, append(test.args, text)...)
		got := received(t, clients)
		for k, n := range test.want {
			for _, m := range got[k] {
				if m != fmt.Sprintf("M[%q]", text) {
					t.Errorf("%s%v: client %d got %s", test.method, test.args, k, m)
				}
			}
			if len(got[k]) != n {
				t.Errorf("%s%v: client %d got it %d times, want %d", test.method, test.args, k, len(got[k]), n)
			}
		}
	}
}

// received returns what each client has got until now. A last message, which takes the same ways, shows when that is: one to all, one
// to each group and user, and one to each connection.
func received(t *testing.T, clients []*client) [][]string {
	t.Helper()
	from := clients[0]
	from.call("ToGroups", []string{"one", "two"}, "end")
	from.call("ToUsers", []string{"ada", "bob"}, "end")
	from.call("ToAll", "end")
	ids := []string{}
	for _, c := range clients {
		ids = append(ids, c.id)
	}
	from.call("ToClients", ids, "end")
	ends := []int{1 + 1 + 1 + 1, 2 + 1 + 1 + 1, 1 + 1 + 1 + 1, 1 + 1}
	got := make([][]string, len(clients))
	for i, c := range clients {
		for seen := 0; seen < ends[i]; {
			m := c.next().String()
			if m == `M["end"]` {
				seen++
				continue
			}
			got[i] = append(got[i], m)
		}
	}
	return got
}

func TestEmptyGroupNames(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{Limits: hub.Limits{DetailedErrors: true}}))
	c.wantCall("error: An unexpected error occurred invoking 'ToGroup' on the server. errorString: hub: cannot send to an empty group name", "ToGroup", "", "x")
	c.wantCall("error: An unexpected error occurred invoking 'Join' on the server. errorString: hub: a group needs a name that is not empty", "Join", "")
}

func TestGroups(t *testing.T) {
	for _, nodes := range []int{0, 2} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			urls := cluster(t, nodes)
			a, b := dial(t, urls[0]), dial(t, urls[len(urls)-1])
			a.wantCall("result: null", "Join", "g")
			a.wantCall("result: null", "Join", "g") // twice is once
			a.wantCall("result: null", "AddTo", b.id, "g")
			b.wantCall("result: null", "ToGroup", "g", "1")
			a.want(`M["1"]`)
			b.want(`M["1"]`)
			a.wantCall("result: null", "RemoveFrom", b.id, "g")
			a.wantCall("result: null", "RemoveFrom", b.id, "g")
			a.wantCall("result: null", "ToGroup", "g", "2")
			a.want(`M["2"]`)
			a.wantCall("result: null", "Leave", "g")
			b.wantCall("result: null", "ToGroup", "g", "3")
			b.wantCall("result: null", "ToAll", "4")
			a.want(`M["4"]`)
			b.want(`M["4"]`)
			a.wantCall("error: An unexpected error occurred invoking 'AddTo' on the server. HubException: no such connection", "AddTo", "nobody", "g")
		})
	}
}

// A connection that goes leaves its groups, on whatever node it was put into them.
func TestGroupsEndWithTheConnection(t *testing.T) {
	gone := make(chan struct{})
	h := &chat{disconnected: func(*hub.Call, error) { close(gone) }}
	s := newServer(t, h, hub.Options{})
	url := serve(t, s) + "/chat"
	c := dial(t, url)
	c.call("Join", "g")
	c.ws.CloseNow()
	<-gone
	if err := s.Hub("/chat").Groups().Add(context.Background(), c.id, "g"); err != nil && !errors.Is(err, hub.ErrNoConnection) {
		t.Errorf("got %v", err)
	}
}

func TestFromOutside(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	c := dial(t, serve(t, s)+"/chat", asUser("ada"))
	ctx := context.Background()
	outside := s.Hub("/chat")
	if s.Hub("/nosuch") != nil {
		t.Error("a hub where none is mapped")
	}
	if err := outside.Groups().Add(ctx, c.id, "g"); err != nil {
		t.Fatal(err)
	}
	for i, target := range []hub.Target{
		outside.Clients().All(), outside.Clients().User("ada"), outside.Clients().Client(c.id), outside.Clients().Group("g"),
	} {
		if err := target.Send(ctx, "M", i); err != nil {
			t.Fatal(err)
		}
		c.want(fmt.Sprintf("M[%d]", i))
	}
	if err := outside.Groups().Add(ctx, "nobody", "g"); !errors.Is(err, hub.ErrNoConnection) {
		t.Errorf("adding nobody to a group: %v", err)
	}
	if err := outside.Clients().All().Send(ctx, "M", func() {}); err == nil {
		t.Error("a func could be sent")
	}
	if got := outside.Connections(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

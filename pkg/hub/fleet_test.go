package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// fleet is several servers on one backplane, each with its hub at /chat.
type fleet struct {
	memory  *backplane.Memory
	servers []*hub.Server
	urls    []string
}

// newFleet starts n servers; n = 0 means one without a backplane.
func newFleet(t *testing.T, n int, o hub.Options) fleet {
	f := fleet{memory: backplane.NewMemory()}
	for i := range max(n, 1) {
		o := o
		o.NodeName = fmt.Sprint("node", i)
		if n > 0 {
			o.Backplane = f.memory.Node()
		}
		s := newServer(t, &chat{}, o)
		f.servers = append(f.servers, s)
		f.urls = append(f.urls, serve(t, s)+"/chat")
	}
	return f
}

func (f fleet) hub(i int) *hub.Context { return f.servers[i%len(f.servers)].Hub("/chat") }

func (f fleet) dial(t *testing.T, i int, user string) *client {
	return dial(t, f.urls[i%len(f.urls)], asUser(user))
}

// TestGroupQueries asks from every node about members on all of them.
func TestGroupQueries(t *testing.T) {
	for _, nodes := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			f := newFleet(t, nodes, hub.Options{})
			var want []string
			members := map[string]*client{}
			for i := range 10 {
				c := f.dial(t, i, []string{"ada", "", "bob"}[i%3])
				if i%2 == 0 {
					c.wantCall("result: null", "Join", "g")
					want = append(want, c.id)
				}
				members[c.id] = c
			}
			slices.Sort(want)
			for i := range f.servers {
				groups := f.hub(i).Groups()
				n, answered, err := groups.Count(t.Context(), "g")
				if n != len(want) || !answered.Complete() || answered.Nodes != len(f.servers) || err != nil {
					t.Errorf("Count: %d, %+v, %v", n, answered, err)
				}
				for _, limit := range []int{0, 1, 2, 3, 5, 100} {
					wantMembers(t, groups, limit, want)
				}
				for id := range members {
					in, err := groups.Has(t.Context(), id, "g")
					if in != slices.Contains(want, id) || err != nil {
						t.Errorf("Has: %v, %v", in, err)
					}
				}
				if n, answered, err := groups.Count(t.Context(), "none"); n != 0 || !answered.Complete() || err != nil {
					t.Errorf("Count of nobody: %d, %+v, %v", n, answered, err)
				}
				if _, err := groups.Has(t.Context(), "nobody", "g"); !errors.Is(err, hub.ErrNoConnection) {
					t.Errorf("Has of nobody: %v", err)
				}
			}
		})
	}
}

// wantMembers pages through the members of g.
func wantMembers(t *testing.T, groups hub.Groups, limit int, want []string) {
	t.Helper()
	var got []string
	for after := ""; ; {
		page, err := groups.Members(t.Context(), "g", after, limit)
		if err != nil || !page.Complete() || limit > 0 && len(page.List) > limit {
			t.Fatalf("Members: %+v, %v", page, err)
		}
		for _, m := range page.List {
			got = append(got, m.ConnectionID)
			if m.Hub != "Chat" || m.Transport != "WebSockets" || m.NodeID == "" || time.Since(m.Since).Abs() > time.Minute {
				t.Errorf("member %+v", m)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("in pages of %d: %q, want %q", limit, got, want)
	}
}

// TestFind finds a connection from every node.
func TestFind(t *testing.T) {
	f := newFleet(t, 3, hub.Options{})
	for i := range f.servers {
		c := f.dial(t, i, "ada")
		for j := range f.servers {
			m, err := f.hub(j).Clients().Find(t.Context(), c.id)
			if m.ConnectionID != c.id || m.UserID != "ada" || m.Node != fmt.Sprint("node", i) || err != nil {
				t.Errorf("%+v, %v", m, err)
			}
		}
	}
}

// TestControl changes connections from a node that does not have them.
func TestControl(t *testing.T) {
	for _, nodes := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			f := newFleet(t, nodes, hub.Options{})
			h := f.hub(2)
			a, b, bob := f.dial(t, 0, "ada"), f.dial(t, 1, "ada"), f.dial(t, 2, "bob")
			check := func(what string, want int, o hub.Changed, err error) {
				t.Helper()
				if o.Connections != want || !o.Complete() || err != nil {
					t.Errorf("%s: %+v, %v; want %d connections", what, o, err, want)
				}
			}
			send := func(text string) {
				t.Helper()
				if err := h.Clients().Group("g").Send(t.Context(), "M", text); err != nil {
					t.Fatal(err)
				}
				if err := h.Clients().All().Send(t.Context(), "M", "end"); err != nil {
					t.Fatal(err)
				}
			}
			o, err := h.Groups().AddUser(t.Context(), "ada", "g")
			check("AddUser", 2, o, err)
			send("1")
			a.want(`M["1"]`, `M["end"]`)
			b.want(`M["1"]`, `M["end"]`)
			bob.want(`M["end"]`)
			o, err = h.Groups().RemoveFromAll(t.Context(), a.id)
			check("RemoveFromAll", 1, o, err)
			if _, err = h.Groups().RemoveFromAll(t.Context(), "nobody"); !errors.Is(err, hub.ErrNoConnection) {
				t.Errorf("RemoveFromAll of nobody: %v", err)
			}
			send("2")
			a.want(`M["end"]`)
			b.want(`M["2"]`, `M["end"]`)
			bob.want(`M["end"]`)
			o, err = h.Groups().RemoveUser(t.Context(), "ada", "g")
			check("RemoveUser", 2, o, err)
			send("3")
			for _, c := range []*client{a, b, bob} {
				c.want(`M["end"]`)
			}
			o, err = h.Groups().AddUser(t.Context(), "nobody", "g")
			check("AddUser of nobody", 0, o, err)

			c, d := f.dial(t, 0, ""), f.dial(t, 1, "")
			c.wantCall("result: null", "Join", "cd")
			d.wantCall("result: null", "Join", "cd")
			o, err = h.Clients().User("ada").Disconnect(t.Context())
			check("Disconnect of a user", 2, o, err)
			o, err = h.Clients().GroupExcept("cd", c.id).Disconnect(t.Context())
			check("Disconnect of a group", 1, o, err)
			o, err = h.Clients().Client(bob.id).Disconnect(t.Context())
			check("Disconnect of a connection", 1, o, err)
			for _, gone := range []*client{a, b, d, bob} {
				gone.want("close (reconnect false)")
			}
			c.wantCall("result: 3", "Add", 1, 2)
			o, err = h.Clients().All().Disconnect(t.Context())
			check("Disconnect of all", 1, o, err)
			c.want("close (reconnect false)")
			o, err = h.Clients().Client("nobody").Disconnect(t.Context())
			check("Disconnect of nobody", 0, o, err)
		})
	}
}

// TestIncomplete: a node that does not answer is named, what the others say is there, and a change is not reported as done.
func TestIncomplete(t *testing.T) {
	live := []string{}
	f := newFleet(t, 2, hub.Options{Nodes: func(context.Context) ([]string, error) { return live, nil }})
	c := f.dial(t, 1, "ada")
	c.wantCall("result: null", "Join", "g")
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	h := f.hub(0)
	want := func(missing ...string) {
		t.Helper()
		if n, answered, err := h.Groups().Count(short(), "g"); n != 1 || !slices.Equal(answered.Missing, missing) || answered.Nodes != 2 || err != nil {
			t.Errorf("Count: %d, %+v, %v", n, answered, err)
		}
		page, err := h.Groups().Members(short(), "g", "", 0)
		if len(page.List) != 1 || page.Complete() || err != nil {
			t.Errorf("Members: %+v, %v", page, err)
		}
		o, err := h.Groups().AddUser(short(), "ada", "h")
		if !errors.Is(err, hub.ErrIncomplete) || o.Connections != 1 || o.Complete() || !strings.Contains(err.Error(), missing[0]) {
			t.Errorf("AddUser: %+v, %v", o, err)
		}
		if _, err := h.Clients().Find(short(), "nobody"); !errors.Is(err, hub.ErrIncomplete) || errors.Is(err, hub.ErrNoConnection) {
			t.Errorf("Find of nobody: %v", err)
		}
		if m, err := h.Clients().Find(short(), c.id); m.Node != "node1" || err != nil {
			t.Errorf("Find: %+v, %v", m, err)
		}
	}
	live = []string{"a node that hangs"}
	want("a node that hangs")

	// It is not among the live, but it has got the question.
	live = nil
	deaf := f.memory.Node()
	t.Cleanup(deaf.Close)
	if err := deaf.Subscribe(t.Context(), "hubfleet:ask"); err != nil {
		t.Fatal(err)
	}
	want("unknown")
	if _, _, err := h.Groups().Count(t.Context(), ""); err == nil {
		t.Error("Count of a group without a name succeeds")
	}
}

// TestUnconfirmedGroupChange: a change that the connection's node does not confirm may be made yet, and the connection is there.
func TestUnconfirmedGroupChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := backplane.NewMemory()
		s := hub.NewServer(hub.Options{Backplane: memory.Node()})
		if err := s.Map("/chat", &chat{}); err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown(context.Background())
		mute := memory.Node()
		defer mute.Close()
		if err := mute.Subscribe(t.Context(), s.Hub("/chat").Name()+":connection:there"); err != nil {
			t.Fatal(err)
		}
		groups := s.Hub("/chat").Groups()
		for name, change := range map[string]func(ctx context.Context, id, group string) error{"Add": groups.Add, "Remove": groups.Remove} {
			began := time.Now()
			err := change(context.Background(), "there", "g")
			if !errors.Is(err, hub.ErrIncomplete) || !errors.Is(err, hub.ErrMaybeSent) || errors.Is(err, hub.ErrNoConnection) || time.Since(began) != 30*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err = change(ctx, "there", "g")
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, hub.ErrMaybeSent) || errors.Is(err, hub.ErrNoConnection) || errors.Is(err, hub.ErrIncomplete) {
				t.Errorf("%s within a second: %v", name, err)
			}
			if err := change(context.Background(), "nobody", "g"); !errors.Is(err, hub.ErrNoConnection) {
				t.Errorf("%s of nobody: %v", name, err)
			}
		}
	})
}

// TestStrangeRequests: what is no request, or one of a later version, is answered so, or dropped.
func TestStrangeRequests(t *testing.T) {
	f := newFleet(t, 1, hub.Options{})
	other := f.memory.Node()
	t.Cleanup(other.Close)
	replies := make(chan string, 10)
	other.Attach(func(_ string, payload []byte) { replies <- string(payload) }, func() {})
	if err := other.Subscribe(t.Context(), "hubfleet:reply:x"); err != nil {
		t.Fatal(err)
	}
	ask := func(payload string) {
		t.Helper()
		if _, err := other.Publish(t.Context(), []byte(payload), "hubfleet:ask"); err != nil {
			t.Fatal(err)
		}
	}
	ask("")
	ask("nonsense")
	// Action 99 of the hub Chat, then choice 99, as version 2 might have them.
	ask("\x9b\x01\xa1x\xcd\x10\x00\xa4Chat\x63\x01\x90\x90\xa0\xa0\x00")
	ask("\x9b\x02\xa1x\xcd\x10\x00\xa4Chat\x01\x63\x90\x90\xa0\xa0\x00")
	for range 2 {
		select {
		case got := <-replies:
			if !strings.Contains(got, "different versions") {
				t.Errorf("answered %q", got)
			}
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
}

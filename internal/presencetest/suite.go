// Package presencetest is the contract that every presence tracker fulfils, as a test suite.
package presencetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubfleet/hubfleet/pkg/presence"
)

// Node is one node's tracker.
type Node struct {
	presence.Tracker
	// ID is the node's.
	ID string
	// Kill ends the node without a farewell.
	Kill func()
}

// Join makes a node of one cluster, ready to use. It is taken down with the test.
type Join func(t testing.TB) Node

// Grace periods of the clusters that the suite asks for.
const (
	none    = -1 * time.Second
	short   = 50 * time.Millisecond
	endless = time.Hour
)

// Run runs the suite. cluster makes a new and empty cluster, whose nodes have this grace period; negative means none.
func Run(t *testing.T, cluster func(t testing.TB, grace time.Duration) Join) {
	for _, c := range []struct {
		name  string
		grace time.Duration
		test  func(*testing.T, Join)
	}{
		{"first and last connection", short, firstAndLast},
		{"no grace", none, firstAndLast},
		{"back within the grace period", endless, backInTime},
		{"users of several nodes", short, severalNodes},
		{"what is known of connections", endless, connections},
		{"metadata", none, metadata},
		{"anonymous connections", none, anonymous},
		{"names are literal", none, literalNames},
		{"pages of users", endless, pages},
		{"adding again", short, addAgain},
		{"watchers agree with questions", none, churn},
		{"a watcher that does not read", none, slowWatcher},
		{"watching ends", none, watchEnds},
		{"a node is killed", none, killed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, cluster(t, c.grace))
		})
	}
}

func ask(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func online(t testing.TB, tracker presence.Tracker, users ...string) []bool {
	t.Helper()
	got, err := tracker.Online(ask(t), users...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func isOnline(t testing.TB, tracker presence.Tracker, user string) bool {
	t.Helper()
	return online(t, tracker, user)[0]
}

func of(user, id string) presence.Connection {
	return presence.Connection{ID: id, User: user, Hub: "ChatHub", Transport: "WebSockets"}
}

func firstAndLast(t *testing.T, join Join) {
	n := join(t)
	w := NewRecorder(t, n)
	n.Add(of("ann", "1"))
	w.Want("ann", "+")
	n.Add(of("ann", "2"))
	n.Remove("1")
	n.Remove("nobody's")
	n.Add(of("bob", "3"))
	w.Want("bob", "+")
	if diff := cmp.Diff([]bool{true, false, true, true}, online(t, n, "bob", "eve", "ann", "bob")); diff != "" {
		t.Error(diff)
	}
	if got := online(t, n); len(got) != 0 {
		t.Errorf("nobody asked for, and the answer is %v", got)
	}
	n.Remove("2")
	w.Want("ann", "+-")
	if isOnline(t, n, "ann") {
		t.Error("offline according to the watcher, and online when asked")
	}
	n.Add(of("ann", "4"))
	w.Want("ann", "+-+")
	if diff := cmp.Diff([]string{"ann", "bob"}, w.Online()); diff != "" {
		t.Error(diff)
	}
}

func backInTime(t *testing.T, join Join) {
	a, b := join(t), join(t)
	w := NewRecorder(t, b)
	a.Add(of("ann", "1"))
	w.Want("ann", "+")
	a.Remove("1")
	Eventually(t, "the connection has left", func() bool {
		list, err := b.Connections(ask(t), "ann")
		return len(list) == 0 && err == nil
	})
	if !isOnline(t, b, "ann") {
		t.Error("offline within the grace period")
	}
	b.Add(of("ann", "2"))
	b.Add(of("bob", "3"))
	w.Want("bob", "+")
	if got := w.Of("ann"); got != "+" {
		t.Errorf("changes of ann: %q", got)
	}
}

func severalNodes(t *testing.T, join Join) {
	a, b := join(t), join(t)
	for _, n := range []Node{a, b} {
		n.Add(of("ann", "on "+n.ID))
		Eventually(t, "counted", func() bool {
			list, err := b.Connections(ask(t), "ann")
			return err == nil && slices.ContainsFunc(list, func(c presence.Connection) bool { return c.Node == n.ID })
		})
	}
	w := NewRecorder(t, a)
	if diff := cmp.Diff([]string{"ann"}, w.Online()); diff != "" {
		t.Error(diff)
	}
	a.Remove("on " + b.ID) // not its own
	a.Remove("on " + a.ID)
	Eventually(t, "one is left", func() bool {
		list, err := a.Connections(ask(t), "ann")
		return err == nil && len(list) == 1 && list[0].Node == b.ID
	})
	b.Remove("on " + b.ID)
	w.Want("ann", "-")
}

func connections(t *testing.T, join Join) {
	a, b := join(t), join(t)
	since := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	want := []presence.Connection{
		{ID: "1", User: "ann", Hub: "ChatHub", Transport: "LongPolling", Since: since, Metadata: []byte("\x00\xffanything")},
		{ID: "2", User: "ann", Hub: "Other", Transport: "WebSockets", Since: since.Add(time.Second)},
	}
	b.Add(want[1])
	a.Add(want[0])
	want[0].Node, want[1].Node = a.ID, b.ID
	Eventually(t, "both are known", func() bool {
		list, err := a.Connections(ask(t), "ann")
		return len(list) == 2 && err == nil
	})
	for _, n := range []Node{a, b} {
		list, err := n.Connections(ask(t), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, list, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		for _, c := range want {
			got, err := n.Connection(ask(t), c.ID)
			if diff := cmp.Diff(c, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Error(err, diff)
			}
		}
		if _, err := n.Connection(ask(t), "3"); !errors.Is(err, presence.ErrNoConnection) {
			t.Errorf("a connection that never was: %v", err)
		}
		if list, err := n.Connections(ask(t), "bob"); len(list) != 0 || err != nil {
			t.Errorf("connections of nobody: %v, %v", list, err)
		}
	}
	before := time.Now().Truncate(time.Millisecond)
	a.Add(presence.Connection{ID: "3", User: "bob"})
	Eventually(t, "known", func() bool { return isOnline(t, b, "bob") })
	list, err := b.Connections(ask(t), "bob")
	if err != nil || len(list) != 1 || list[0].Since.Before(before) || list[0].Since.After(time.Now()) {
		t.Errorf("added just now: %v, %v", list, err)
	}
}

func metadata(t *testing.T, join Join) {
	a, b := join(t), join(t)
	w := NewRecorder(t, b)
	a.Add(of("ann", "1"))
	of := func() string {
		list, err := b.Connections(ask(t), "ann")
		if err != nil || len(list) != 1 {
			return fmt.Sprint(list, err)
		}
		return string(list[0].Metadata)
	}
	buf := []byte("away")
	if err := a.SetMetadata("1", buf); err != nil {
		t.Fatal(err)
	}
	copy(buf, "gone") // it is the caller's again
	Eventually(t, "seen", func() bool { return of() == "away" })
	largest := strings.Repeat("x", presence.MaxMetadata)
	if err := a.SetMetadata("1", []byte(largest)); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "seen", func() bool { return of() == largest })
	if err := a.SetMetadata("1", []byte(largest+"x")); !errors.Is(err, presence.ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
	if err := b.SetMetadata("1", nil); !errors.Is(err, presence.ErrNoConnection) {
		t.Errorf("of another node's connection: %v", err)
	}
	if err := a.SetMetadata("1", nil); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "gone", func() bool { return of() == "" })
	a.Remove("1")
	w.Want("ann", "+-") // and nothing in between
	if err := a.SetMetadata("1", nil); !errors.Is(err, presence.ErrNoConnection) {
		t.Errorf("of one that has left: %v", err)
	}
}

func anonymous(t *testing.T, join Join) {
	a, b := join(t), join(t)
	w := NewRecorder(t, b)
	a.Add(of("", "1"))
	Eventually(t, "recorded", func() bool {
		c, err := b.Connection(ask(t), "1")
		return err == nil && c.Node == a.ID && c.User == "" && c.Transport == "WebSockets"
	})
	a.Remove("1")
	Eventually(t, "gone", func() bool {
		_, err := b.Connection(ask(t), "1")
		return errors.Is(err, presence.ErrNoConnection)
	})
	a.Add(of("ann", "2"))
	w.Want("ann", "+")
	if diff := cmp.Diff([]string{"ann"}, w.Online()); diff != "" {
		t.Error(diff)
	}
	if isOnline(t, b, "") {
		t.Error("nobody is online")
	}
	if list, err := b.Connections(ask(t), ""); len(list) != 0 || err != nil {
		t.Errorf("nobody's connections: %v, %v", list, err)
	}
}

func literalNames(t *testing.T, join Join) {
	n := join(t)
	w := NewRecorder(t, n)
	users := []string{" ", "*", "[a]", "a", "a b", "a\nb", "a\x00b", "a{b}", "a:b", "A", "zeichen ä 漢", "{0}", "\xff", strings.Repeat("long", 500)}
	slices.Sort(users)
	for _, user := range users {
		n.Add(of(user, "id of "+user))
	}
	for _, user := range users {
		w.Want(user, "+")
		list, err := n.Connections(ask(t), user)
		if err != nil || len(list) != 1 || list[0].ID != "id of "+user || list[0].User != user {
			t.Errorf("connections of %q: %v, %v", user, list, err)
		}
		if c, err := n.Connection(ask(t), "id of "+user); err != nil || c.User != user {
			t.Errorf("connection of %q: %v, %v", user, c, err)
		}
	}
	list, err := n.Users(ask(t), "", 100)
	if diff := cmp.Diff(users, list); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, user := range []string{"b", "a\n", "{1}", "?"} {
		if isOnline(t, n, user) {
			t.Errorf("%q is online", user)
		}
	}
	for _, user := range users {
		n.Remove("id of " + user)
		w.Want(user, "+-")
	}
}

func pages(t *testing.T, join Join) {
	a, b := join(t), join(t)
	var want []string
	for i := range 250 {
		user := fmt.Sprintf("user-%03d", i)
		want = append(want, user)
		n := []Node{a, b}[i%2]
		n.Add(of(user, "of "+user))
	}
	Eventually(t, "all are there", func() bool {
		list, err := b.Users(ask(t), "", 1000)
		return len(list) == len(want) && err == nil
	})
	for _, limit := range []int{1, 7, 100, 250, 1000} {
		if limit == 1 && testing.Short() {
			continue
		}
		var got []string
		for after := ""; ; {
			page, err := a.Users(ask(t), after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d users, %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			after = page[len(page)-1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d: %s", limit, diff)
		}
	}
	if page, err := a.Users(ask(t), "user-100x", 2); err != nil || !slices.Equal(page, []string{"user-101", "user-102"}) {
		t.Errorf("behind a user who is not there: %v, %v", page, err)
	}
	if page, err := a.Users(ask(t), "", 0); err != nil || len(page) != 0 {
		t.Errorf("none were asked for: %v, %v", page, err)
	}
}

func addAgain(t *testing.T, join Join) {
	n := join(t)
	w := NewRecorder(t, n)
	n.Add(of("ann", "1"))
	again := of("ann", "1")
	again.Transport = "LongPolling"
	n.Add(again)
	Eventually(t, "replaced", func() bool {
		list, err := n.Connections(ask(t), "ann")
		return err == nil && len(list) == 1 && list[0].Transport == "LongPolling"
	})
	n.Remove("1")
	w.Want("ann", "+-")
}

// churn lets users come and go on two nodes at once, under the eyes of watchers that began at different times.
func churn(t *testing.T, join Join) {
	nodes := []Node{join(t), join(t)}
	watchers := []*Recorder{NewRecorder(t, nodes[0])}
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(i), 1))
			n := nodes[i%2]
			var open []string
			for j := range 400 {
				if len(open) > 0 && (len(open) > 5 || chance.IntN(2) == 0) {
					k := chance.IntN(len(open))
					n.Remove(open[k])
					open = slices.Delete(open, k, k+1)
					continue
				}
				id := fmt.Sprintf("%d-%d", i, j)
				n.Add(of(fmt.Sprintf("user-%d", chance.IntN(10)), id))
				open = append(open, id)
			}
			for k, id := range open {
				if k%2 == 0 {
					n.Remove(id)
				}
			}
		})
		watchers = append(watchers, NewRecorder(t, nodes[i%2]))
	}
	working.Wait()
	nodes[0].Add(of("end", "end"))
	for _, w := range watchers {
		w.Want("end", "+")
	}
	Eventually(t, "all say the same", func() bool {
		list, err := nodes[1].Users(ask(t), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range watchers {
			if !slices.Equal(list, w.Online()) {
				return false
			}
		}
		for _, user := range list {
			if c, err := nodes[0].Connections(ask(t), user); err != nil || len(c) == 0 {
				return false
			}
		}
		return true
	})
	for _, w := range watchers {
		for _, u := range w.Resyncs() {
			t.Errorf("a watcher was resynced: %v", u)
		}
	}
}

func slowWatcher(t *testing.T, join Join) {
	n := join(t)
	n.Add(of("stays", "s"))
	n.Add(of("leaves", "l"))
	quick := NewRecorder(t, n)
	Eventually(t, "both are there", func() bool { return slices.Equal(quick.Online(), []string{"leaves", "stays"}) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	snapshot, updates, err := n.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(snapshot)
	if diff := cmp.Diff([]string{"leaves", "stays"}, snapshot); diff != "" {
		t.Fatal(diff)
	}
	n.Remove("l")
	n.Add(of("comes", "c"))
	for i := range 7 {
		for j := range 100 { // two changes each
			id := fmt.Sprint(i, j)
			n.Add(of("busy", id))
			n.Remove(id)
		}
		quick.Want("busy", strings.Repeat("+-", (i+1)*100)) // this one does keep up
	}
	quick.Want("leaves", "-")
	n.Add(of("end", "e"))
	quick.Want("end", "+")

	want := presence.Update{Resync: true, Changes: []presence.Change{{User: "comes", Online: true}, {User: "end", Online: true}, {User: "leaves"}}}
	for u := range updates {
		if diff := cmp.Diff(want, u); diff != "" {
			t.Error(diff)
		}
		break
	}
	n.Add(of("later", "x"))
	for u := range updates {
		if diff := cmp.Diff(presence.Update{Changes: []presence.Change{{User: "later", Online: true}}}, u); diff != "" {
			t.Error(diff)
		}
		break
	}
}

func watchEnds(t *testing.T, join Join) {
	n := join(t)
	w := NewRecorder(t, n)
	n.Add(of("ann", "1"))
	w.Want("ann", "+")
	w.Stop()
	n.Remove("1")
	other := NewRecorder(t, n)
	n.Add(of("bob", "2"))
	other.Want("bob", "+")
	if got := w.Of("bob"); got != "" {
		t.Errorf("a watcher that has ended was told %q", got)
	}
}

func killed(t *testing.T, join Join) {
	a, b := join(t), join(t)
	w := NewRecorder(t, a)
	for i := range 50 {
		b.Add(of(fmt.Sprint("user-", i), fmt.Sprint("b", i)))
	}
	a.Add(of("user-7", "a7"))
	b.Add(of("", "anonymous"))
	Eventually(t, "all are there", func() bool {
		list, err := a.Connections(ask(t), "user-7")
		return err == nil && len(list) == 2 && len(w.Online()) == 50
	})
	b.Kill()
	Eventually(t, "those of the node have gone", func() bool { return slices.Equal(w.Online(), []string{"user-7"}) })
	Eventually(t, "their connections, too", func() bool {
		list, err := a.Connections(ask(t), "user-7")
		return err == nil && len(list) == 1 && list[0].ID == "a7"
	})
	Eventually(t, "and the anonymous one", func() bool {
		_, err := a.Connection(ask(t), "anonymous")
		return errors.Is(err, presence.ErrNoConnection)
	})
	if got := w.Of("user-7"); got != "+" {
		t.Errorf("changes of a user who was also elsewhere: %q", got)
	}
	if got := w.Resyncs(); len(got) > 0 {
		t.Errorf("resyncs: %v", got)
	}
}

package presence_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/internal/presencetest"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

func TestMemoryContract(t *testing.T) {
	presencetest.Run(t, func(_ testing.TB, grace time.Duration) presencetest.Join {
		m, nodes := presence.NewMemory(presence.MemoryOptions{Grace: grace}), 0
		return func(t testing.TB) presencetest.Node {
			nodes++
			id := fmt.Sprint("node-", nodes)
			n := m.Node(id)
			t.Cleanup(n.Close)
			return presencetest.Node{Tracker: n, ID: id, Kill: n.Close}
		}
	})
}

// TestMemoryGrace: a user goes offline when the grace period is over, counted from the last time that it left.
func TestMemoryGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var online, offline int
		m := presence.NewMemory(presence.MemoryOptions{Hooks: presence.Hooks{Transition: func(on bool) {
			if on {
				online++
			} else {
				offline++
			}
		}}})
		n := m.Node("n")
		is := func(want bool) {
			t.Helper()
			if got, _ := n.Online(t.Context(), "ann"); got[0] != want {
				t.Errorf("online: %v", got[0])
			}
		}
		n.Add(presence.Connection{ID: "1", User: "ann"})
		n.Remove("1")
		time.Sleep(presence.DefaultGrace - time.Nanosecond)
		is(true)
		n.Add(presence.Connection{ID: "2", User: "ann"})
		n.Remove("2")
		time.Sleep(presence.DefaultGrace - time.Nanosecond)
		is(true)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		is(false)
		if online != 1 || offline != 1 {
			t.Errorf("%d transitions to online and %d to offline", online, offline)
		}
		n.Add(presence.Connection{ID: "3", User: "ann"})
		is(true)
		n.Close()
		time.Sleep(presence.DefaultGrace)
		synctest.Wait()
		is(false)
	})
}

// TestWatchersEndWithTheNode: whoever watches a node that closes is told the rest, and no more.
func TestWatchersEndWithTheNode(t *testing.T) {
	m := presence.NewMemory(presence.MemoryOptions{Grace: -1})
	a, b := m.Node("a"), m.Node("b")
	_, updates, err := a.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Add(presence.Connection{ID: "1", User: "ann"})
	a.Close()
	b.Add(presence.Connection{ID: "2", User: "bob"})
	var got []presence.Update
	for u := range updates {
		got = append(got, u)
	}
	if len(got) != 1 || len(got[0].Changes) != 1 || got[0].Changes[0].User != "ann" {
		t.Errorf("%v", got)
	}
}

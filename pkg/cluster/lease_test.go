package cluster_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// incarnation waits until the node holds a lease.
func incarnation(t *testing.T, c *cluster.Redis) (incarnation string) {
	t.Helper()
	eventually(t, "holding a lease", func() (ok bool) {
		incarnation, _, ok = c.Lease()
		return ok
	})
	return incarnation
}

func live(t *testing.T, c *cluster.Redis, incarnations ...string) []bool {
	t.Helper()
	got, err := c.Live(t.Context(), incarnations...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLease(t *testing.T) {
	server := redistest.Start(t)
	var lost atomic.Int32
	var log lockedBuffer
	c := running(t, cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: "n#1", Logger: slog.New(slog.NewTextHandler(&log, nil)), Hooks: cluster.Hooks{
		LeaseLost: func(held time.Duration) {
			if held <= 0 || held > time.Minute {
				t.Errorf("held for %v", held)
			}
			lost.Add(1)
		},
	}})
	first := incarnation(t, c)
	if first != "n#1#1" {
		t.Errorf("the first incarnation is %q", first)
	}
	if diff := cmp.Diff([]bool{true, false, false, false, false}, live(t, c, first, "n#1#2", "n#1", "n#1#x", "other#1")); diff != "" {
		t.Error(diff)
	}
	ttl := func() int64 { return server.Do(t, "PTTL", "x:node:n#1").(int64) }
	server.Do(t, "PEXPIRE", "x:node:n#1", 1000)
	eventually(t, "renewed", func() bool { return ttl() > 3000 })
	if got := incarnation(t, c); got != first {
		t.Errorf("renewing changed the incarnation to %q", got)
	}

	changed := c.LeaseChanged()
	server.Do(t, "DEL", "x:node:n#1")
	<-changed
	second := incarnation(t, c)
	if second != "n#1#2" || lost.Load() != 1 {
		t.Errorf("after a loss: %q, and %d losses told", second, lost.Load())
	}
	if diff := cmp.Diff([]bool{false, true}, live(t, c, first, second)); diff != "" {
		t.Error(diff)
	}

	changed = c.LeaseChanged()
	c.Renounce(first) // it is not the one held
	c.Renounce(second)
	<-changed
	eventually(t, "the third", func() bool { got, _, ok := c.Lease(); return ok && got == "n#1#3" })
	if lost.Load() != 2 {
		t.Errorf("%d losses told", lost.Load())
	}
	wantLosses(t, &log, `"Redis has forgotten it" incarnation=n#1#1`, `"it was given up" incarnation=n#1#2`)
}

// wantLosses expects that the log tells of these lost leases, each once, and of no others.
func wantLosses(t *testing.T, log *lockedBuffer, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(log.String()) {
		if _, loss, ok := strings.Cut(line, "has lost its lease"); ok {
			got = append(got, loss)
		}
	}
	if len(got) != len(want) {
		t.Errorf("losses in the log: %q, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], "cause="+want[i]+" held=") {
			t.Errorf("in the log: %q, want %q", got[i], want[i])
		}
	}
}

// TestLeaseRunsOut: a node that cannot reach Redis knows when others may count it as gone, and is itself again afterwards.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var log lockedBuffer
	c := running(t, cluster.RedisOptions{URL: server.URL(), NodeID: "n", Lease: 400 * time.Millisecond, Timeout: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	first := incarnation(t, c)
	server.Pause()
	eventually(t, "lost", func() bool { _, _, ok := c.Lease(); return !ok })
	server.Resume()
	if second := incarnation(t, c); second == first {
		t.Error("a lease that was lost came back")
	}
	wantLosses(t, &log, `"it was not renewed in time" incarnation=n#1`)
	server.Restart() // empty
	eventually(t, "up", func() bool { return c.State().Up })
	before := time.Now()
	if _, since, ok := c.Lease(); !ok || before.Sub(since) > 5*time.Second {
		t.Errorf("held since %v: %v", since, ok)
	}
}

// TestLeaseLateCommands: commands that were under way while the node went on change nothing.
func TestLeaseLateCommands(t *testing.T) {
	server := redistest.Start(t)
	script := cluster.LeaseScript
	ask := func(held, next int) any {
		return server.Do(t, "EVAL", script, 1, "node:n", held, next,
			`{"lease":`+string(rune('0'+held))+`}`, `{"lease":`+string(rune('0'+next))+`}`, 60_000)
	}
	for i, step := range []struct{ held, next, want int }{
		{0, 1, 1}, // taken
		{0, 1, 1}, // the reply was lost, it is asked again
		{1, 2, 1}, // renewed
		{0, 2, 2}, // given up and taken anew
		{1, 2, 2}, // late: what was to renew the first
		{2, 3, 2}, // renewed
		{0, 4, 4}, // and another
		{2, 3, 0}, // late
		{0, 1, 0}, // late
		{4, 5, 4}, // renewed
	} {
		if got := ask(step.held, step.next); got != int64(step.want) {
			t.Errorf("step %d: %v, want %d", i, got, step.want)
		}
	}
	server.Do(t, "SET", "node:n", "nonsense")
	if got := ask(4, 5); got != int64(5) {
		t.Errorf("what is no entry counts as %v", got)
	}
}

// TestLeaseLostReply: a lease whose taking was not answered is used, or another, but none twice.
func TestLeaseLostReply(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	lost := proxy.CutAfter("node:n")
	c := start(t, cluster.RedisOptions{URL: proxy.URL(), NodeID: "n"})
	<-lost
	got := incarnation(t, c)
	if !live(t, c, got)[0] {
		t.Errorf("%q is not live", got)
	}
}

func TestNodes(t *testing.T) {
	server := redistest.Start(t)
	started := time.Unix(1000, 0).UTC()
	node := func(id string, connections int) (*cluster.Redis, func()) {
		c, err := cluster.NewRedis(cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: id, Interval: 20 * time.Millisecond,
			Connections: func() int { return connections }})
		if err != nil {
			t.Fatal(err)
		}
		c.Announce(cluster.NodeInfo{Address: "http://" + id, Version: "v1", Started: started, Connections: -1})
		return c, runUntilStopped(t, c)
	}
	a, stopA := node("a", 3)
	b, stopB := node("b", 7)
	incarnation(t, a)
	incarnation(t, b)
	want := []cluster.NodeInfo{
		{ID: "a", Address: "http://a", Version: "v1", Started: started, Connections: 3},
		{ID: "b", Address: "http://b", Version: "v1", Started: started, Connections: 7},
	}
	got, err := a.Nodes(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	// A node that ended without a farewell.
	server.Do(t, "ZADD", "x:nodes", time.Now().Add(-time.Second).UnixMilli(), "c")
	eventually(t, "taken out of the list", func() bool { return server.Do(t, "ZCARD", "x:nodes") == int64(2) })
	stopB()
	got, err = a.Nodes(t.Context())
	if diff := cmp.Diff(want[:1], got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	stopA()
	server.Do(t, "DEL", "x:secret:mark") // which ends by itself
	if keys := server.Do(t, "KEYS", "*").([]any); !slices.Equal(keys, []any{"x:secret"}) {
		t.Errorf("left behind: %v", keys)
	}
	if _, _, ok := a.Lease(); ok {
		t.Error("a node that has ended holds a lease")
	}
	if _, err := a.Nodes(t.Context()); err == nil {
		t.Error("a node that has ended can be asked")
	}
}

func TestLeaseWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	c := running(t, cluster.RedisOptions{URL: server.URL(), Timeout: 200 * time.Millisecond})
	server.Stop()
	eventually(t, "away", func() bool { return c.State().Err != nil })
	if _, err := c.Live(t.Context(), "n#1"); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Live: %v", err)
	}
	if _, err := c.Nodes(t.Context()); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Nodes: %v", err)
	}
	if _, err := cluster.NewRedis(cluster.RedisOptions{URL: "redis://h", NodeID: "n", Lease: time.Second}); err == nil || !strings.Contains(err.Error(), "Lease") {
		t.Errorf("a lease shorter than the time between renewals: %v", err)
	}
}

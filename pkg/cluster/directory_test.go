package cluster_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// announced is a running node that can be found at an address.
func announced(t *testing.T, server *redistest.Server, address string) (c *cluster.Redis, stop func()) {
	t.Helper()
	c, err := cluster.NewRedis(cluster.RedisOptions{
		URL: server.URL(), Prefix: "x:", NodeID: cluster.NewNodeID("n"), Interval: 20 * time.Millisecond, Timeout: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Announce(cluster.NodeInfo{Address: address, Version: "v1", Started: time.Unix(1000, 0).UTC()})
	stop = runUntilStopped(t, c)
	eventually(t, "in touch with Redis", func() bool { return c.State().Up })
	return c, stop
}

func wantAddress(t *testing.T, c *cluster.Redis, nodeID, want string) {
	t.Helper()
	if got, err := c.Address(t.Context(), nodeID); got != want || err != nil {
		t.Errorf("Address: %q, %v; want %q", got, err, want)
	}
}

func TestDirectory(t *testing.T) {
	server := redistest.Start(t)
	a, stopA := announced(t, server, "http://127.0.0.1:1")
	b, _ := announced(t, server, "http://127.0.0.1:2")
	wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2")
	wantAddress(t, a, a.NodeID(), "http://127.0.0.1:1")
	wantAddress(t, b, a.NodeID(), "http://127.0.0.1:1")

	key := "x:node:" + a.NodeID()
	var info cluster.NodeInfo
	if err := json.Unmarshal([]byte(server.Do(t, "GET", key).(string)), &info); err != nil {
		t.Fatal(err)
	}
	want := cluster.NodeInfo{Address: "http://127.0.0.1:1", Version: "v1", Started: time.Unix(1000, 0).UTC()}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	if ttl := server.Do(t, "PTTL", key).(int64); ttl <= 3000 || ttl > 5000 {
		t.Errorf("the entry lasts for %d ms, want 5 s", ttl)
	}
	server.Do(t, "PEXPIRE", key, 1500)
	eventually(t, "renewed", func() bool { return server.Do(t, "PTTL", key).(int64) > 3000 })

	stopA()
	if n := server.Do(t, "EXISTS", key); n != int64(0) {
		t.Error("a node that has ended is still in the directory")
	}
	c, _ := announced(t, server, "http://127.0.0.1:3") // remembers nothing of it
	if _, err := c.Address(t.Context(), a.NodeID()); !errors.Is(err, cluster.ErrNodeGone) || !strings.Contains(err.Error(), a.NodeID()) {
		t.Errorf("Address of a node that has left: %v", err)
	}
}

// TestNodeIsGone: a node whose address is known and whose entry has expired is gone, once Redis has shown that it forgets nothing.
func TestNodeIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	server.Do(t, "SET", "x:node:b", `{"address":"http://127.0.0.1:2"}`)
	wantAddress(t, a, "b", "http://127.0.0.1:2")
	server.Do(t, "DEL", "x:node:b")
	wantAddress(t, a, "b", "http://127.0.0.1:2")
	server.Do(t, "SET", "x:node:b", `{"address":"http://127.0.0.1:3"}`)
	wantAddress(t, a, "b", "http://127.0.0.1:2") // it was asked for a moment ago
	server.Do(t, "DEL", "x:node:b")
	eventually(t, "gone", func() bool {
		_, err := a.Address(t.Context(), "b")
		return errors.Is(err, cluster.ErrNodeGone)
	})
	server.Do(t, "SET", "x:node:b", `{"address":"http://127.0.0.1:2"}`) // it had only been out of touch
	eventually(t, "back", func() bool {
		_, err := a.Address(t.Context(), "b")
		return err == nil
	})
}

// TestAddressesWhileRedisIsAway: what was known stays known, and nothing waits.
func TestAddressesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	b, _ := announced(t, server, "http://127.0.0.1:2")
	wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2")

	server.Stop()
	eventually(t, "away", func() bool { return !a.State().Up })
	asked := time.Now()
	for time.Since(asked) < 3*time.Second { // longer than an answer is good for
		began := time.Now()
		wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2")
		if _, err := a.Address(t.Context(), "never heard of"); !errors.Is(err, cluster.ErrUnavailable) || errors.Is(err, cluster.ErrNodeGone) {
			t.Fatalf("Address of an unknown node: %v", err)
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Fatalf("it took %v", took)
		}
		time.Sleep(100 * time.Millisecond) // what is tested is that nothing happens
	}

	// It comes back empty. That b is not there says nothing, until it has had the time to come back too.
	server.Restart()
	eventually(t, "back", func() bool { return a.State().Up })
	server.Do(t, "DEL", "x:node:"+b.NodeID())
	wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2")
	eventually(t, "announced again", func() bool { return server.Do(t, "EXISTS", "x:node:"+b.NodeID()) == int64(1) })
}

// TestAddressesAreLearned: who has looked at the list of nodes knows where they are, also of those that nobody has asked for.
func TestAddressesAreLearned(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	b, stopB := announced(t, server, "http://127.0.0.1:2")
	c, _ := announced(t, server, "http://127.0.0.1:3")
	list := func() int {
		nodes, err := a.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(nodes)
	}
	if n := list(); n != 3 {
		t.Errorf("%d nodes", n)
	}
	stopB()
	eventually(t, "sure of its memory", func() bool { return cluster.Remembers(a) })
	if n := list(); n != 2 {
		t.Errorf("%d nodes", n)
	}
	server.Stop()
	eventually(t, "away", func() bool { return !a.State().Up })
	wantAddress(t, a, c.NodeID(), "http://127.0.0.1:3")
	if _, err := a.Address(t.Context(), b.NodeID()); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("the address of a node that has left is kept: %v", err)
	}
}

// TestEmptyRedisTakesNoAddress: while a Redis that has lost everything is told again who there is, all keep in mind who there was.
func TestEmptyRedisTakesNoAddress(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	server.Do(t, "SET", "x:node:b", `{"lease":1,"address":"http://127.0.0.1:2"}`)
	server.Do(t, "ZADD", "x:nodes", time.Now().Add(time.Minute).UnixMilli(), "b")
	list := func() int {
		nodes, err := a.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(nodes)
	}
	if n := list(); n != 2 {
		t.Errorf("%d nodes", n)
	}
	first, _, _ := a.Lease()
	server.Do(t, "FLUSHALL") // and b does not come back
	eventually(t, "with another lease", func() bool { another, _, ok := a.Lease(); return ok && another != first })
	if n := list(); n != 1 {
		t.Errorf("%d nodes", n)
	}
	wantAddress(t, a, "b", "http://127.0.0.1:2")
}

// TestEmptyRedisIsNotBelieved: a Redis that has lost everything knows of no node; that makes none of them gone.
func TestEmptyRedisIsNotBelieved(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	server.Do(t, "SET", "x:node:b", `{"address":"http://127.0.0.1:2"}`)
	wantAddress(t, a, "b", "http://127.0.0.1:2")
	eventually(t, "sure of its memory", func() bool { return cluster.Remembers(a) })
	server.Do(t, "FLUSHALL") // and b does not come back
	until := time.Now().Add(3 * time.Second)
	for time.Now().Before(until) {
		wantAddress(t, a, "b", "http://127.0.0.1:2")
		time.Sleep(100 * time.Millisecond) // what is tested is that nothing happens
	}
	eventually(t, "gone", func() bool {
		_, err := a.Address(t.Context(), "b")
		return errors.Is(err, cluster.ErrNodeGone)
	})
}

// TestLeave: a node that is about to go says so at once, and keeps its lease and its address until it has gone.
func TestLeave(t *testing.T) {
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	b, err := cluster.NewRedis(cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: cluster.NewNodeID("n"), Interval: time.Hour, Lease: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.Announce(cluster.NodeInfo{Address: "http://127.0.0.1:2"})
	stop := runUntilStopped(t, b)
	eventually(t, "in touch with Redis", func() bool { return b.State().Up })
	leaving := func() (says, listed bool) {
		nodes, err := a.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.ID == b.NodeID() {
				return n.Leaving, true
			}
		}
		return false, false
	}
	if says, listed := leaving(); says || !listed {
		t.Errorf("before: leaving %v, listed %v", says, listed)
	}
	incarnation, _, _ := b.Lease()
	b.Leave() // the next contact would be in an hour
	eventually(t, "said", func() bool { says, _ := leaving(); return says })
	if now, _, held := b.Lease(); now != incarnation || !held {
		t.Errorf("it has the lease %q, held %v; before it was %q", now, held, incarnation)
	}
	wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2")
	stop()
	if _, listed := leaving(); listed {
		t.Error("a node that has gone is listed")
	}
}

// TestLeaveWithoutRedis: it is said as soon as Redis is there.
func TestLeaveWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	b, _ := announced(t, server, "http://127.0.0.1:2")
	server.Stop()
	eventually(t, "away", func() bool { return !a.State().Up && !b.State().Up })
	b.Leave()
	server.Restart()
	eventually(t, "said", func() bool {
		nodes, err := a.Nodes(t.Context())
		return err == nil && slices.ContainsFunc(nodes, func(n cluster.NodeInfo) bool { return n.ID == b.NodeID() && n.Leaving })
	})
}

func TestDirectoryEntryThatIsNone(t *testing.T) {
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	for _, text := range []string{"", "x", "{}", `{"address":1}`} {
		server.Do(t, "SET", "x:node:b", text)
		if _, err := a.Address(t.Context(), "b"); !errors.Is(err, cluster.ErrNodeGone) || !strings.Contains(err.Error(), "x:node:b") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestHold: a connection is found for as long as its node says that it has it.
func TestHold(t *testing.T) {
	server := redistest.Start(t)
	a := running(t, cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: "a node"})
	b := running(t, cluster.RedisOptions{URL: server.URL(), Prefix: "x:"})
	if ok, err := a.Claim(t.Context(), "abc"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	server.Do(t, "EXPIRE", "x:tok:abc", 5)
	var ids []string
	for i := range 600 { // more than one pipeline takes
		ids = append(ids, strings.Repeat("i", i+1))
	}
	ids = append(ids, "abc")
	hold := func() error {
		return a.Hold(t.Context(), func(yield func(string) bool) {
			for _, id := range ids {
				if !yield(id) {
					return
				}
			}
		})
	}
	if err := hold(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if node, err := b.Holder(t.Context(), id); node != "a node" || err != nil {
			t.Fatalf("%s: %q, %v", id, node, err)
		}
	}
	if ttl := server.Do(t, "TTL", "x:tok:abc").(int64); ttl < 30 || ttl > 60 {
		t.Errorf("it lasts for %d s, want a minute", ttl)
	}
	if ok, err := b.Claim(t.Context(), "abc"); ok || err != nil {
		t.Errorf("what is held can be claimed: %v, %v", ok, err)
	}
	server.Do(t, "SET", "x:tok:odd", "nonsense")
	if _, err := b.Holder(t.Context(), "odd"); !errors.Is(err, cluster.ErrNotHeld) {
		t.Errorf("Holder of what is no claim: %v", err)
	}
	server.Stop()
	eventually(t, "away", func() bool { return a.State().Err != nil && b.State().Err != nil })
	if err := hold(); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Hold without Redis: %v", err)
	}
	if _, err := b.Holder(t.Context(), "abc"); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Holder without Redis: %v", err)
	}
}

// TestDepartureDoesNotHang: the farewell to a Redis that does not answer is short.
func TestDepartureDoesNotHang(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, stop := announced(t, server, "http://127.0.0.1:1")
	server.Pause()
	defer server.Resume()
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("ended after %v", took)
	}
}

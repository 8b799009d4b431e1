package cluster_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

func lists(t *testing.T, c, other *cluster.Redis) bool {
	t.Helper()
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(nodes, func(n cluster.NodeInfo) bool { return n.ID == other.NodeID() && n.Address == "http://127.0.0.1:2" })
}

// TestNodeIsInTwoPlaces: that Redis has lost one of them hides no node, whose lease goes on; without both it is gone.
func TestNodeIsInTwoPlaces(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := announced(t, server, "http://127.0.0.1:1")
	b, err := cluster.NewRedis(cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: cluster.NewNodeID("n"), Interval: time.Hour, Lease: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.Announce(cluster.NodeInfo{Address: "http://127.0.0.1:2"})
	runUntilStopped(t, b)
	eventually(t, "in touch with Redis", func() bool { return b.State().Up })
	incarnation, _, _ := b.Lease()
	there := func(where string, want bool) {
		t.Helper()
		if got := lists(t, a, b); got != want {
			t.Errorf("with %s: it is listed: %v", where, got)
		}
		live, err := a.Live(t.Context(), incarnation, "nobody#1")
		if err != nil || live[0] != want || live[1] {
			t.Errorf("with %s: live %v, %v", where, live, err)
		}
	}
	there("both", true)
	key := "x:node:" + b.NodeID()
	entry := server.Do(t, "GET", key)
	server.Do(t, "DEL", key)
	there("the list", true)
	wantAddress(t, a, b.NodeID(), "http://127.0.0.1:2") // which was never asked for
	if _, err := b.Address(t.Context(), b.NodeID()); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("its address, for whoever knows nothing of it: %v", err)
	}
	server.Do(t, "SET", key, entry)
	server.Do(t, "ZREM", "x:nodes", b.NodeID())
	there("the entry", true)
	server.Do(t, "DEL", key)
	there("neither", false)
}

// TestShardComesBackEmpty: one server of a cluster loses all that it has, and no node is hidden from the others for a moment.
func TestShardComesBackEmpty(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, false)
	ownerOf := func(key string) *redistest.Server {
		return servers.Owner(t, int(servers.Masters[0].Do(t, "CLUSTER", "KEYSLOT", key).(int64)))
	}
	const list = "nodes"
	id := cluster.NewNodeID("n")
	for ownerOf("node:"+id) == ownerOf(list) { // or one server has both places
		id = cluster.NewNodeID("n")
	}
	node := func(id, address string, interval time.Duration) *cluster.Redis {
		c, err := cluster.NewRedis(cluster.RedisOptions{URL: servers.URL(), NodeID: id, Interval: interval})
		if err != nil {
			t.Fatal(err)
		}
		c.Announce(cluster.NodeInfo{Address: address})
		runUntilStopped(t, c)
		eventually(t, "in touch with Redis", func() bool { return c.State().Up })
		return c
	}
	a := node(cluster.NewNodeID("n"), "http://127.0.0.1:1", 20*time.Millisecond)
	b := node(id, "http://127.0.0.1:2", cluster.DefaultInterval)
	if !lists(t, a, b) {
		t.Fatal("it is not listed")
	}
	for _, key := range []string{"node:" + id, list} {
		owner := ownerOf(key)
		owner.Restart()
		servers.WaitWhole(t)
		for back := false; !back; {
			back = owner.Do(t, "EXISTS", key) == int64(1)
			if nodes, err := a.Nodes(t.Context()); err == nil && !slices.ContainsFunc(nodes, func(n cluster.NodeInfo) bool { return n.ID == id }) {
				t.Fatalf("hidden, without %s", key)
			}
		}
	}
}

package presence_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/presencetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// Times of the tests: short, and long enough for a busy machine.
const (
	life     = 1500 * time.Millisecond
	interval = 200 * time.Millisecond
)

// node is a node with a lease and a tracker.
type node struct {
	*presence.Redis
	cluster *cluster.Redis
	proxy   *redistest.Proxy // between the node and Redis
	stop    func()           // ends it in good order
	kill    func()           // ends it without a farewell
}

// startNode starts a node behind a proxy of its own; it waits for nothing.
func startNode(t testing.TB, server *redistest.Server, o presence.RedisOptions) *node {
	t.Helper()
	proxy := redistest.NewProxy(t, server.Addr())
	n := startNodeAt(t, proxy.URL(), "x:", o)
	n.proxy = proxy
	n.kill = func() {
		proxy.Close()
		n.stop()
	}
	return n
}

// startNodeAt starts a node that reaches Redis itself.
func startNodeAt(t testing.TB, url, prefix string, o presence.RedisOptions) *node {
	t.Helper()
	n := &node{}
	var err error
	if n.cluster, err = cluster.NewRedis(cluster.RedisOptions{
		URL: url, Prefix: prefix, NodeID: cluster.NewNodeID("n"), Interval: interval, Lease: life, Timeout: 500 * time.Millisecond,
	}); err != nil {
		t.Fatal(err)
	}
	o.URL, o.Prefix, o.Lease, o.LeaseLife, o.Interval, o.Timeout = url, prefix, n.cluster, life, interval, 500*time.Millisecond
	if n.Redis, err = presence.NewRedis(o); err != nil {
		t.Fatal(err)
	}
	stopCluster := runPart(t, n.cluster.Run)
	stopPresence := runPart(t, n.Run)
	n.stop = func() {
		stopPresence()
		stopCluster()
	}
	n.kill = func() {
		stopCluster() // without a lease there is nothing to take leave of
		stopPresence()
	}
	t.Cleanup(n.stop)
	return n
}

func runPart(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var part sync.WaitGroup
	part.Go(func() {
		if err := run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return func() {
		cancel()
		part.Wait()
	}
}

// runningNode is a node that is in touch with Redis.
func runningNode(t testing.TB, server *redistest.Server, o presence.RedisOptions) *node {
	t.Helper()
	n := startNode(t, server, o)
	n.wait(t)
	return n
}

func (n *node) wait(t testing.TB) {
	t.Helper()
	presencetest.Eventually(t, "in touch with Redis", func() bool { _, _, ok := n.cluster.Lease(); return ok && n.State().Up })
}

func TestRedisContract(t *testing.T) {
	presencetest.Run(t, func(t testing.TB, grace time.Duration) presencetest.Join {
		server := redistest.Start(t)
		return func(t testing.TB) presencetest.Node {
			n := runningNode(t, server, presence.RedisOptions{Grace: grace})
			return presencetest.Node{Tracker: n, ID: n.cluster.NodeID(), Kill: n.kill}
		}
	})
}

// TestRedisClusterContract: the keys of every script are in one slot.
func TestRedisClusterContract(t *testing.T) {
	servers := redistest.StartCluster(t, 3, false)
	presencetest.Run(t, func(t testing.TB, grace time.Duration) presencetest.Join {
		prefix := redistest.Prefix(t)
		return func(t testing.TB) presencetest.Node {
			n := startNodeAt(t, servers.URL(), prefix, presence.RedisOptions{Grace: grace})
			n.wait(t)
			return presencetest.Node{Tracker: n, ID: n.cluster.NodeID(), Kill: n.kill}
		}
	})
}

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// node is what hubs need of a cluster.
type node interface {
	NodeID() string
	Secret() ([]byte, error)
	Claim(ctx context.Context, id string) (bool, error)
	Hold(ctx context.Context, ids iter.Seq[string]) error
	Holder(ctx context.Context, id string) (string, error)
	Announce(info cluster.NodeInfo)
	Address(ctx context.Context, nodeID string) (string, error)
	Nodes(ctx context.Context) ([]cluster.NodeInfo, error)
}

// TestContract holds both kinds of cluster to the same promises.
func TestContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		m := cluster.NewMemory()
		contract(t, func(*testing.T) node { return m.Node() })
	})
	t.Run("redis cluster", func(t *testing.T) {
		url, prefix := redistest.StartCluster(t, 3, false).URL(), redistest.Prefix(t)
		contract(t, func(t *testing.T) node { return running(t, cluster.RedisOptions{URL: url, Prefix: prefix}) })
	})
	t.Run("redis sentinel", func(t *testing.T) {
		url, prefix := redistest.StartSentinels(t, 1).URL(), redistest.Prefix(t)
		contract(t, func(t *testing.T) node { return running(t, cluster.RedisOptions{URL: url, Prefix: prefix}) })
	})
	t.Run("redis", func(t *testing.T) {
		url, prefix := redistest.URL(t), redistest.Prefix(t)
		contract(t, func(t *testing.T) node { return running(t, cluster.RedisOptions{URL: url, Prefix: prefix}) })
	})
}

func contract(t *testing.T, join func(*testing.T) node) {
	t.Run("every node has its own id", func(t *testing.T) {
		a, b := join(t), join(t)
		if a.NodeID() == "" || a.NodeID() == b.NodeID() {
			t.Errorf("ids %q and %q", a.NodeID(), b.NodeID())
		}
	})
	t.Run("all nodes have one secret", func(t *testing.T) {
		a, err := join(t).Secret()
		if err != nil {
			t.Fatal(err)
		}
		b, err := join(t).Secret()
		if err != nil {
			t.Fatal(err)
		}
		if len(a) < cluster.MinSecret || string(a) != string(b) {
			t.Errorf("%d bytes; the same: %v", len(a), string(a) == string(b))
		}
	})
	t.Run("one of many is the first", func(t *testing.T) {
		nodes := []node{join(t), join(t)}
		for i := range 20 {
			var firsts atomic.Int32
			var all sync.WaitGroup
			for j := range 8 {
				all.Go(func() {
					ok, err := nodes[j%2].Claim(t.Context(), fmt.Sprintf("id-%d", i))
					if err != nil {
						t.Error(err)
					} else if ok {
						firsts.Add(1)
					}
				})
			}
			all.Wait()
			if n := firsts.Load(); n != 1 {
				t.Errorf("round %d: %d were told that they are the first", i, n)
			}
		}
	})
	t.Run("ids do not meet", func(t *testing.T) {
		n := join(t)
		for _, id := range []string{"a", "b", "a:b", "{a}"} {
			if ok, err := n.Claim(t.Context(), id); !ok || err != nil {
				t.Errorf("%q: %v, %v", id, ok, err)
			}
		}
	})
	t.Run("whoever claimed an id first holds it", func(t *testing.T) {
		a, b := join(t), join(t)
		if _, err := b.Holder(t.Context(), "nobody's"); !errors.Is(err, cluster.ErrNotHeld) {
			t.Errorf("Holder of an id that was never used: %v", err)
		}
		_, _ = a.Claim(t.Context(), "held")
		_, _ = b.Claim(t.Context(), "held")
		for _, n := range []node{a, b} {
			if holder, err := n.Holder(t.Context(), "held"); holder != a.NodeID() || err != nil {
				t.Errorf("Holder: %q, %v; want %q", holder, err, a.NodeID())
			}
		}
		if err := b.Hold(t.Context(), slices.Values([]string{"lost", "and found"})); err != nil {
			t.Fatal(err)
		}
		if holder, err := a.Holder(t.Context(), "lost"); holder != b.NodeID() || err != nil {
			t.Errorf("Holder: %q, %v; want %q", holder, err, b.NodeID())
		}
		if ok, err := a.Claim(t.Context(), "lost"); ok || err != nil {
			t.Errorf("what is held can be claimed: %v, %v", ok, err)
		}
	})
	t.Run("nodes find each other", func(t *testing.T) {
		a, b := join(t), join(t)
		if _, err := a.Address(t.Context(), "nobody"); !errors.Is(err, cluster.ErrNodeGone) {
			t.Errorf("Address of a node that never was: %v", err)
		}
		b.Announce(cluster.NodeInfo{Address: "http://b"})
		eventually(t, "found", func() bool {
			address, err := a.Address(t.Context(), b.NodeID())
			return address == "http://b" && err == nil
		})
		eventually(t, "listed", func() bool {
			nodes, err := a.Nodes(t.Context())
			return err == nil && slices.ContainsFunc(nodes, func(n cluster.NodeInfo) bool { return n.ID == b.NodeID() && n.Address == "http://b" })
		})
	})
}

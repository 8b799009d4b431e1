package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// lookInterval is how often a node looks who else is there; each second while it drains.
const lookInterval = 5 * time.Second

// others are the nodes of the cluster as this one last saw them.
type others struct {
	mu    sync.Mutex
	known int      // nodes that hold a lease, this one included
	stay  []string // ids of those to which clients can be sent: not this one, and none that is about to go
	turn  int
}

// watchNodes keeps others up to date, until ctx ends.
func (n *Node) watchNodes(ctx context.Context) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		n.lookAround(ctx)
		select {
		case <-ctx.Done():
			return
		case <-n.cluster.LeaseChanged(): // the first one, above all: before it there is no list to read
		case <-ticker.C:
		}
	}
}

// lookAround asks who is there. While Redis is away, what was known stays: they are most likely there still.
func (n *Node) lookAround(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if nodes, err := n.cluster.Nodes(ctx); err == nil {
		n.others.saw(nodes, n.cluster.NodeID())
	}
}

// saw notes a list of nodes.
func (o *others) saw(nodes []cluster.NodeInfo, self string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known, o.stay = len(nodes), nil
	for _, node := range nodes {
		if node.ID != self && !node.Leaving {
			o.stay = append(o.stay, node.ID)
		}
	}
	slices.Sort(o.stay)
}

// any says whether there is a node to which clients can be sent.
func (o *others) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.stay) > 0
}

// next is one of them, each in its turn; empty when there is none.
func (o *others) next() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.stay) == 0 {
		return ""
	}
	o.turn++
	return o.stay[o.turn%len(o.stay)]
}

// count is how many nodes there are, this one included.
func (o *others) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known
}

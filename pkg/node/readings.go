package node

import (
	"iter"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/metrics"
)

// readings are what the metrics ask at each scrape. They are not asked before New has returned.
func (n *Node) readings() metrics.Readings {
	return metrics.Readings{
		Ready:    func() bool { return n.unready() == nil },
		Draining: n.left,
		Hubs:     func() iter.Seq2[string, hub.Load] { return n.hubs.Loads() },
		Nodes:    n.others.count,
		Forwards: func() int {
			if n.peer == nil {
				return 0
			}
			return n.peer.Running()
		},
	}
}

// left says whether the node is sending its clients away, and how many are left.
func (n *Node) left() (yes bool, left int) {
	if !n.stopping.Load() {
		return false, 0
	}
	return true, n.hubs.Connections()
}

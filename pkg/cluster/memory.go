package cluster

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is the shared part of a cluster whose nodes all live in this process. It is safe for concurrent use.
type Memory struct {
	secret []byte

	mu     sync.Mutex
	nodes  map[string]NodeInfo
	used   map[string]string // ids used or held since turned, with the node that has them
	before map[string]string // those of the claimLifetime before that
	turned time.Time
}

// NewMemory makes an empty cluster with a secret of its own.
func NewMemory() *Memory {
	return &Memory{secret: newSecret(), nodes: make(map[string]NodeInfo), used: make(map[string]string), turned: time.Now()}
}

// Node adds a node under a name of its own.
func (m *Memory) Node() *MemoryNode {
	return &MemoryNode{memory: m, id: NewNodeName()}
}

// holder is the node that has an id, if any. m.mu must be held. Ids are forgotten between one and two lifetimes later, a
// whole map at a time, which costs nothing per id.
func (m *Memory) holder(id string) (nodeID string, found bool) {
	if since := time.Since(m.turned); since > claimLifetime {
		m.before = m.used
		if since > 2*claimLifetime {
			m.before = nil
		}
		m.used, m.turned = make(map[string]string), time.Now()
	}
	if nodeID, found = m.used[id]; !found {
		nodeID, found = m.before[id]
	}
	return nodeID, found
}

// MemoryNode is one node of a Memory. It is safe for concurrent use.
type MemoryNode struct {
	memory *Memory
	id     string
}

// NodeID names the node; no other has the same.
func (n *MemoryNode) NodeID() string { return n.id }

// Secret is the cluster's secret. It never fails.
func (n *MemoryNode) Secret() ([]byte, error) { return n.memory.secret, nil }

// Claim records the first use of a connection id; it says false when the id was used before. It never fails.
func (n *MemoryNode) Claim(_ context.Context, id string) (bool, error) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	if _, used := n.memory.holder(id); used {
		return false, nil
	}
	n.memory.used[id] = n.id
	return true, nil
}

// Hold says that this node still has these connections; see [Redis.Hold]. It never fails.
func (n *MemoryNode) Hold(_ context.Context, ids iter.Seq[string]) error {
	for id := range ids {
		n.memory.mu.Lock()
		n.memory.holder(id) // forgets what is due first
		n.memory.used[id] = n.id
		n.memory.mu.Unlock()
	}
	return nil
}

// Holder finds the node that has a connection; see [Redis.Holder].
func (n *MemoryNode) Holder(_ context.Context, id string) (nodeID string, err error) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	nodeID, found := n.memory.holder(id)
	if !found {
		return "", ErrNotHeld
	}
	return nodeID, nil
}

// Announce puts this node into the directory, until Depart.
func (n *MemoryNode) Announce(info NodeInfo) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	info.ID, info.Connections = n.id, 0
	n.memory.nodes[n.id] = info
}

// Depart takes this node out of the directory.
func (n *MemoryNode) Depart() {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	delete(n.memory.nodes, n.id)
}

// Nodes are the nodes in the directory, in the order of their ids. It never fails.
func (n *MemoryNode) Nodes(context.Context) ([]NodeInfo, error) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	nodes := slices.Collect(maps.Values(n.memory.nodes))
	sortNodes(nodes)
	return nodes, nil
}

// Address is the URL at which a node is reached; see [Redis.Address].
func (n *MemoryNode) Address(_ context.Context, nodeID string) (string, error) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	info, found := n.memory.nodes[nodeID]
	if !found {
		return "", fmt.Errorf("%w: %q", ErrNodeGone, nodeID)
	}
	return info.Address, nil
}

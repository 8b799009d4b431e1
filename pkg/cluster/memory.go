package cluster

import (
	"context"
	"sync"
	"time"
)

// Memory is the shared part of a cluster whose nodes all live in this process. It is safe for concurrent use.
type Memory struct {
	secret []byte

	mu     sync.Mutex
	used   map[string]struct{} // ids used since turned
	before map[string]struct{} // ids used in the claimLifetime before that
	turned time.Time
}

// NewMemory makes an empty cluster with a secret of its own.
func NewMemory() *Memory {
	return &Memory{secret: newSecret(), used: make(map[string]struct{}), turned: time.Now()}
}

// Node adds a node under a name of its own.
func (m *Memory) Node() *MemoryNode {
	return &MemoryNode{memory: m, id: NewNodeName()}
}

// claim records an id and says whether it was new. Ids are forgotten between one and two lifetimes later, a whole
// map at a time, which costs nothing per id.
func (m *Memory) claim(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if since := time.Since(m.turned); since > claimLifetime {
		m.before = m.used
		if since > 2*claimLifetime {
			m.before = nil
		}
		m.used, m.turned = make(map[string]struct{}), time.Now()
	}
	_, now := m.used[id]
	_, before := m.before[id]
	if now || before {
		return false
	}
	m.used[id] = struct{}{}
	return true
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
	return n.memory.claim(id), nil
}

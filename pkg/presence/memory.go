package presence

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// MemoryOptions configure a Memory. The zero value is useful.
type MemoryOptions struct {
	// Grace is how long a user stays online after its last connection has left. Zero means DefaultGrace, negative not at all.
	Grace time.Duration
	// Hooks tell of transitions and resyncs.
	Hooks Hooks
}

// Memory is the presence of a cluster whose nodes all live in this process. It is safe for concurrent use. It has no goroutine;
// a timer runs while users are in their grace period.
type Memory struct {
	grace time.Duration
	hooks Hooks

	mu      sync.Mutex // guards what follows, and is held while the feeds are told, so that Online and they agree
	nodes   map[*MemoryNode]struct{}
	users   map[string]*memoryUser // those who are online
	leaving []departure            // in the order in which they are due, which is that of their coming
	timer   *time.Timer            // nil while nobody is leaving
}

// memoryUser is one user who is online.
type memoryUser struct {
	connections map[string]*Connection
	due         time.Time // when to go offline; zero while there are connections
}

// departure is a user who may go offline at that time, unless its own due says otherwise by then.
type departure struct {
	user string
	due  time.Time
}

// NewMemory makes the presence of an empty cluster.
func NewMemory(o MemoryOptions) *Memory {
	return &Memory{
		grace: grace(o.Grace),
		hooks: o.Hooks,
		nodes: make(map[*MemoryNode]struct{}),
		users: make(map[string]*memoryUser),
	}
}

// Node adds a node. Close it when it has ended.
func (m *Memory) Node(id string) *MemoryNode {
	n := &MemoryNode{memory: m, id: id, connections: make(map[string]*Connection)}
	n.feed.hooks = &m.hooks
	m.mu.Lock()
	defer m.mu.Unlock()
	users := make([]Change, 0, len(m.users))
	for user := range m.users {
		users = append(users, Change{user, true})
	}
	n.feed.tell(users, false)
	m.nodes[n] = struct{}{}
	return n
}

// tell records a transition. m.mu must be held.
func (m *Memory) tell(c Change) {
	if c.Online {
		m.hooks.transitions(1, 0)
	} else {
		m.hooks.transitions(0, 1)
	}
	for n := range m.nodes {
		n.feed.tell([]Change{c}, false)
	}
}

// add notes a connection. m.mu must be held.
func (m *Memory) add(c *Connection) {
	if c.User == "" {
		return
	}
	u := m.users[c.User]
	if u == nil {
		u = &memoryUser{connections: make(map[string]*Connection)}
		m.users[c.User] = u
		m.tell(Change{c.User, true})
	}
	u.connections[c.ID], u.due = c, time.Time{}
}

// remove forgets a connection. m.mu must be held.
func (m *Memory) remove(c *Connection) {
	u := m.users[c.User]
	if u == nil || u.connections[c.ID] != c {
		return
	}
	delete(u.connections, c.ID)
	if len(u.connections) > 0 {
		return
	}
	if m.grace == 0 {
		delete(m.users, c.User)
		m.tell(Change{c.User, false})
		return
	}
	u.due = time.Now().Add(m.grace)
	m.leaving = append(m.leaving, departure{c.User, u.due})
	if m.timer == nil {
		m.timer = time.AfterFunc(m.grace, m.reap)
	}
}

// reap makes those go offline whose time has come.
func (m *Memory) reap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.leaving) > 0 && !m.leaving[0].due.After(now) {
		d := m.leaving[0]
		m.leaving = m.leaving[1:]
		// Whoever came back has another time, or none.
		if u := m.users[d.user]; u != nil && u.due.Equal(d.due) {
			delete(m.users, d.user)
			m.tell(Change{d.user, false})
		}
	}
	if len(m.leaving) == 0 {
		m.leaving, m.timer = nil, nil
		return
	}
	m.timer.Reset(m.leaving[0].due.Sub(now))
}

// MemoryNode is one node of a Memory, and its Tracker. It never fails but for connections that are not there.
type MemoryNode struct {
	memory *Memory
	id     string
	feed   feed

	// Guarded by memory.mu.
	connections map[string]*Connection
	closed      bool
}

// Close takes the node out, as if all its connections had left. Its watchers end.
func (n *MemoryNode) Close() {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	n.closed = true
	delete(m.nodes, n)
	for _, c := range n.connections {
		m.remove(c)
	}
	clear(n.connections)
	n.feed.close()
}

// Add says that a connection is on this node; see [Tracker].
func (n *MemoryNode) Add(c Connection) {
	c.Node = n.id
	if c.Since.IsZero() {
		c.Since = time.Now()
	}
	c.Since = c.Since.Truncate(time.Millisecond)
	c.Metadata = slices.Clone(c.Metadata)
	if checkMetadata(c.Metadata) != nil {
		c.Metadata = nil
	}
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.closed {
		return
	}
	n.connections[c.ID] = &c
	m.add(&c)
}

// Remove says that a connection of this node has left; see [Tracker].
func (n *MemoryNode) Remove(id string) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := n.connections[id]; c != nil {
		delete(n.connections, id)
		m.remove(c)
	}
}

// SetMetadata replaces the metadata of a connection of this node; see [Tracker].
func (n *MemoryNode) SetMetadata(id string, metadata []byte) error {
	if err := checkMetadata(metadata); err != nil {
		return err
	}
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	c := n.connections[id]
	if c == nil {
		return fmt.Errorf("%w on this node: %q", ErrNoConnection, id)
	}
	c.Metadata = slices.Clone(metadata)
	return nil
}

// Online says which of the users are online; see [Tracker].
func (n *MemoryNode) Online(_ context.Context, users ...string) ([]bool, error) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	online := make([]bool, len(users))
	for i, user := range users {
		online[i] = m.users[user] != nil
	}
	return online, nil
}

// Users lists online users; see [Tracker].
func (n *MemoryNode) Users(_ context.Context, after string, limit int) ([]string, error) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	var users []string
	for user := range m.users {
		if user > after {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	return users[:min(len(users), max(limit, 0))], nil
}

// Connections are those of a user; see [Tracker].
func (n *MemoryNode) Connections(_ context.Context, user string) ([]Connection, error) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.users[user]
	if u == nil {
		return nil, nil
	}
	var list []Connection
	for _, c := range u.connections {
		list = append(list, *c)
	}
	sortConnections(list)
	return list, nil
}

// Connection finds a connection; see [Tracker].
func (n *MemoryNode) Connection(_ context.Context, id string) (Connection, error) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.nodes {
		if c := n.connections[id]; c != nil {
			return *c, nil
		}
	}
	return Connection{}, fmt.Errorf("%w: %q", ErrNoConnection, id)
}

// Watch gives the users who are online now, and then every change; see [Tracker].
func (n *MemoryNode) Watch(ctx context.Context) ([]string, iter.Seq[Update], error) {
	snapshot, updates := n.feed.watch(ctx, nil)
	return snapshot, updates, nil
}

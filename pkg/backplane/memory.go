package backplane

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// maxInbox is how many messages may wait for delivery to one node of a Memory; then publishers wait.
const maxInbox = 4096

var errClosed = errors.New("the node has been closed")

// Memory joins servers in one process, for tests and for embedding several servers. It behaves like Redis: what is
// published arrives at every subscribed node, the publisher's too, in one order per channel for all, and not before
// Publish has handed it over. It costs one copy of the payload per publish.
//
// It has no goroutines but one per node while something waits for delivery there.
type Memory struct {
	mu          sync.Mutex // also guards every node's inbox: one order for all
	subscribers map[string][]*MemoryNode
	room        chan struct{} // closed and replaced when an inbox has been emptied
}

// NewMemory makes a backplane for the servers of one process. Each of them needs a Node of its own.
func NewMemory() *Memory {
	return &Memory{subscribers: make(map[string][]*MemoryNode), room: make(chan struct{})}
}

// Node makes a backplane for one server. Close it when the server is gone.
func (m *Memory) Node() *MemoryNode { return &MemoryNode{memory: m, wanted: make(map[string]struct{})} }

// MemoryNode is one server's view of a Memory. All methods may be called concurrently.
type MemoryNode struct {
	memory  *Memory
	deliver func(channel string, payload []byte)
	flush   func()

	// Guarded by memory.mu.
	wanted   map[string]struct{}
	inbox    []memoryMessage
	draining bool
	closed   bool

	drainer sync.WaitGroup
}

type memoryMessage struct {
	channel string
	payload []byte
}

// Attach says where to hand what comes in. It is called at most once, before any other method; without it messages are
// dropped. deliver is called by one goroutine at a time, in order; it must never block and must not keep or change payload.
// flush is called by the same goroutine after the last of what waited. Both may call the node's methods.
func (n *MemoryNode) Attach(deliver func(channel string, payload []byte), flush func()) {
	n.deliver, n.flush = deliver, flush
}

// Publish hands one payload to every channel named. It returns when the message is queued for every subscribed node, and
// does not keep payload. It waits only when thousands of messages wait at one of them, until ctx ends; then nothing was
// sent. receivers is the number of subscribed nodes, summed.
func (n *MemoryNode) Publish(ctx context.Context, payload []byte, channels ...string) (receivers int, err error) {
	if len(channels) == 0 {
		return 0, nil
	}
	fail := func(err error) (int, error) { return 0, &Error{Op: opPublish, Channel: channels[0], Err: err} }
	m := n.memory
	for {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		m.mu.Lock()
		if n.closed {
			m.mu.Unlock()
			return fail(errClosed)
		}
		if m.fits(channels) {
			receivers = m.queue(slices.Clone(payload), channels)
			m.mu.Unlock()
			return receivers, nil
		}
		room := m.room
		m.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// Enqueue is Publish, which waits for no reply anyway; done is called before it returns.
func (n *MemoryNode) Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error {
	_, err := n.Publish(ctx, payload, channels...)
	if err == nil {
		done(nil)
	}
	return err
}

// fits says whether every subscriber of the channels has room for them.
func (m *Memory) fits(channels []string) bool {
	for _, channel := range channels {
		for _, n := range m.subscribers[channel] {
			// An empty inbox takes any number, so that a call that names very many channels gets through.
			if len(n.inbox) > 0 && len(n.inbox)+len(channels) > maxInbox {
				return false
			}
		}
	}
	return true
}

func (m *Memory) queue(payload []byte, channels []string) (receivers int) {
	for _, channel := range channels {
		for _, n := range m.subscribers[channel] {
			receivers++
			n.inbox = append(n.inbox, memoryMessage{channel, payload})
			if !n.draining {
				n.draining = true
				n.drainer.Go(n.drain)
			}
		}
	}
	return receivers
}

// drain delivers what waits, and ends when nothing does.
func (n *MemoryNode) drain() {
	m := n.memory
	var batch []memoryMessage
	for {
		m.mu.Lock()
		clear(batch)
		batch, n.inbox = n.inbox, batch[:0]
		if len(batch) == 0 {
			n.draining = false
			m.mu.Unlock()
			return
		}
		close(m.room)
		m.room = make(chan struct{})
		m.mu.Unlock()
		for _, msg := range batch {
			if n.deliver != nil {
				n.deliver(msg.channel, msg.payload)
			}
		}
		if n.flush != nil {
			n.flush()
		}
	}
}

// Subscribe makes channels wanted, at once. The only error is that the node was closed.
func (n *MemoryNode) Subscribe(_ context.Context, channels ...string) error {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, channel := range channels {
		if n.closed {
			return &Error{Op: opSubscribe, Channel: channel, Err: errClosed}
		}
		if _, known := n.wanted[channel]; !known {
			n.wanted[channel] = struct{}{}
			m.subscribers[channel] = append(m.subscribers[channel], n)
		}
	}
	return nil
}

// Unsubscribe makes channels unwanted. What was published before may still be delivered.
func (n *MemoryNode) Unsubscribe(channels ...string) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, channel := range channels {
		n.drop(channel)
	}
}

func (n *MemoryNode) drop(channel string) {
	if _, known := n.wanted[channel]; !known {
		return
	}
	delete(n.wanted, channel)
	m := n.memory
	left := slices.DeleteFunc(m.subscribers[channel], func(other *MemoryNode) bool { return other == n })
	if m.subscribers[channel] = left; len(left) == 0 {
		delete(m.subscribers, channel)
	}
}

// Subscribers is how many nodes are subscribed to the channel.
func (n *MemoryNode) Subscribers(_ context.Context, channel string) (int, error) {
	m := n.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.closed {
		return 0, &Error{Op: opCount, Channel: channel, Err: errClosed}
	}
	return len(m.subscribers[channel]), nil
}

// Close takes the node out: its subscriptions end, and Publish and Subscribe fail from now on. It waits until what was
// queued for it has been delivered, and must not be called from deliver or flush. It can be called again.
func (n *MemoryNode) Close() {
	m := n.memory
	m.mu.Lock()
	n.closed = true
	for channel := range n.wanted {
		n.drop(channel)
	}
	m.mu.Unlock()
	n.drainer.Wait()
}

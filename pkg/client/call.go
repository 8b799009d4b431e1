package client

import (
	"strconv"
	"sync"
)

// calls are the invocations of one connection that wait for something from the server.
type calls struct {
	mu      sync.Mutex
	last    uint64
	pending map[string]*pending
	plain   int // how many of them wait for an answer only
	closed  error
	changed signal // one more waits for an answer
}

// pending is one of them: a plain invocation or a stream.
type pending struct {
	id     string
	answer chan answer    // takes one, without blocking; nil for a stream
	items  *inbox[[]byte] // of a stream, encoded
}

// answer is how an invocation ended.
type answer struct {
	value []byte // encoded; nil when there is none
	err   error
}

// newID returns an id for an invocation, or for a stream to the server: they share one space.
func (c *calls) newID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	return strconv.FormatUint(c.last, 10)
}

// begin makes answers find p.
func (c *calls) begin(p *pending) error {
	p.id = c.newID()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if c.pending == nil {
		c.pending = map[string]*pending{}
	}
	c.pending[p.id] = p
	if p.answer != nil {
		c.plain++
		c.changed.notify()
	}
	return nil
}

// find returns what waits under id; nil when nothing does.
func (c *calls) find(id string) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[id]
}

// take returns what waits under id, and forgets it; nil when nothing does.
func (c *calls) take(id string) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[id]
	if p != nil {
		delete(c.pending, id)
		if p.answer != nil {
			c.plain--
		}
	}
	return p
}

// waiting says whether an invocation waits for its answer, and returns what is closed when one more does.
func (c *calls) waiting() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plain > 0, c.changed.wait()
}

// complete ends p.
func (p *pending) complete(a answer) {
	if p.answer != nil {
		p.answer <- a
		return
	}
	p.items.close(a.err)
}

// fail ends all of them, and those to come.
func (c *calls) fail(err error) {
	c.mu.Lock()
	all := c.pending
	c.pending, c.plain, c.closed = nil, 0, err
	c.mu.Unlock()
	for _, p := range all {
		p.complete(answer{err: err})
	}
}

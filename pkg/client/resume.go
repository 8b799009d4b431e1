package client

import (
	"context"
	"errors"
	"sync"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// receipts count what was received on a connection that can be resumed, so that nothing is handled twice.
type receipts struct {
	stateful bool

	mu      sync.Mutex
	next    int64 // the number that the next message has
	latest  int64 // the highest number handled
	told    int64 // the number acknowledged last
	awaited bool  // the link is new, and the server has not said yet where it goes on
}

var errSequence = errors.New("client: the server goes on behind what was received: messages are missing")

// fresh counts a message, and says whether it is to be handled: not when it has been before.
func (r *receipts) fresh(t protocol.Type) bool {
	if !r.stateful || !counted(t) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.awaited {
		return false // the server sends it again, behind the Sequence
	}
	n := r.next
	r.next++
	if n <= r.latest {
		return false
	}
	r.latest = n
	return true
}

// counted says whether messages of a type have a number.
func counted(t protocol.Type) bool {
	switch t {
	case protocol.TypeInvocation, protocol.TypeStreamItem, protocol.TypeCompletion, protocol.TypeStreamInvocation, protocol.TypeCancelInvocation:
		return true
	}
	return false
}

// sequence takes the server's word for the number of the next message.
func (r *receipts) sequence(n int64) error {
	if !r.stateful {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.next {
		return errSequence
	}
	r.next, r.awaited = n, false
	r.told = 0 // the acknowledgement of what it sends again was lost
	return nil
}

// due returns what to acknowledge, if that has not been done.
func (r *receipts) due() (id int64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.awaited || r.latest == r.told {
		return 0, false
	}
	r.told = r.latest
	return r.latest, true
}

// await expects a Sequence on a new link. It returns false if the last link never brought one.
func (r *receipts) await() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.awaited {
		return false
	}
	r.awaited = true
	return true
}

// keepState makes the connection one that can be resumed.
func (c *connection) keepState() {
	c.in.stateful, c.in.next = true, 1
	c.out.stateful = true
}

// resumable says whether the connection may go on over a new link, given why the last one ended. It may when that broke, or
// fell silent; whatever the server ended it has forgotten.
func (c *connection) resumable(reason error) bool {
	var broken *brokenError
	return c.route.stateful && c.ctx.Err() == nil && !c.client.isStopping() &&
		(errors.As(reason, &broken) || errors.Is(reason, ErrServerTimeout))
}

var errNotResumed = errors.New("client: the link was resumed and broke again before the server had answered")

// resume opens a new link, once and at once, on which both sides go on where they were: without negotiation and handshake.
func (c *connection) resume() error {
	if !c.in.await() {
		return errNotResumed // trying on would be a tight loop
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.o.HandshakeTimeout)
	defer cancel()
	l, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.buf = c.buf[:0] // half a message of the old link
	c.out.rewind(func(first int64) []byte {
		return c.frame(&protocol.Message{Type: protocol.TypeSequence, SequenceID: first})
	})
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	return nil
}

package hub

import (
	"context"
	"fmt"
	"sync"
)

// maxUnconfirmed bounds the pipelined sends of one connection that the backplane has not answered for, and the calls whose answers
// wait for that.
const maxUnconfirmed = 256

// Pipelined is Clients whose sends do not wait for the backplane: Send returns when the message has its place in the queue for it, and
// the answer to the call waits until the backplane has taken all that the call sent. The method may return meanwhile, and the connection's
// next call runs; so what one client sends in a row travels to the backplane together, which costs far less.
//
// The answers of one connection's calls can then overtake one another: a call that sent nothing, or to a channel of which the backplane
// has answered sooner, is answered before an earlier one whose messages are still unconfirmed. Clients tell answers apart by their ids.
//
// Order is that of Clients. A message that is lost makes the call fail with the error that Send would have returned: ErrUnavailable,
// perhaps with ErrMaybeSent. The client, the log and Hooks.Invoked see it as an error of the method; code of the method does not. What Send
// knows at once it still returns. Use Clients where the method, or the connection's next call, goes on only if the message was sent.
//
// At most 256 of one connection's sends are unconfirmed; the next waits for one of them, as long as its context lasts. Whether its
// context ends later means nothing to a message. Without a backplane, in methods that stream their results, in OnConnected and OnDisconnected,
// and once the call has been answered, there is no answer that could wait: these are Clients then.
func (c *Call) Pipelined() CallClients {
	clients := c.Clients()
	if c.pipes {
		clients.pipe = c
	}
	return clients
}

// piped are the pipelined sends of a call. They have a lock of their own, which nobody holds while he waits: the backplane, whose
// answers come one after the other, must never wait for a call that waits for its slot.
type piped struct {
	mu          sync.Mutex
	unconfirmed int           // how many the backplane has not answered for
	lost        error         // why the first one failed that did
	settled     chan struct{} // closed when none is unconfirmed; made when the answer waits for that
	whole       bool          // the answer is decided: sends wait themselves
	keeps       bool          // its place in the connection's window is kept for the answer
}

// enqueue publishes a payload whose fate decides over the answer.
func (c *Call) enqueue(ctx context.Context, payload []byte, channels []string) error {
	if err := c.conn.takeWindow(ctx); err != nil {
		return err
	}
	b := c.conn.host.server.backplane
	p := &c.piped
	p.mu.Lock()
	if p.whole { // nothing waits for it any more
		p.mu.Unlock()
		<-c.conn.window
		_, err := b.Publish(ctx, payload, channels...)
		return publishError(ctx, err)
	}
	p.unconfirmed++
	p.mu.Unlock()
	err := b.Enqueue(ctx, payload, c.confirmed, channels...)
	if err != nil {
		c.confirmed(nil) // the caller has the error
	}
	return publishError(ctx, err)
}

// confirmed notes that the backplane has answered for a send, or failed. It does not wait.
func (c *Call) confirmed(err error) {
	p := &c.piped
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.lost == nil {
		p.lost = fromBackplane(err)
	}
	p.unconfirmed--
	if p.unconfirmed == 0 && p.settled != nil && !p.whole {
		p.whole, p.keeps = true, true
		close(p.settled)
		return
	}
	<-c.conn.window
}

// leaveWindow gives up the place in the connection's window that was kept for the answer, if one was.
func (c *Call) leaveWindow() {
	p := &c.piped
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeps {
		p.keeps = false
		<-c.conn.window
	}
}

// settle waits, when the method has returned, until nothing that it sent is unconfirmed, and says why something was lost. While it waits,
// others have the call's slot. It gives up when running calls shall stop.
func (c *Call) settle() error {
	p := &c.piped
	p.mu.Lock()
	if p.unconfirmed == 0 {
		defer p.mu.Unlock()
		p.whole = true
		return p.lost
	}
	settled := make(chan struct{})
	p.settled = settled
	p.mu.Unlock()
	c.returned()
	select {
	case <-settled:
	case <-c.ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.whole {
		p.whole = true
		if p.lost == nil {
			return fmt.Errorf("%w; %w: %w", ErrMaybeSent, ErrUnavailable, context.Cause(c.ctx))
		}
	}
	return p.lost
}

// takeWindow waits for room for one more unconfirmed send.
func (c *Connection) takeWindow(ctx context.Context) error {
	c.mu.Lock()
	if c.window == nil {
		c.window = make(chan struct{}, maxUnconfirmed)
	}
	c.mu.Unlock()
	select {
	case c.window <- struct{}{}:
		return nil
	default:
	}
	select {
	case c.window <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hub: %d messages of this connection wait for the backplane: %w", maxUnconfirmed, context.Cause(ctx))
	}
}

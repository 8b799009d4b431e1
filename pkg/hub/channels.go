package hub

import (
	"context"
	"sync"
)

// channels holds the groups and users that have members on this node, each under the name of its channel, and keeps the
// backplane's subscriptions in step: a channel is wanted from its first member to its last.
type channels struct {
	backplane Backplane // nil: none
	mu        sync.RWMutex
	byName    map[string]*channel
}

// channel is one group or user on this node.
type channel struct {
	audience
	pins int // joins under way; guarded by channels.mu
}

// What join does when the backplane does not confirm the subscription.
type joinMode bool

const (
	confirmedOnly joinMode = false // nothing, and says so
	keepAnyway    joinMode = true  // joins all the same; the subscription follows when the backplane is back
)

// join makes c a member. With a backplane it returns after the subscription was confirmed, so that what is sent to
// the channel afterwards, by anyone, reaches c. That is asked each time, also when there are members: the link may have been
// lost since. What else c needs is subscribed to in the same breath.
func (t *channels) join(ctx context.Context, name string, c *Connection, mode joinMode, more ...string) error {
	ch := t.pin(name)
	defer t.unpin(name, ch)
	var err error
	if t.backplane != nil {
		err = fromBackplane(t.backplane.Subscribe(ctx, append(more, name)...))
	}
	if err == nil || mode == keepAnyway {
		ch.add(c)
	}
	return err
}

// leave ends c's membership. It does nothing if there is none.
func (t *channels) leave(name string, c *Connection) {
	t.mu.Lock()
	ch := t.byName[name]
	if ch != nil {
		ch.pins++
	}
	t.mu.Unlock()
	if ch == nil {
		return
	}
	ch.remove(c)
	t.unpin(name, ch)
}

// pin returns the channel and keeps it from being removed.
func (t *channels) pin(name string) *channel {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := t.byName[name]
	if ch == nil {
		if t.byName == nil {
			t.byName = map[string]*channel{}
		}
		ch = &channel{}
		t.byName[name] = ch
	}
	ch.pins++
	return ch
}

// unpin removes the channel if nobody is, or is about to be, a member. It is unsubscribed while the lock is held, so
// that a join that comes right behind subscribes after that, not before.
func (t *channels) unpin(name string, ch *channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch.pins--
	if ch.pins > 0 || ch.len() > 0 {
		return
	}
	delete(t.byName, name)
	if t.backplane != nil {
		t.backplane.Unsubscribe(name)
	}
}

// audience returns the members of a channel; nil when there are none here.
func (t *channels) audience(name string) *audience {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ch := t.byName[name]
	if ch == nil {
		return nil
	}
	return &ch.audience
}

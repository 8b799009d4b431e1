package backplane

import (
	"fmt"
	"sync"
)

// Bounds on what is on its way to Redis: channels in one command, and commands without their confirmations.
const (
	maxChannels = 512
	maxInFlight = 64
)

// table knows for each channel what is wanted, and what was asked of Redis on the present link. Redis answers in order, so
// the commands in flight are a queue, and every confirmation must be the next one expected.
type table struct {
	mu       sync.Mutex
	channels map[string]*channel
	wanted   int   // how many of them are wanted
	why      error // why there is no link; nil while there is one

	// About the present link.
	changes   [2][]*channel // what may have to be unsubscribed [0] and subscribed [1]
	inFlight  []*change
	restoring int  // channels wanted since before this link that are not confirmed yet
	whole     bool // restoring has been zero
	refused   int  // channels that Redis does not let us have

	wake chan struct{} // tells the writer that there may be something to send; room for one
}

type channel struct {
	name     string
	wanted   bool
	asked    bool // the last command sent on this link for it was SUBSCRIBE
	inFlight int  // commands sent for it without confirmation
	listed   bool // it is in one of changes
	alone    bool // its last SUBSCRIBE was refused together with others': ask for it alone
	standing bool // counted in restoring
	refused  error
	waiters  []*waiter
}

// change is one SUBSCRIBE or UNSUBSCRIBE command.
type change struct {
	subscribe bool
	channels  []*channel
	at        int // how many of them are confirmed
}

// waiter is a Subscribe call that waits.
type waiter struct {
	left int        // channels without confirmation; guarded by the table's lock
	done chan error // room for one
}

func newTable() *table {
	return &table{channels: make(map[string]*channel), why: errNotYet, wake: make(chan struct{}, 1)}
}

func (c *channel) confirmed() bool { return c.asked && c.inFlight == 0 }

// want makes channels wanted. The waiter hears when all are confirmed; it is nil when they are already.
func (t *table) want(names []string) (w *waiter, changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w = &waiter{done: make(chan error, 1)}
	for _, name := range names {
		c := t.channels[name]
		if c == nil {
			c = &channel{name: name}
			t.channels[name] = c
		}
		if !c.wanted {
			c.wanted, changed = true, true
			t.wanted++
		}
		if t.why != nil || c.confirmed() {
			continue
		}
		t.forgive(c)
		c.waiters = append(c.waiters, w)
		w.left++
		t.list(c)
	}
	if t.why != nil {
		return nil, changed, &Error{Op: opSubscribe, Channel: first(names), Err: t.why}
	}
	if w.left == 0 {
		return nil, changed, nil
	}
	return w, changed, nil
}

// forget makes channels unwanted. It says whether the number of channels changed, and whether that made the link whole.
func (t *table) forget(names []string) (changed, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		c := t.channels[name]
		if c == nil || !c.wanted {
			continue
		}
		c.wanted, changed = false, true
		t.wanted--
		t.fail(c, errUnwanted)
		t.forgive(c)
		t.stood(c)
		t.list(c)
		t.drop(c)
	}
	return changed, t.turnedWhole()
}

// leave takes back a waiter whose caller waits no longer.
func (t *table) leave(w *waiter, names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		c := t.channels[name]
		if c == nil {
			continue
		}
		for i := 0; i < len(c.waiters); {
			if c.waiters[i] == w {
				c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			} else {
				i++
			}
		}
	}
}

// begin starts a new link: nothing is subscribed on it, and all that is wanted must be.
func (t *table) begin() (whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.why, t.whole, t.refused, t.restoring, t.inFlight = nil, false, 0, 0, nil
	t.changes = [2][]*channel{}
	for _, c := range t.channels {
		c.asked, c.inFlight, c.listed, c.alone, c.refused = false, 0, false, false, nil
		c.standing = c.wanted
		if c.wanted {
			t.restoring++
		}
		t.list(c)
		t.drop(c)
	}
	return t.turnedWhole()
}

// end notes that the link is gone, or still not there, and why.
func (t *table) end(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.why = why
	t.inFlight, t.changes = nil, [2][]*channel{}
	for name, c := range t.channels {
		c.asked, c.inFlight, c.listed, c.standing, c.refused = false, 0, false, false, nil
		t.fail(c, why)
		if !c.wanted {
			delete(t.channels, name)
		}
	}
	t.restoring, t.refused = 0, 0
}

// next gives the next command to send, or nil: then wake tells when to ask again.
func (t *table) next() *change {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why != nil || len(t.inFlight) >= maxInFlight {
		return nil
	}
	for kind := range t.changes {
		if cmd := t.collect(kind); cmd != nil {
			t.inFlight = append(t.inFlight, cmd)
			return cmd
		}
	}
	return nil
}

// collect makes a command of one kind of what is listed for it.
func (t *table) collect(kind int) *change {
	cmd := &change{subscribe: kind == 1}
	list := t.changes[kind]
	for len(list) > 0 && len(cmd.channels) < maxChannels {
		c := list[0]
		if c.wanted && c.alone && len(cmd.channels) > 0 {
			break
		}
		list[0], list = nil, list[1:]
		c.listed = false
		switch {
		case c.wanted == c.asked: // changed its mind meanwhile, or is subscribed already
			t.drop(c)
			continue
		case c.wanted != cmd.subscribe:
			t.list(c)
			continue
		}
		c.asked = c.wanted
		c.inFlight++
		cmd.channels = append(cmd.channels, c)
		if c.alone && cmd.subscribe {
			break
		}
	}
	if t.changes[kind] = list; len(list) == 0 {
		t.changes[kind] = nil // let go of the array
	}
	if len(cmd.channels) == 0 {
		return nil
	}
	return cmd
}

// confirm takes a confirmation from Redis. Anything but the next one expected is an error: the link is not what we think it
// is (a reconnect that nobody reported has exactly this sign), and must be given up. It says whether the link became whole.
func (t *table) confirm(subscribe bool, name string) (whole bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.inFlight) == 0 {
		return false, fmt.Errorf("%w: %q, which was not asked for", errGap, name)
	}
	cmd := t.inFlight[0]
	c := cmd.channels[cmd.at]
	if cmd.subscribe != subscribe || c.name != name {
		return false, fmt.Errorf("%w: %q instead of %q", errGap, name, c.name)
	}
	if cmd.at++; cmd.at == len(cmd.channels) {
		t.pop()
	}
	c.inFlight--
	if c.confirmed() {
		c.alone = false
		for _, w := range c.waiters {
			if w.left--; w.left == 0 {
				w.done <- nil
			}
		}
		c.waiters = nil
		t.stood(c)
	}
	t.drop(c)
	return t.turnedWhole(), nil
}

// refuse takes an error reply to the oldest command in flight. A command that named several channels is repeated for each
// alone, so that one forbidden channel does not cost the others. It says false when there is no such command.
func (t *table) refuse(why error) (known, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.inFlight) == 0 || t.inFlight[0].at != 0 {
		return false, false
	}
	cmd := t.inFlight[0]
	t.pop()
	for _, c := range cmd.channels {
		if c.inFlight--; c.inFlight > 0 {
			continue // a later command decides
		}
		c.asked = false
		switch {
		case !cmd.subscribe || !c.wanted:
			t.list(c)
		case len(cmd.channels) > 1:
			c.alone = true
			t.list(c)
		default:
			c.refused = why
			t.refused++
			t.fail(c, why)
			t.stood(c)
		}
		t.drop(c)
	}
	return true, t.turnedWhole()
}

// count is how many channels are wanted.
func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wanted
}

// refusal is an error while there are channels that Redis does not let us have.
func (t *table) refusal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == 0 {
		return nil
	}
	for _, c := range t.channels {
		if c.refused != nil {
			return fmt.Errorf("%d subscriptions are refused, among them %q: %w", t.refused, c.name, c.refused)
		}
	}
	return nil
}

// list notes that the writer must look at a channel.
func (t *table) list(c *channel) {
	if c.listed || t.why != nil || c.wanted == c.asked {
		return
	}
	kind := 0
	if c.wanted {
		kind = 1
	}
	c.listed = true
	t.changes[kind] = append(t.changes[kind], c)
	t.nudge()
}

// drop forgets a channel that nobody wants and of which nothing is on its way.
func (t *table) drop(c *channel) {
	if !c.wanted && !c.asked && c.inFlight == 0 && !c.listed && t.channels[c.name] == c {
		delete(t.channels, c.name)
	}
}

func (t *table) fail(c *channel, why error) {
	for _, w := range c.waiters {
		select {
		case w.done <- &Error{Op: opSubscribe, Channel: c.name, Err: why}:
		default: // it has failed, or been served, already
		}
	}
	c.waiters = nil
}

func (t *table) forgive(c *channel) {
	if c.refused != nil {
		c.refused = nil
		t.refused--
	}
}

// stood notes that a standing channel is settled: confirmed, refused or unwanted.
func (t *table) stood(c *channel) {
	if c.standing {
		c.standing = false
		t.restoring--
	}
}

func (t *table) turnedWhole() bool {
	if t.whole || t.why != nil || t.restoring > 0 {
		return false
	}
	t.whole = true
	return true
}

func (t *table) pop() {
	t.inFlight[0], t.inFlight = nil, t.inFlight[1:]
	t.nudge()
}

func (t *table) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

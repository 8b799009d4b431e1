package hub

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// drainTick is how often a drain looks at those who are on their way out.
	drainTick = 20 * time.Millisecond
	// lookTick is how often it looks for new ones, which costs more: all are looked at.
	lookTick = 200 * time.Millisecond
	// settle is how long after it came a connection is left alone, when it shall go or when its identity expires: official clients
	// take a Close right behind the handshake's answer for a failed start, and do not come back.
	settle = 2 * time.Second
	// handshakePatience is how long a handshake may take while others are sent away.
	handshakePatience = 5 * time.Second
	// callPatience is how long a connection that shall go waits for what it has called.
	callPatience = 5 * time.Second
	// lastCalls is the part of that in which it takes no new calls: one that calls without a pause would always have one running.
	lastCalls = time.Second
	// maxSpacing bounds the time between two goodbyes: a few clients need not wait for a window made for many.
	maxSpacing = 100 * time.Millisecond
)

// drain sends the connections of a server away. It runs on its caller's goroutine, and keeps nothing in the connections but what
// concerns themselves.
type drain struct {
	server     *Server
	window     time.Duration
	handshakes time.Duration
	gone       <-chan struct{} // closed when there can be nothing left to do; nil when nobody knows

	known   map[*Connection]bool
	before  map[*Connection]bool // the last known ones; both are used in turns
	waiting []*departure         // in the order of their turns
	under   []*departure         // those whose turn has come
	spacing time.Duration
	next    int64 // the turn of the next one to be found; times are server.clock's
}

// departure is one connection that shall go.
type departure struct {
	conn  *Connection
	turn  int64 // when
	since int64 // when it was told so; 0 before
	mark  int64 // the last message that a stateful client must acknowledge first
}

func newDrain(s *Server, window, handshakes time.Duration) *drain {
	return &drain{server: s, window: window, handshakes: handshakes, known: map[*Connection]bool{}, before: map[*Connection]bool{}}
}

// run returns when no connection is left, or with the error of ctx.
func (d *drain) run(ctx context.Context) error {
	patience := callPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(0, time.Until(deadline)-d.window)/2) // the other half is for goodbyes
	}
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	look := int64(0)
	for {
		now := d.server.clock()
		if now >= look {
			if d.find(now) == 0 {
				return nil
			}
			look = now + int64(lookTick)
		}
		for len(d.waiting) > 0 && d.waiting[0].turn <= now {
			d.under = append(d.under, d.waiting[0])
			d.waiting = d.waiting[1:]
		}
		left := d.under[:0]
		for _, p := range d.under {
			if !d.step(p, now, patience) {
				left = append(left, p)
			}
		}
		clear(d.under[len(left):])
		d.under = left
		if len(d.under) == 0 && len(d.waiting) == 0 {
			look = now // perhaps that was all
		}
		select {
		case <-ticker.C:
		case <-d.gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// find gives those a turn who have none yet, and returns how many connections there are.
func (d *drain) find(now int64) int {
	conns := d.server.beat.connections(nil)
	found := make([]*departure, 0, len(conns)-min(len(conns), len(d.known)))
	here := d.before
	clear(here)
	for _, c := range conns {
		if here[c] = true; !d.known[c] {
			found = append(found, &departure{conn: c})
		}
	}
	d.known, d.before = here, d.known // which forgets those that have gone
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	if d.spacing == 0 && len(found) > 0 {
		d.spacing = min(d.window/time.Duration(len(found)), maxSpacing)
		d.next = now
	}
	d.next = max(d.next, now)
	for _, p := range found {
		p.turn = d.next
		if half := int64(d.spacing / 2); half > 0 {
			p.turn += rand.N(2*half) - half
		}
		d.next += int64(d.spacing)
	}
	d.waiting = append(d.waiting, found...)
	return len(conns)
}

// step takes a connection nearer to its end. It returns true when there is nothing more to do for it.
func (d *drain) step(p *departure, now int64, patience time.Duration) (over bool) {
	c := p.conn
	switch opened := c.opened.Load(); {
	case c.hasEnded():
		return true
	case opened == 0:
		if now-c.accepted >= int64(d.handshakes) {
			c.link().Abort() // it does not get through its handshake
			return true
		}
		return false
	case now-opened < int64(settle):
		return false
	}
	if p.since == 0 {
		p.since = now
		if c.session != nil {
			p.mark = c.out.lastNumber()
		}
	}
	if c.session != nil && c.out.suspended() {
		// Its client is awaited: what it has not got would be lost with its queue.
		p.since = now
		return false
	}
	waited := time.Duration(now - p.since)
	if waited >= patience-min(patience, lastCalls) && waited > 0 {
		c.takeNoCalls()
	}
	if c.session != nil {
		if waited < patience && !c.out.acknowledgedUpTo(p.mark) {
			return false
		}
		c.acknowledge()
	}
	return c.endWhenIdle(waited >= patience)
}

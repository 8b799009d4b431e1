package hub

import (
	"errors"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// heartbeat pings clients and finds those that are silent. It does so for all connections of a server on one goroutine, which exists
// only while there are connections.
type heartbeat struct {
	server *Server

	mu      sync.Mutex
	members []member      // each connection knows its place
	period  time.Duration // how often to look
	running bool
	tasks   sync.WaitGroup
	wakeup  chan struct{} // ends the goroutine's pause early
	pings   [maxCodecs]*transport.Frame
}

// member is a connection in the heartbeat's list. When nothing can be due for it is written beside it: to ask thousands of idle
// connections each second would bring each of them into the processor's caches.
type member struct {
	conn *Connection
	due  int64 // in nanoseconds since server.epoch
}

// tick is how often the connections are looked at, as in ASP.NET Core; more often only when a limit is shorter.
const tick = time.Second

func (b *heartbeat) add(c *Connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.place = len(b.members)
	b.members = append(b.members, member{conn: c})
	if period := c.host.limits.period(); period < b.period || len(b.members) == 1 {
		b.period = period
	}
	if b.running {
		return
	}
	b.running = true
	b.wakeup = make(chan struct{}, 1)
	b.tasks.Go(b.run)
}

func (b *heartbeat) remove(c *Connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.members) - 1
	b.members[c.place] = b.members[last]
	b.members[c.place].conn.place = c.place
	b.members[last] = member{}
	b.members = b.members[:last]
	if last == 0 {
		b.members = nil
		b.wake()
	}
}

// wake ends the pause. b.mu must be held.
func (b *heartbeat) wake() {
	if !b.running {
		return
	}
	select {
	case b.wakeup <- struct{}{}:
	default: // it is awake
	}
}

// connections appends all connections to dst, those in their handshake too.
func (b *heartbeat) connections(dst []*Connection) []*Connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.members {
		dst = append(dst, m.conn)
	}
	return dst
}

// wait returns when the goroutine has ended, which it does by itself when there are no connections.
func (b *heartbeat) wait() { b.tasks.Wait() }

func (b *heartbeat) run() {
	var due []member
	pause := time.NewTimer(tick)
	defer pause.Stop()
	for {
		now := b.server.clock()
		var period time.Duration
		if due, period = b.due(due, now); period == 0 {
			return
		}
		for i := range due {
			due[i].due = b.look(due[i].conn, now)
		}
		b.note(due)
		pause.Reset(period)
		select {
		case <-pause.C:
		case <-b.wakeup:
		}
	}
}

// due are the connections to look at now, in place of what dst held, and how long to pause after that. The pause is 0 when there are no
// connections; then the goroutine must end.
func (b *heartbeat) due(dst []member, now int64) ([]member, time.Duration) {
	dst = dst[:0]
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.members) == 0 {
		b.running = false
		return dst, 0
	}
	for _, m := range b.members {
		if m.due <= now {
			dst = append(dst, m)
		}
	}
	return dst, b.period
}

// note writes down when those that were looked at are due again, and forgets them.
func (b *heartbeat) note(looked []member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range looked {
		if i := m.conn.place; i < len(b.members) && b.members[i].conn == m.conn { // it has not left
			b.members[i].due = m.due
		}
	}
	clear(looked)
}

// period is how often a connection with these limits must be looked at.
func (l Limits) period() time.Duration {
	p := tick
	for _, d := range []time.Duration{l.KeepAlive, l.ClientTimeout} {
		if d > 0 {
			p = min(p, max(d/4, time.Millisecond))
		}
	}
	return p
}

var errSilent = &failure{"OperationCanceledException", "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."}
var errVanished = errors.New("the client no longer answers")

// look does what is due for one connection, and returns the earliest time at which something may be due again. The client's
// silence counts only once it has pinged, and only while we are not ourselves at work on what it sent (SignalR). A client that never pings is asked with the transport's own ping, if that has one,
// and is gone when not even that is answered. One that polls shows itself by that, and is not pinged.
func (b *heartbeat) look(c *Connection, now int64) (next int64) {
	l := &c.host.limits
	if c.opened.Load() == 0 {
		return 0 // its handshake has a timeout of its own
	}
	if l.ClientTimeout > 0 && c.armed.Load() && !c.reading.Load() && now-c.lastBatch.Load() >= int64(l.ClientTimeout) {
		c.end(endTimeout, errSilent)
		return 0
	}
	if c.expired() && now-c.opened.Load() >= int64(settle) {
		c.end(endExpired, nil)
		return 0
	}
	if c.session != nil && now-c.lastAck >= int64(tick) {
		c.lastAck = now
		c.acknowledge()
	}
	b.ping(c, now)
	return c.nextLook(now)
}

// nextLook is when something may be due for c, at the earliest: its silence counts from its last message, or from the first that is yet
// to come.
func (c *Connection) nextLook(now int64) int64 {
	if c.session != nil || c.host.closeExpired {
		return 0 // each time
	}
	l := &c.host.limits
	next := now + int64(l.interval())
	if c.link().Kind() != transport.LongPolling {
		next = c.lastPing.Load() + int64(l.interval())
	}
	if l.ClientTimeout <= 0 {
		return next
	}
	heard := now
	if c.armed.Load() {
		heard = c.lastBatch.Load()
	}
	return min(next, heard+int64(l.ClientTimeout))
}

// interval is the time between two pings; without pings, who has vanished is looked for all the same.
func (l *Limits) interval() time.Duration {
	if l.KeepAlive < 0 {
		return DefaultKeepAlive
	}
	return l.KeepAlive
}

// ping pings a client when it is time.
func (b *heartbeat) ping(c *Connection, now int64) {
	l := &c.host.limits
	link := c.link()
	interval := l.interval()
	if link.Kind() == transport.LongPolling || now-c.lastPing.Load() < int64(interval) {
		return // a poll is a sign of life by itself
	}
	c.lastPing.Store(now)
	if c.session != nil && c.out.suspended() {
		return // it has a timeout of its own
	}
	if silent := time.Since(link.LastRead()); link.Kind() == transport.WebSockets && silent >= interval {
		if l.ClientTimeout > 0 && silent > l.ClientTimeout+interval && !c.reading.Load() {
			c.end(endVanished, errVanished)
			return
		}
		link.Ping()
	}
	if l.KeepAlive > 0 && !c.out.busy() { // what is being written tells the client as much
		b.sendPing(c)
	}
}

// renew notes until when it is known who the client is, if that matters.
func (c *Connection) renew(id Identity) {
	switch {
	case !c.host.closeExpired:
	case id.Expires.IsZero():
		c.expires.Store(0)
	default:
		c.expires.Store(id.Expires.UnixNano())
	}
}

// renewed is told of the identity that a later request of a connection has brought; its user is the same.
func (h *host) renewed(id string, identity any) {
	if c := h.connections.get(id); c != nil {
		c.renew(identity.(Identity))
	}
}

// expired says whether it is no longer known who the client is. It goes by the clock on the wall, as those do who issue tokens.
func (c *Connection) expired() bool {
	expires := c.expires.Load()
	return expires != 0 && time.Now().UnixNano() >= expires
}

func (b *heartbeat) sendPing(c *Connection) {
	switch {
	case c.session == nil:
		c.push(b.pingFrame(c))
	case c.out.pushControl(b.pingFrame(c)):
		go c.out.run()
	}
}

// pingFrame is the Ping message in the protocol of c, encoded once. Only the heartbeat's goroutine calls it.
func (b *heartbeat) pingFrame(c *Connection) *transport.Frame {
	f := b.pings[c.codec]
	if f == nil {
		f = c.frame(&protocol.Message{Type: protocol.TypePing})
		b.pings[c.codec] = f
	}
	return f
}

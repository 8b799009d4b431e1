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
	members []*Connection // each knows its place
	running bool
	tasks   sync.WaitGroup
	wakeup  chan struct{} // ends the goroutine's pause early
	pings   [maxCodecs]*transport.Frame
}

// tick is how often the connections are looked at, as in ASP.NET Core; more often only when a limit is shorter.
const tick = time.Second

func (b *heartbeat) add(c *Connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.place = len(b.members)
	b.members = append(b.members, c)
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
	b.members[c.place].place = c.place
	b.members[last] = nil
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
	return append(dst, b.members...)
}

// wait returns when the goroutine has ended, which it does by itself when there are no connections.
func (b *heartbeat) wait() { b.tasks.Wait() }

func (b *heartbeat) run() {
	var conns []*Connection
	pause := time.NewTimer(tick)
	defer pause.Stop()
	for {
		b.mu.Lock()
		if len(b.members) == 0 {
			b.running = false
			b.mu.Unlock()
			return
		}
		conns = append(conns[:0], b.members...)
		b.mu.Unlock()
		next := tick
		now := b.server.clock()
		for i, c := range conns {
			b.look(c, now)
			next = min(next, c.host.limits.period())
			conns[i] = nil
		}
		pause.Reset(next)
		select {
		case <-pause.C:
		case <-b.wakeup:
		}
	}
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

// look does what is due for one connection. The client's silence counts only once it has pinged, and only while we are not
// ourselves at work on what it sent (SignalR). A client that never pings is asked with the transport's own ping, if that has one,
// and is gone when not even that is answered. One that polls shows itself by that, and is not pinged.
func (b *heartbeat) look(c *Connection, now int64) {
	l := &c.host.limits
	if c.opened.Load() == 0 {
		return // its handshake has a timeout of its own
	}
	if l.ClientTimeout > 0 && c.armed.Load() && !c.reading.Load() && now-c.lastBatch.Load() >= int64(l.ClientTimeout) {
		c.end(endTimeout, errSilent)
		return
	}
	if c.expired() && now-c.opened.Load() >= int64(settle) {
		c.end(endExpired, nil)
		return
	}
	if c.session != nil && now-c.lastAck >= int64(tick) {
		c.lastAck = now
		c.acknowledge()
	}
	link := c.link()
	interval := l.KeepAlive
	if interval < 0 {
		interval = DefaultKeepAlive // without pings, who has vanished is looked for all the same
	}
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
		c.push(b.ping(c))
	case c.out.pushControl(b.ping(c)):
		go c.out.run()
	}
}

// ping is the Ping message in the protocol of c, encoded once. Only the heartbeat's goroutine calls it.
func (b *heartbeat) ping(c *Connection) *transport.Frame {
	f := b.pings[c.codec]
	if f == nil {
		f = c.frame(&protocol.Message{Type: protocol.TypePing})
		b.pings[c.codec] = f
	}
	return f
}

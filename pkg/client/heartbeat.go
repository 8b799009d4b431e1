package client

import (
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// pulse knows when the server was last heard of.
type pulse struct {
	start   time.Time
	last    atomic.Int64 // since start
	waiting atomic.Bool  // the reader waits for someone here, so that silence says nothing about the server
}

func (p *pulse) beat() { p.last.Store(int64(time.Since(p.start))) }

func (p *pulse) silence() time.Duration {
	if p.waiting.Load() {
		return 0
	}
	return time.Since(p.start) - time.Duration(p.last.Load())
}

// busy says that the reader may have to wait, until the returned function is called.
func (p *pulse) busy() (done func()) {
	p.waiting.Store(true)
	return func() {
		p.beat()
		p.waiting.Store(false)
	}
}

// ackInterval is the time between acknowledgements, as the official clients have it.
const ackInterval = time.Second

// heartbeat sends pings and acknowledgements, and watches over the server's silence, until the connection ends. Long polling
// needs neither ping nor watch: each poll is answered within a time.
func (c *connection) heartbeat() {
	var pings, silence, acks <-chan time.Time
	var watch *time.Timer
	if c.route.transport != LongPolling {
		if c.o.KeepAlive > 0 {
			ticker := time.NewTicker(c.o.KeepAlive)
			defer ticker.Stop()
			pings = ticker.C
			c.ping() // the server watches over clients that have pinged
		}
		if c.o.ServerTimeout > 0 {
			watch = time.NewTimer(c.o.ServerTimeout)
			defer watch.Stop()
			silence = watch.C
		}
	}
	if c.route.stateful {
		ticker := time.NewTicker(ackInterval)
		defer ticker.Stop()
		acks = ticker.C
	}
	for {
		select {
		case <-pings:
			c.ping()
		case <-silence:
			left := c.o.ServerTimeout - c.pulse.silence()
			if left <= 0 {
				c.cut(ErrServerTimeout)
				left = c.o.ServerTimeout
			}
			watch.Reset(left)
		case <-acks:
			if id, due := c.in.due(); due {
				c.out.hurry(c.frame(&protocol.Message{Type: protocol.TypeAck, SequenceID: id}))
			}
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *connection) ping() { c.out.hurry(c.frame(&protocol.Message{Type: protocol.TypePing})) }

package backplane

import (
	"context"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// probeInterval is the time between two probes: rare enough to cost nothing, and often enough for a minute's quantile.
	probeInterval = time.Second
	// probeTimeout is how long a probe may be away.
	probeTimeout = 5 * time.Second
)

// ProbeHooks are told what became of each probe. Nil ones are skipped.
type ProbeHooks struct {
	// Returned is called for a probe that came back, with how long it was away.
	Returned func(took time.Duration)
	// Lost is called for one that could not be published, or did not come back within 5 s.
	Lost func()
}

// Channels is what a Probe measures: any backplane.
type Channels interface {
	Attach(deliver func(channel string, payload []byte), flush func())
	Publish(ctx context.Context, payload []byte, channels ...string) (receivers int, err error)
	Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error
	Subscribe(ctx context.Context, channels ...string) error
	Unsubscribe(channels ...string)
	Subscribers(ctx context.Context, channel string) (int, error)
}

// Probe is a backplane that measures itself: while Run runs it sends a message to this very node once a second, by the way that all
// others take, and times it. One clock is enough for that. Nothing else changes.
type Probe struct {
	Channels
	channel string
	hooks   ProbeHooks

	mu       sync.Mutex
	number   uint64 // of the probe that is away
	sent     time.Time
	returned chan struct{} // closed when it is back; nil when none is away
}

// NewProbe measures b over a channel of this name, which must be this node's alone.
func NewProbe(b Channels, channel string, h ProbeHooks) *Probe {
	return &Probe{Channels: b, channel: channel, hooks: h}
}

// Attach is that of the backplane, for all channels but the probe's.
func (p *Probe) Attach(deliver func(channel string, payload []byte), flush func()) {
	p.Channels.Attach(func(channel string, payload []byte) {
		if channel == p.channel {
			p.receive(payload)
			return
		}
		deliver(channel, payload)
	}, flush)
}

// Run probes until ctx ends, and then returns nil. The backplane must be attached.
func (p *Probe) Run(ctx context.Context) error {
	// An error leaves the channel wanted, and it is subscribed to when the backplane is there; until then probes are lost.
	_ = p.Subscribe(ctx, p.channel)
	defer p.Unsubscribe(p.channel)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for number := uint64(1); ; number++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !p.send(ctx, number) && ctx.Err() == nil && p.hooks.Lost != nil {
			p.hooks.Lost()
		}
	}
}

// send says whether a probe came back.
func (p *Probe) send(ctx context.Context, number uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	returned := make(chan struct{})
	p.mu.Lock()
	p.number, p.sent, p.returned = number, time.Now(), returned
	p.mu.Unlock()
	if _, err := p.Publish(ctx, binary.BigEndian.AppendUint64(nil, number), p.channel); err != nil {
		return false
	}
	select {
	case <-returned:
		return true
	case <-ctx.Done():
		return false
	}
}

// receive notes that a probe is back. One that comes after its time was counted as lost already.
func (p *Probe) receive(payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.returned == nil || len(payload) != 8 || binary.BigEndian.Uint64(payload) != p.number || time.Since(p.sent) > probeTimeout {
		return
	}
	close(p.returned)
	p.returned = nil
	if p.hooks.Returned != nil {
		p.hooks.Returned(time.Since(p.sent))
	}
}

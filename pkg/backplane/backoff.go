package backplane

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the pause before the next attempt after so many failures in a row: none before the first attempt, then
// doubling from lowest to highest. It varies at random by a half, so that many nodes that lost one Redis at the same moment
// do not come back at the same moment.
type backoff struct{ lowest, highest time.Duration }

func (b backoff) pause(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	d := b.highest
	if shift := failures - 1; shift < 32 && b.lowest<<shift < b.highest {
		d = b.lowest << shift
	}
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d, or until ctx ends; it says whether it waited to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// prober lets one lane at a time try to connect, so that a Redis that is down sees one attempt per pause however many lanes
// there are, and one that is back is found by one of them and then joined by the others at once.
type prober struct {
	backoff
	turn     chan struct{} // holds one token; its holder owns failures
	failures int
}

func newProber(o RedisOptions) *prober {
	return &prober{backoff: backoff{o.RetryMin, o.RetryMax}, turn: make(chan struct{}, 1)}
}

// connect tries until dial succeeds or ctx ends (then false). young is how often in a row the caller's connections died
// soon after they were made: a server that accepts and drops is not dialled in a tight loop.
func (p *prober) connect(ctx context.Context, young int, dial func(context.Context) error) bool {
	for {
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		ok := sleep(ctx, p.pause(max(p.failures, young)))
		if ok {
			if ok = dial(ctx) == nil; ok {
				p.failures = 0
			} else {
				p.failures++
			}
		}
		<-p.turn
		if ok || ctx.Err() != nil {
			return ok
		}
	}
}

package transport

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestClaims(t *testing.T) {
	var c claims
	now := time.Unix(1_800_000_000, 0)
	k := newConnectionKey()
	expect := func(what string, want firstUse) {
		t.Helper()
		if got, _ := c.claim(k, nil, now); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("the first", fresh)
	expect("while it is in use", live)
	c.release(k)
	expect("after a release", fresh)
	issued := now.Add(clockSkew) // by a node whose clock is ahead
	c.end(k, issued, now)
	for now.Sub(issued) <= tokenLife {
		expect("while its age alone would admit it", ended)
		now = now.Add(time.Second)
	}
}

// A generation ends soon after the key came into it.
func TestClaimsKeepTheOlderGeneration(t *testing.T) {
	var c claims
	start := time.Unix(1_800_000_000, 0)
	c.claim(newConnectionKey(), nil, start)
	k, later := newConnectionKey(), start.Add(tokenLife+clockSkew-time.Second)
	c.claim(k, nil, later)
	c.end(k, later, later)
	if got, _ := c.claim(k, nil, later.Add(2*time.Second)); got != ended {
		t.Errorf("%v, want %v", got, ended)
	}
}

func TestClaimsForget(t *testing.T) {
	var c claims
	start := time.Unix(1_800_000_000, 0)
	now := start
	most := 0
	for i := range 10_000 { // ten a second, for a thousand seconds
		now = start.Add(time.Duration(i) * 100 * time.Millisecond)
		k := newConnectionKey()
		if use, _ := c.claim(k, nil, now); use != fresh {
			t.Fatal("a new key is not fresh")
		}
		c.end(k, now, now)
		most = max(most, len(c.young[0])+len(c.young[1]))
	}
	if most > 620 {
		t.Errorf("%d ended keys are remembered, more than those of a minute", most)
	}
	if len(c.inUse) != 0 {
		t.Errorf("%d keys are in use, want none", len(c.inUse))
	}
	old := newConnectionKey()
	c.claim(old, nil, now)
	before := len(c.young[0])
	c.end(old, now.Add(-time.Hour), now)
	if len(c.young[0]) != before {
		t.Error("a connection that lived for long is remembered, though its age refuses it")
	}
}

func TestClaimsOneWins(t *testing.T) {
	var c claims
	var won atomic.Int32
	var all sync.WaitGroup
	k := newConnectionKey()
	for range 50 {
		all.Go(func() {
			if use, _ := c.claim(k, nil, time.Now()); use == fresh {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won, want one", won.Load())
	}
}

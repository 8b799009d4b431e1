package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// flight is what one sender has under way, and what it has sent.
type flight struct {
	w        *worker
	sender   int
	client   *client
	channels []int    // to which it sends in turns
	place    []int    // where each channel stands in channels; -1 for those of other workers
	sent     []uint64 // to each channel of the plan
	slots    []slot   // of a closed loop
	wake     chan struct{}
}

// slot is one message under way. Messages use slots in turns.
type slot struct {
	serial atomic.Uint64 // which message of the sender has it
	left   atomic.Int32  // how many receivers have not got it
}

func newFlight(w *worker, sender int, c *client) *flight {
	f := &flight{w: w, sender: sender, client: c, sent: make([]uint64, w.plan.channels()), wake: make(chan struct{}, 1)}
	f.place = make([]int, len(f.sent))
	for ch := range f.place {
		f.place[ch] = -1
		if w.present[ch].Load() > 0 {
			f.channels = append(f.channels, ch)
		}
	}
	if n := len(f.channels); n > 0 { // each sender begins somewhere else
		first := n * sender / max(w.plan.Senders, 1) % n
		f.channels = append(f.channels[first:len(f.channels):len(f.channels)], f.channels[:first]...)
	}
	for i, ch := range f.channels {
		f.place[ch] = i
	}
	if w.plan.Rate == 0 {
		f.slots = make([]slot, w.plan.InFlight)
	}
	return f
}

// landed notes that a receiver got a message.
func (f *flight) landed(st stamp) {
	if len(f.slots) == 0 || f.place[st.channel] < 0 {
		return
	}
	serial := st.number*uint64(len(f.channels)) + uint64(f.place[st.channel])
	s := &f.slots[serial%uint64(len(f.slots))]
	if s.serial.Load() == serial && s.left.Add(-1) == 0 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// run sends until ctx ends.
func (f *flight) run(ctx context.Context) {
	if len(f.channels) == 0 {
		return
	}
	if f.w.plan.Rate > 0 {
		f.open(ctx)
		return
	}
	stuck := time.NewTimer(time.Hour)
	defer stuck.Stop()
	for serial := uint64(0); ctx.Err() == nil; serial++ {
		s := &f.slots[serial%uint64(len(f.slots))]
		if s.left.Load() > 0 && !f.await(ctx, s, stuck) {
			return
		}
		ch := f.channels[serial%uint64(len(f.channels))]
		s.serial.Store(serial)
		s.left.Store(f.w.present[ch].Load())
		if !f.send(ch, now()) {
			return
		}
	}
}

// await waits for a slot, but not for ever: its message may be lost.
func (f *flight) await(ctx context.Context, s *slot, stuck *time.Timer) bool {
	stuck.Reset(f.w.plan.Timeout)
	defer stuck.Stop()
	for s.left.Load() > 0 {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return false
		case <-stuck.C:
			f.w.stats.fail("a message did not reach everyone within the timeout", nil)
			return true
		}
	}
	return true
}

// open sends at a steady rate: what is late is sent at once, and its latency counts from when it was due.
func (f *flight) open(ctx context.Context) {
	interval := float64(time.Second) * float64(f.w.plan.Senders) / float64(f.w.plan.Rate)
	start := now() + int64(interval*float64(f.sender)/float64(f.w.plan.Senders)) // senders take turns
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for serial := uint64(0); ; serial++ {
		due := start + int64(float64(serial)*interval)
		if !sleepUntil(ctx, pause, due) || !f.send(f.channels[serial%uint64(len(f.channels))], due) {
			return
		}
	}
}

// sleepUntil returns at that time, or at once when it has passed. It returns false when ctx has ended.
func sleepUntil(ctx context.Context, pause *time.Timer, at int64) bool {
	if wait := at - now(); wait > 0 {
		pause.Reset(time.Duration(wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// send sends the next message to a channel; false when the sender's connection is over.
func (f *flight) send(channel int, due int64) bool {
	p := &f.w.plan
	text := string(f.w.stamper.append(nil, stamp{sender: f.sender, channel: channel, number: f.sent[channel], due: due}))
	method, args := p.Send, []any{user(f.sender), text}
	switch p.Scenario {
	case scenarioGroups:
		method, args = p.SendToGroup, []any{p.room(channel), user(f.sender), text}
	case scenarioUsers:
		method, args = p.SendToUser, []any{p.userName(channel), user(f.sender), text}
	}
	b, err := f.w.codec.AppendInvocation(nil, "", method, args)
	if err == nil {
		f.sent[channel]++
		f.w.stats.sent.Add(1)
		err = f.client.send(b)
	}
	if err != nil {
		if !errors.Is(context.Cause(f.w.life), errFinished) {
			f.w.stats.fail("a sender stopped", err)
		}
		return false
	}
	return true
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// target is what is loaded.
type target struct {
	name             string
	urls, senderURLs []string
	pids             []int
	beside           []int // processes that are measured, but are not the target
}

// phaseConnect is the time while connections are opened.
const phaseConnect = "connect"

// progress prints what goes on while it does.
type progress struct {
	out      io.Writer // nil: nowhere
	terminal bool      // lines are written over each other
}

func (p progress) print(name, phase string, pt point) {
	if p.out == nil {
		return
	}
	line := fmt.Sprintf("%6.1fs  %-12s %-8s %8s open %11s/s %10s p50 %10s p99 %10s max  %s",
		pt.At, name, phase, thousands(pt.Open), thousands(int64(float64(pt.Delivered)/max(pt.Seconds, 1e-9))),
		milliseconds(pt.P50), milliseconds(pt.P99), milliseconds(pt.Max), count(int(pt.Errors), "error", "errors"))
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K"+line)
		return
	}
	fmt.Fprintln(p.out, line)
}

// done ends the line that is written over.
func (p progress) done() {
	if p.out != nil && p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// run gives a target one turn.
func run(ctx context.Context, p plan, t target, r reach, bar progress) (res *result, err error) {
	p.URLs, p.SenderURLs = t.urls, t.senderURLs
	p.Workers = r.Workers
	members, stop, err := muster(p)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer bar.done()
	defer context.AfterFunc(ctx, stop)()
	m, err := newMeter(members, t.pids, t.beside)
	if err != nil {
		return nil, err
	}
	res = &result{Target: t.name, Title: p.title(), Plan: p, Reach: r, Started: m.start}
	turn := &turn{meter: m, bar: bar, name: t.name}
	defer func() {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()

	connecting := m.begin()
	if err := turn.each(phaseConnect, connecting, func(mb member, _ int) error { return mb.connect() }); err != nil {
		return nil, err
	}
	m.end(connecting)
	res.Connected, res.ConnectSeconds, res.Connecting = connecting.connections, connecting.seconds, summarize(connecting.latency, true)

	if res.Connected == 0 && p.Scenario != scenarioConnect {
		turn.fill(res, connecting) // there is nothing to measure, only errors to report
		return res, nil
	}
	sent, measured, err := turn.measure(&p)
	if err != nil {
		return nil, err
	}
	if p.Scenario == scenarioConnect {
		res.Connected = measured.connections
	}
	res.Connected = max(res.Connected, measured.connections)
	if err := turn.each("settle", nil, func(mb member, _ int) error { return mb.settle(sent) }); err != nil {
		return nil, err
	}
	if err := turn.each("finish", nil, func(mb member, _ int) error {
		v, err := mb.finish(sent)
		turn.mu.Lock()
		res.Verdict.add(v)
		turn.mu.Unlock()
		return err
	}); err != nil {
		return nil, err
	}
	turn.fill(res, measured)
	return res, nil
}

// muster makes the workers; stop ends them, and may be called more than once.
func muster(p plan) (members []member, stop func(), err error) {
	stop = sync.OnceFunc(func() {
		for _, m := range members {
			m.stop()
		}
	})
	if p.Workers == 1 {
		members = append(members, local{newWorker(p)})
		return members, stop, nil
	}
	for w := range p.Workers {
		p.Worker = w
		r, err := startRemote(p)
		if err != nil {
			stop()
			return nil, nil, err
		}
		members = append(members, r)
	}
	return members, stop, nil
}

// turn is one run under way.
type turn struct {
	meter *meter
	bar   progress
	name  string
	mu    sync.Mutex
}

// each lets all members do something, and samples once a second meanwhile and once at the end.
func (t *turn) each(phase string, w *window, do func(mb member, i int) error) error {
	done := t.start(do)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if _, sampleErr := t.sample(phase, w); err == nil {
				err = sampleErr
			}
			return err
		case <-tick.C:
			if _, err := t.sample(phase, w); err != nil {
				return err
			}
		}
	}
}

// start lets all members do something; the result comes when the last has done it.
func (t *turn) start(do func(mb member, i int) error) <-chan error {
	done := make(chan error, 1)
	var group sync.WaitGroup
	errs := make([]error, len(t.meter.members))
	for i, mb := range t.meter.members {
		group.Go(func() { errs[i] = do(mb, i) })
	}
	go func() { // ends with the members, whom stop ends
		group.Wait()
		done <- errors.Join(errs...)
	}()
	return done
}

func (t *turn) sample(phase string, w *window) (point, error) {
	pt, err := t.meter.sample(phase, w)
	if err == nil {
		t.bar.print(t.name, phase, pt)
	}
	return pt, err
}

// measure runs the scenario. What is measured begins after the warm-up and ends when the time is up, except for storms,
// which take as long as they take.
func (t *turn) measure(p *plan) (map[int][]uint64, *window, error) {
	storm := p.Scenario == scenarioConnect || p.Scenario == scenarioReconnect
	warmup := p.Warmup
	if storm {
		warmup = 0
	}
	sent := make(map[int][]uint64)
	done := t.start(func(mb member, _ int) error {
		part, err := mb.run(warmup + p.Duration)
		t.mu.Lock()
		defer t.mu.Unlock()
		for s, n := range part {
			sent[s] = n
		}
		return err
	})
	var w, measured *window
	warm, over := time.After(warmup), time.After(warmup+p.Duration)
	if warmup == 0 {
		w, warm = t.meter.begin(), nil
	}
	if storm {
		over = nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		phase := "warm-up"
		if w != nil {
			phase = "measure"
		}
		var err error
		select {
		case <-warm:
			_, err = t.meter.sample(phase, nil)
			w = t.meter.begin()
			tick.Reset(time.Second)
		case <-tick.C:
			if measured == nil {
				_, err = t.sample(phase, w)
			}
		case <-over:
			_, err = t.sample(phase, w)
			t.meter.end(w)
			measured = w
		case err = <-done:
			if err == nil && measured == nil {
				_, err = t.sample(phase, w)
				t.meter.end(w)
				measured = w
			}
			return sent, measured, err
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// fill writes down what was measured.
func (t *turn) fill(res *result, w *window) {
	res.Seconds, res.Sent, res.Delivered, res.Bytes, res.Pings = w.seconds, w.sent, w.delivered, w.bytes, w.pings
	res.Latency = summarize(w.latency, true)
	res.Errors, res.Timeline = t.meter.errors, t.meter.points
	delivered := float64(max(w.delivered, 1))
	for i, u := range t.meter.usage {
		u.CPUSeconds = float64(w.cpu[i]) / 1e9
		u.Share = u.CPUSeconds / w.seconds
		if w.delivered > 0 {
			u.PerMessage = u.CPUSeconds / delivered * 1e6
		}
		if res.Connected > 0 {
			u.PerConnection = float64(u.Memory-u.MemoryBefore) / float64(res.Connected)
		}
		res.Processes = append(res.Processes, u)
	}
	res.Own = usage{Name: "loadtest", CPUSeconds: float64(w.own) / 1e9, Share: float64(w.own) / 1e9 / w.seconds}
}

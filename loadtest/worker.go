package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// worker has a part of a run's connections. Its phases are connect, run, settle and finish; sample may be called at any time.
type worker struct {
	plan    plan
	codec   protocol.Codec
	stamper *stamper
	stats   *stats
	life    context.Context
	end     context.CancelCauseFunc

	clients []*client      // those that receive, then those that send
	present []atomic.Int32 // how many connections of this worker each channel has
	flights []*flight      // by sender; nil for those of other workers

	running     atomic.Bool
	outstanding atomic.Int64 // calls and streams under way
	pings       sync.WaitGroup
}

var errFinished = errors.New("the run is over")

func newWorker(p plan) *worker {
	w := &worker{plan: p, codec: protocol.JSON, stamper: newStamper(p.Run, p.Payload), stats: newStats()}
	if p.Protocol == protocol.MessagePack.Name() {
		w.codec = protocol.MessagePack
	}
	w.life, w.end = context.WithCancelCause(context.Background())
	w.present = make([]atomic.Int32, p.channels())
	w.flights = make([]*flight, p.Senders)
	from, to := p.part()
	for n := from; n < to; n++ {
		c := &client{w: w, index: len(w.clients), number: n, channel: p.channelOf(n)}
		switch p.Scenario {
		case scenarioEcho:
			c.sequences = make([]sequence, 1)
		case scenarioStreams:
			c.streams = make([]stream, p.InFlight)
		default:
			c.sequences = make([]sequence, p.Senders)
		}
		w.clients = append(w.clients, c)
	}
	for _, s := range p.senders() {
		c := &client{w: w, index: len(w.clients), number: s, sends: true}
		if p.Scenario == scenarioBroadcast {
			c.sequences = make([]sequence, p.Senders)
		}
		w.clients = append(w.clients, c)
	}
	return w
}

// within waits for an answer as long as the timeout allows.
func (w *worker) within(answer <-chan error) error {
	t := time.NewTimer(w.plan.Timeout)
	defer t.Stop()
	select {
	case err := <-answer:
		return err
	case <-w.life.Done():
		return context.Cause(w.life)
	case <-t.C:
		return fmt.Errorf("no answer within %v", w.plan.Timeout)
	}
}

// connect opens all connections, unless that is what the run measures.
func (w *worker) connect() error {
	w.pings.Go(w.keepAlive)
	if w.plan.Scenario == scenarioConnect {
		return nil
	}
	w.connectAll(w.clients)
	if err := context.Cause(w.life); err != nil {
		return err
	}
	for _, c := range w.clients {
		if c.sends && c.up() {
			w.flights[c.number] = newFlight(w, c.number, c)
		}
	}
	return nil
}

// connectAll opens connections over the ramp, some at a time. The latency of each counts from when it was due.
func (w *worker) connectAll(clients []*client) {
	start := now()
	jobs := make(chan int)
	var group sync.WaitGroup
	for range min(w.plan.Connecting, len(clients)) {
		group.Go(func() {
			for i := range jobs {
				c, due := clients[i], start+int64(w.plan.Ramp)*int64(i)/int64(len(clients))
				if err := w.open(c); err != nil {
					w.stats.fail("connecting", err)
					continue
				}
				w.stats.count(c.index, 0, []int64{now() - due})
			}
		})
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for i := range clients {
		if !sleepUntil(w.life, pause, start+int64(w.plan.Ramp)*int64(i)/int64(len(clients))) {
			break
		}
		jobs <- i
	}
	close(jobs)
	group.Wait()
}

// open opens one connection and puts it where it belongs.
func (w *worker) open(c *client) error {
	p := &w.plan
	d := dialing{plan: p, codec: w.codec, url: p.URLs[c.number%len(p.URLs)], token: w.token(c)}
	if c.sends {
		urls := p.SenderURLs
		if len(urls) == 0 {
			urls = p.URLs
		}
		d.url, d.user = urls[c.number%len(urls)], user(c.number)
	} else {
		d.user = p.userName(p.userOf(c.number))
	}
	if p.Sources > 0 {
		d.source = net.IPv4(127, 0, 0, byte(1+(p.Worker+c.index/len(p.URLs))%p.Sources))
	}
	if len(p.Secret) > 0 {
		var err error
		if d.token, err = mint(p.Secret, d.user); err != nil {
			return err
		}
	}
	o, err := d.open(w.life)
	if err != nil {
		return err
	}
	c.start(o)
	if p.Scenario == scenarioGroups && !c.sends {
		if err := c.invoke(p.JoinGroup, p.room(c.channel)); err != nil {
			c.close()
			return fmt.Errorf("joining a group: %w", err)
		}
	}
	if !c.sends || p.Scenario == scenarioBroadcast {
		w.present[c.channel].Add(1)
	}
	return nil
}

func (w *worker) token(c *client) string {
	if len(w.plan.Tokens) == 0 {
		return ""
	}
	return w.plan.Tokens[c.number%len(w.plan.Tokens)]
}

// keepAlive pings the server over every connection, a few at a time.
func (w *worker) keepAlive() {
	if w.plan.KeepAlive == 0 {
		return
	}
	const parts = 64
	tick := time.NewTicker(max(w.plan.KeepAlive/parts, time.Millisecond))
	defer tick.Stop()
	for part := 0; ; part = (part + 1) % parts {
		select {
		case <-tick.C:
		case <-w.life.Done():
			return
		}
		for i := part; i < len(w.clients); i += parts {
			c := w.clients[i]
			c.mu.Lock()
			up := c.up() && !c.lost && !c.closing.Load()
			c.mu.Unlock()
			if !up {
				continue
			}
			if err := c.ping(); err != nil {
				w.stats.fail("pinging", err)
			}
		}
	}
}

// run does what the scenario says for that long, and returns how many messages each sender has sent to each channel.
func (w *worker) run(duration time.Duration) (map[int][]uint64, error) {
	w.running.Store(true)
	defer w.running.Store(false)
	ctx, stop := context.WithTimeout(w.life, duration)
	defer stop()
	var senders sync.WaitGroup
	switch w.plan.Scenario {
	case scenarioConnect:
		w.connectAll(w.clients)
		return nil, context.Cause(w.life)
	case scenarioReconnect:
		w.storms()
		return nil, context.Cause(w.life)
	case scenarioEcho:
		w.startCalls(ctx, &senders)
	case scenarioStreams:
		w.startStreams()
	default:
		for _, f := range w.flights {
			if f != nil {
				senders.Go(func() { f.run(ctx) })
			}
		}
	}
	<-ctx.Done()
	senders.Wait()
	sent := make(map[int][]uint64)
	for s, f := range w.flights {
		if f != nil {
			sent[s] = f.sent
		}
	}
	return sent, context.Cause(w.life)
}

func (w *worker) startCalls(ctx context.Context, senders *sync.WaitGroup) {
	if w.plan.Rate > 0 {
		senders.Go(func() { w.callAtRate(ctx) })
		return
	}
	for _, c := range w.clients {
		for range w.plan.InFlight {
			w.begin(c, func() error { return c.call(now()) })
		}
	}
}

// callAtRate makes calls over all connections in turns.
func (w *worker) callAtRate(ctx context.Context) {
	from, to := w.plan.part()
	interval := float64(time.Second) * float64(w.plan.Connections) / float64(w.plan.Rate) / float64(to-from)
	start := now()
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for i := 0; ; i++ {
		due := start + int64(float64(i)*interval)
		if !sleepUntil(ctx, pause, due) {
			return
		}
		c := w.clients[i%len(w.clients)]
		w.begin(c, func() error { return c.call(due) })
	}
}

func (w *worker) startStreams() {
	for _, c := range w.clients {
		for id := range c.streams {
			w.begin(c, func() error { return c.openStream(id) })
		}
	}
}

// begin starts something on a connection, if it is up.
func (w *worker) begin(c *client, start func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up() || c.lost {
		return
	}
	if err := start(); err != nil {
		w.stats.fail("calling", err)
	}
}

// storms cuts connections all at once and opens them again, several times. The latency of each counts from the cut.
func (w *worker) storms() {
	n := len(w.clients) * w.plan.Fraction / 100
	for storm := range w.plan.Storms {
		victims := make([]*client, 0, n)
		for i := range n {
			if c := w.clients[(storm*n+i)%len(w.clients)]; c.up() {
				victims = append(victims, c)
			}
		}
		for _, c := range victims {
			c.closing.Store(true)
			_ = c.link.Load().net.Close()
		}
		for _, c := range victims {
			c.gone.Wait()
			w.present[c.channel].Add(-1)
		}
		w.connectAll(victims)
		if w.life.Err() != nil {
			return
		}
	}
}

// settle waits until everything that was sent by anyone has arrived, as long as the timeout allows.
func (w *worker) settle(sent map[int][]uint64) error {
	for _, c := range w.clients {
		c.cutStreams()
	}
	deadline := time.NewTimer(w.plan.Timeout)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !w.settled(sent) {
		select {
		case <-again.C:
		case <-w.life.Done():
			return context.Cause(w.life)
		case <-deadline.C:
			if n := w.outstanding.Load(); n > 0 {
				w.stats.fail("without an answer: "+strconv.FormatInt(n, 10)+" calls or streams", nil)
			}
			return nil
		}
	}
	return nil
}

func (w *worker) settled(sent map[int][]uint64) bool {
	if w.outstanding.Load() > 0 {
		return false
	}
	if !w.plan.messages() {
		return true
	}
	for _, c := range w.clients {
		if !c.hasAll(sent) {
			return false
		}
	}
	return true
}

func (c *client) hasAll(sent map[int][]uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up() || c.lost {
		return true
	}
	for s, totals := range sent {
		if s < len(c.sequences) && (c.sequences[s].next < totals[c.channel] || len(c.sequences[s].missing) > 0) {
			return false
		}
	}
	return true
}

// finish closes everything and returns what the numbers say.
func (w *worker) finish(sent map[int][]uint64) verdict {
	var v verdict
	for _, c := range w.clients {
		c.mu.Lock()
		if c.up() && !c.lost && w.plan.messages() {
			for s, totals := range sent {
				if s < len(c.sequences) {
					c.sequences[s].finish(totals[c.channel], &c.verdict)
				}
			}
		}
		v.add(c.verdict)
		c.mu.Unlock()
	}
	w.stop()
	return v
}

// stop closes everything.
func (w *worker) stop() {
	w.end(errFinished)
	w.pings.Wait()
	var group sync.WaitGroup
	for part := range 8 {
		group.Go(func() {
			for i := part; i < len(w.clients); i += 8 {
				w.clients[i].close()
			}
		})
	}
	group.Wait()
}

// sample returns what has happened since the last one.
func (w *worker) sample() (sample, error) {
	s, err := w.stats.take()
	s.CPU = ownCPU()
	return s, err
}

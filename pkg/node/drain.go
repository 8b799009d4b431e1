package node

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// The parts of the drain timeout. With the defaults, 30 s and a delay of 5 s, they are 5 + 13 + 10 + 2 s.
const (
	// leastPart is the share of the time after the delay, one in so many, that calls have at the end of the window, and goodbyes again.
	leastPart = 4
	// maxPart bounds each of these two.
	maxPart = 5 * time.Second
	// maxKept bounds what is kept back for the end. Shares of it, one in so many, are for hubs that have to cut off what is left, then
	// for presence and the last requests, side by side, then for the lease. The rest is to spare.
	maxKept                             = 2 * time.Second
	cutOffPart, presencePart, leasePart = 4, 4, 8
	// progressInterval is how often the log says how far a drain has got.
	progressInterval = time.Second
)

// plan is how a drain divides its time.
type plan struct {
	delay  time.Duration // not ready, and serving as before
	window time.Duration // in which connections are sent away one by one
	hubs   time.Duration // from the start until all that concerns clients must be over
}

// keptBack is what a drain leaves for what comes after it.
func keptBack(timeout time.Duration) time.Duration { return min(maxKept, timeout/4) }

// newPlan makes a plan. When no other node is there, nobody can be sent anywhere, and there is nothing to pace.
func newPlan(timeout, delay time.Duration, others bool) plan {
	p := plan{hubs: timeout - keptBack(timeout)}
	if !others {
		return p
	}
	p.delay = min(delay, timeout/2)
	rest := p.hubs - p.delay
	p.window = rest - 2*min(maxPart, rest/leastPart)
	return p
}

// The phases of a node, as GET /drain names them.
const (
	phaseServing = "serving" // no drain has begun
	phaseLeaving = "leaving" // not ready, still serving; new clients are led to other nodes
	phaseClosing = "closing" // connections are sent away
	phaseEnding  = "ending"  // those are gone or cut off; the rest is put away
)

// draining is the state of a drain.
type draining struct {
	requested chan struct{} // closed when one is asked for
	ask       sync.Once
	begun     chan struct{} // closed when it begins

	mu       sync.Mutex
	phase    string
	began    time.Time
	deadline time.Time
}

// request asks for a drain; it may be asked for again.
func (d *draining) request() { d.ask.Do(func() { close(d.requested) }) }

func (d *draining) enter(phase string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = phase
}

// begin notes that the drain begins now.
func (d *draining) begin(timeout time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Now()
	d.phase, d.deadline = phaseLeaving, d.began.Add(timeout)
	close(d.begun)
}

// Progress is how far a drain has got.
type Progress struct {
	// Phase is "serving" until a drain begins, then "leaving", "closing" and "ending".
	Phase string `json:"phase"`
	// Began and Deadline are when the drain began, and when it is over at the latest.
	Began    time.Time `json:"began,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Connections are those that are still here.
	Connections int `json:"connections"`
	// Calls are hub methods that run.
	Calls int `json:"calls"`
	// Forwards are requests of other nodes' clients that are being answered through this one.
	Forwards int `json:"forwards"`
}

// Progress tells how far the drain has got, if there is one.
func (n *Node) Progress() Progress {
	n.drains.mu.Lock()
	p := Progress{Phase: n.drains.phase, Began: n.drains.began, Deadline: n.drains.deadline}
	n.drains.mu.Unlock()
	p.Connections = n.hubs.Connections()
	for _, load := range n.hubs.Loads() {
		p.Calls += load.Calls
	}
	if n.peer != nil {
		p.Forwards = n.peer.Running()
	}
	return p
}

// Drain makes Run end as it does when its context ends. It does not wait, and may be called again.
func (n *Node) Drain() { n.drains.request() }

// Draining is closed when the node begins to stop, for whatever reason: Run returns within DrainTimeout from then on.
func (n *Node) Draining() <-chan struct{} { return n.drains.begun }

// mintFor is for hub.Options: a node that goes leads new clients to one that stays.
func (n *Node) mintFor() string {
	if !n.stopping.Load() {
		return ""
	}
	return n.others.next()
}

// accepting says why no new client can be taken on. A node that goes answers for others: a refusal would cost the client a delay, or its
// start.
func (n *Node) accepting() error {
	if n.stopping.Load() && n.others.any() {
		return nil
	}
	return n.unready()
}

// closeWhenStopping tells clients and proxies, once the node is stopping, not to use a connection for another request.
func (n *Node) closeWhenStopping(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// drain ends the service to clients, within what the drain timeout leaves of it. It is over in time whatever clients and hub methods do; what
// had to be cut off stands in the log.
func (n *Node) drain(clients *http.Server) {
	log := n.config.Logger
	n.stopping.Store(true) // first: a node that says that it is leaving must not say that it is ready
	n.drains.begin(n.config.DrainTimeout)
	began := time.Now()
	if n.cluster != nil {
		n.cluster.Leave()
		n.lookAround(context.Background())
	}
	p := newPlan(n.config.DrainTimeout, n.config.DrainDelay, n.others.any())
	// A context of its own: the one of Run may be over already.
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(p.hubs))
	defer cancel()
	before := n.Progress()
	log.Info("stopping", "within", n.config.DrainTimeout, "delay", p.delay, "window", p.window, "connections", before.Connections, "forwards", before.Forwards)
	told := make(chan struct{})
	var progress sync.WaitGroup
	progress.Go(func() { n.tellProgress(told) })

	n.stayAWhile(ctx, p.delay)
	n.drains.enter(phaseClosing)
	var requests sync.WaitGroup
	closeListener := func() { requests.Go(func() { _ = clients.Shutdown(ctx) }) } // what is left when ctx ends is closed by end
	if n.others.any() {
		// The listener closes first. A client that comes back at once is then sent to another node by the balancer; a refusal
		// by this one would cost it a delay. The peer port stays until the end.
		closeListener()
	}
	left := make(chan int, 1)
	go func() { // ends with ctx at the latest; waited for below
		if n.peer == nil {
			left <- 0
			return
		}
		left <- n.peer.Release(ctx, p.window)
	}()
	err := n.sendAway(ctx, p.window)
	closeListener() // without others, last: the last polls come to nobody else
	cut := <-left
	if cut > 0 {
		n.peer.Close() // first: the listener waits for them, and nothing more will come of them
	}
	requests.Wait()
	if n.peer != nil {
		n.peer.Close()
	}
	n.drains.enter(phaseEnding)
	close(told)
	progress.Wait()
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		log = log.With("error", err)
	}
	if err != nil || cut > 0 {
		log.Warn("drained, but not all were ready to go: what was left has been cut off", "after", took, "connections", before.Connections,
			"forwards", before.Forwards, "forwards_cut", cut)
		return
	}
	log.Info("drained", "after", took, "connections", before.Connections, "forwards", before.Forwards)
}

// stayAWhile serves on for the delay, in which balancers learn that this node is going; not longer than there is another one.
func (n *Node) stayAWhile(ctx context.Context, delay time.Duration) {
	if delay <= 0 {
		return
	}
	end := time.NewTimer(delay)
	defer end.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for n.others.any() {
		select {
		case <-end.C:
			return
		case <-look.C:
			n.lookAround(ctx)
		}
	}
}

// sendAway makes clients leave, and ends the hubs.
func (n *Node) sendAway(ctx context.Context, window time.Duration) error {
	if !n.others.any() {
		window = 0
	}
	_ = n.hubs.Drain(ctx, window) // its error is that of ctx, and Shutdown's as well
	return n.hubs.Shutdown(ctx)
}

// tellProgress logs how far the drain has got, until done.
func (n *Node) tellProgress(done <-chan struct{}) {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			p := n.Progress()
			n.config.Logger.Info("draining", "phase", p.Phase, "connections", p.Connections, "calls", p.Calls, "forwards", p.Forwards,
				"left", time.Until(p.Deadline).Round(time.Second))
		}
	}
}

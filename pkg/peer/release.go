package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// methodRelease is by which a node that stops asks the owner of a connection to let go of the request that it passes on for it. It is
// signed like a forwarded request, with the same path and query.
const methodRelease = "RELEASE"

const (
	// releaseTimeout bounds one such question.
	releaseTimeout = 2 * time.Second
	// releasePatience is how long it is waited for what owners were asked to end: for calls, a goodbye, and a little.
	releasePatience = 11 * time.Second
	// handshakePatience is how long an owner is asked again about a connection that it does not know: one that has not done its handshake
	// cannot be sent away yet, and has 5 s for it.
	handshakePatience = 6 * time.Second
	// askAgain is the time between two such questions.
	askAgain = 200 * time.Millisecond
	// maxAsks is how many questions one owner is asked at a time.
	maxAsks = 8
	// maxSilences is after how many questions without an answer nothing more is hoped for from an owner. The second is asked silencePause
	// after the first, and none beside it.
	maxSilences  = 2
	silencePause = time.Second
	// releaseTick is how often it is looked whether something is still being forwarded.
	releaseTick = 20 * time.Millisecond
	// maxSpacing bounds the time between two of them.
	maxSpacing = 100 * time.Millisecond
)

// note keeps a forwarding in mind, forget no longer.
func (p *Peer) note(f *forwarding) {
	p.mu.Lock()
	p.forwards[f] = struct{}{}
	p.mu.Unlock()
}

func (p *Peer) forget(f *forwarding) {
	p.mu.Lock()
	delete(p.forwards, f)
	p.mu.Unlock()
}

// Release winds down what is being forwarded, spread over the window in random order, and returns when nothing is, or nothing more can be
// hoped for, or ctx ends, with the number of what is left. Owners are asked to answer polls that wait, and to send clients over Server-Sent
// Events and WebSockets away; so nothing is lost on the way. A WebSocket whose owner does not is cut: its connection outlives it, and its
// client brings another one through another node. An owner that does not answer holds up nothing but what it owns.
func (p *Peer) Release(ctx context.Context, window time.Duration) (left int) {
	ctx, cancel := context.WithCancel(ctx)
	r := &release{peer: p, ctx: ctx, until: time.Now().Add(window), asked: make(map[*forwarding]*question), owners: make(map[string]*owner)}
	defer r.asks.Wait()
	defer cancel()
	r.run()
	return p.Running()
}

// release is the state of Release.
type release struct {
	peer  *Peer
	ctx   context.Context
	until time.Time      // the end of the window
	asks  sync.WaitGroup // questions that are under way

	mu     sync.Mutex
	asked  map[*forwarding]*question
	owners map[string]*owner
	last   time.Time // when something was last asked for the first time, or granted
}

// question is what is known about letting go of one forwarding.
type question struct {
	first time.Time // when its owner was first asked
	next  time.Time // when to ask again
	busy  bool      // it is being asked
	over  bool      // there is nothing more to ask
}

// owner is what is known about one owner.
type owner struct {
	asks     int       // under way
	silences int       // questions without an answer since the last answer
	silent   time.Time // when the last one was noted
}

func (r *release) run() {
	ticker := time.NewTicker(releaseTick)
	defer ticker.Stop()
	r.last = time.Now()
	for r.hopeful() {
		due := r.due()
		for i, f := range due {
			if !r.begin(f) {
				continue
			}
			began := time.Now()
			r.asks.Go(func() { r.end(f, began, r.peer.ask(r.ctx, f)) })
			if !pause(r.ctx, min(time.Until(r.until)/time.Duration(len(due)-i), maxSpacing)) {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-r.ctx.Done():
			return
		}
	}
}

// hopeful says whether something is being forwarded that may still end well.
func (r *release) hopeful() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.last) >= releasePatience {
		return false
	}
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	for f := range r.peer.forwards {
		if o := r.owners[f.node]; o == nil || o.silences < maxSilences {
			return true
		}
	}
	return false
}

// due are the forwardings about which to ask now, in random order.
func (r *release) due() (due []*forwarding) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	for f := range r.asked {
		if _, here := r.peer.forwards[f]; !here {
			delete(r.asked, f)
		}
	}
	for f := range r.peer.forwards {
		if q := r.asked[f]; f.request.Method == http.MethodGet && (q == nil || !q.busy && !q.over && !now.Before(q.next)) {
			due = append(due, f)
		}
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	return due
}

// begin says whether to ask the owner of a forwarding now. If not, it is due again.
func (r *release) begin(f *forwarding) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.owners[f.node]
	if o == nil {
		o = new(owner)
		r.owners[f.node] = o
	}
	switch {
	case o.silences == 0 && o.asks >= maxAsks:
		return false
	case o.silences > 0 && (o.asks > 0 || now.Sub(o.silent) < silencePause):
		if f.upgrades() {
			f.cancel() // as if it had been asked
		}
		return false
	}
	q := r.asked[f]
	if q == nil {
		q = &question{first: now}
		r.asked[f], r.last = q, now
	}
	q.busy = true
	o.asks++
	return true
}

// end notes what came of a question that was asked then.
func (r *release) end(f *forwarding, began time.Time, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.owners[f.node]
	if o.asks--; err == nil || errors.Is(err, errUnknown) || errors.Is(err, errRefused) {
		o.silences = 0
	} else if began.After(o.silent) { // those that were asked side by side count as one
		o.silences++
		o.silent = now
	}
	q := r.asked[f]
	if q == nil || r.ctx.Err() != nil {
		return // it has ended meanwhile, or Release has
	}
	q.busy = false
	switch {
	case err == nil:
		q.over, r.last = true, now
		return
	case errors.Is(err, errUnknown) && now.Sub(q.first) < handshakePatience:
		q.next = now.Add(askAgain)
		return
	case errors.Is(err, errUnknown), errors.Is(err, errRefused):
		q.over = true
	}
	r.peer.log.Debug("the owner of a forwarded request does not let go of it", "owner", f.node, "error", err)
	if f.upgrades() {
		q.over = true
		f.cancel()
	}
}

// upgrades says whether it is a WebSocket.
func (f *forwarding) upgrades() bool { return f.request.Header.Get("Upgrade") != "" }

// pause waits for d, varied by half; it returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d/2 + rand.N(d)):
		return true
	case <-ctx.Done():
		return false
	}
}

// ask asks the owner of a forwarding to make an end of it.
func (p *Peer) ask(ctx context.Context, f *forwarding) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	signature, err := p.signer.sign(methodRelease, f.request.URL.RequestURI(), f.request.RemoteAddr, time.Now())
	if err != nil {
		return err
	}
	url := *f.request.URL
	url.Scheme, url.Host = f.target.Scheme, f.target.Host
	r, err := http.NewRequestWithContext(ctx, methodRelease, url.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set(Header, signature)
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNoContent:
		return nil
	case http.StatusNotFound:
		return errUnknown
	}
	return fmt.Errorf("%w: %s", errRefused, answer.Status)
}

var (
	errUnknown = errors.New("peer: its owner does not know the connection, or not yet")
	errRefused = errors.New("peer: its owner keeps the connection")
)

// serveRelease lets go of a request that comes through a node that stops.
func (p *Peer) serveRelease(w http.ResponseWriter, r *http.Request) {
	var leaves, stays bool
	if p.release != nil {
		leaves, stays = p.release(r.URL.Path, r.URL.Query().Get("id"))
	}
	switch {
	case leaves:
		w.WriteHeader(http.StatusNoContent)
	case stays:
		http.Error(w, "The connection outlives this request", http.StatusConflict)
	default:
		http.Error(w, "No such connection", http.StatusNotFound)
	}
}

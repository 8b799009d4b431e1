package peer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	// releaseTick is how often it is looked whether something is still being forwarded.
	releaseTick = 20 * time.Millisecond
	// maxSpacing bounds the time between two of them.
	maxSpacing = 100 * time.Millisecond
)

// note keeps a forwarding in mind, forget no longer.
func (p *Peer) note(f *forwarding) {
	p.mu.Lock()
	p.forwards[f] = false
	p.mu.Unlock()
}

func (p *Peer) forget(f *forwarding) {
	p.mu.Lock()
	delete(p.forwards, f)
	p.mu.Unlock()
}

// Release winds down what is being forwarded, spread over the window in random order, and returns when nothing is, or nothing more can be
// hoped for, or ctx ends. Owners are asked to answer polls that wait, and to send clients over Server-Sent Events and WebSockets away; so
// nothing is lost on the way. A WebSocket whose owner does not is cut: its connection outlives it, and its client brings another one
// through another node.
func (p *Peer) Release(ctx context.Context, window time.Duration) {
	ticker := time.NewTicker(releaseTick)
	defer ticker.Stop()
	last := time.Now()
	for p.Running() > 0 && time.Since(last) < releasePatience {
		due := p.unasked()
		for _, f := range due {
			if !pause(ctx, min(window/time.Duration(len(due)), maxSpacing)) {
				return
			}
			if err := p.ask(ctx, f); err != nil {
				p.log.Debug("the owner of a forwarded request does not let go of it", "owner", f.node, "error", err)
				if f.request.Header.Get("Upgrade") != "" {
					f.cancel()
				}
			}
			last = time.Now()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// unasked are the forwardings whose owners were not asked yet, in random order, and counts them as asked.
func (p *Peer) unasked() (due []*forwarding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for f, asked := range p.forwards {
		if !asked && f.request.Method == http.MethodGet {
			p.forwards[f] = true
			due = append(due, f)
		}
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	return due
}

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
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("peer: it answered with %s", answer.Status)
	}
	return nil
}

// serveRelease lets go of a request that comes through a node that stops.
func (p *Peer) serveRelease(w http.ResponseWriter, r *http.Request) {
	if p.release == nil || !p.release(r.URL.Path, r.URL.Query().Get("id")) {
		http.Error(w, "No such connection", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

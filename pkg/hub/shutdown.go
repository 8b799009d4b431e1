package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// sayTimeout bounds the goodbye to one client when the server stops; the send timeout may do so sooner.
const sayTimeout = 5 * time.Second

// Drain sends the clients away, spread over the window in random order, so that they do not all come back at the same moment
// somewhere else: each is told to reconnect when what it has called has ended, or after 5 s. It goes on taking new ones, and sends them
// away in their turn. It returns when none is left, or with the error of ctx. Shutdown ends the server afterwards.
func (s *Server) Drain(ctx context.Context, window time.Duration) error {
	return newDrain(s, window, handshakePatience).run(ctx)
}

// Shutdown ends the server: it takes no new connections, sends away those it has, all at once, in such a way that clients reconnect, and
// waits for them and for running calls. When ctx ends first, what is left is cut off within Options.Farewell, and the error wraps that of
// ctx; a call that does not heed the end of its context is left behind. The backplane must stay until Shutdown has returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	hosts := slices.Collect(maps.Values(s.byName))
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		s.work.Wait()
		s.beat.wait()
		close(gone)
	}()
	d := newDrain(s, 0, settle)
	d.gone = gone
	_ = d.run(ctx) // its error is that of ctx, which is asked below
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = s.cutOff(gone, ctx.Err())
	}
	s.stopHard()
	if s.backplane != nil {
		for _, h := range hosts {
			s.backplane.Unsubscribe(h.standing()...)
		}
		s.backplane.Unsubscribe(s.fleet.standing()...)
	}
	return err
}

// Release frees the server through which a request of one of our connections comes, by the hub's path and the connection's token,
// because that one stops: a poll that waits is answered with nothing; a connection over Server-Sent Events or WebSockets is sent away as
// Drain does. It does not wait. It returns that the request leaves; or that the connection stays, since it outlives its socket, which may
// be cut; or neither, when there is no such connection, or none yet: it has not done its handshake.
func (s *Server) Release(path, token string) (leaves, stays bool) {
	s.mu.RLock()
	h := s.byPath[strings.TrimSuffix(path, "/")]
	s.mu.RUnlock()
	if h == nil {
		return false, false
	}
	id, found := h.endpoint.Release(token)
	if id == "" {
		return found, false
	}
	c := h.connections.get(id)
	if c == nil {
		return false, false
	}
	if c.session != nil {
		return false, true
	}
	if !c.released.Swap(true) && s.enter() {
		go s.sendAway(c)
	}
	return found, false
}

// sendAway ends one connection as a drain does.
func (s *Server) sendAway(c *Connection) {
	defer s.leave()
	d := newDrain(s, 0, handshakePatience)
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	for p := (&departure{conn: c}); !d.step(p, s.clock(), callPatience); {
		select {
		case <-ticker.C:
		case <-s.hard.Done():
			return
		}
	}
}

// cutOff ends what is left: with a goodbye to those who read it, and without one to the others. Goodbyes have half of the farewell, and calls
// the other.
func (s *Server) cutOff(gone <-chan struct{}, cause error) error {
	half := s.options.Farewell / 2
	conns := s.beat.connections(nil)
	for _, c := range conns {
		if c.opened.Load() == 0 {
			c.link().Abort() // it has not done its handshake, so there is nothing to say goodbye to
			continue
		}
		c.end(endShutdown, nil)
	}
	s.stopHard()
	select {
	case <-gone:
	case <-time.After(half):
		for _, c := range s.beat.connections(nil) { // and those that had just been let in
			c.link().Abort()
		}
		select {
		case <-gone:
		case <-time.After(half):
		}
	}
	return fmt.Errorf("hub: %d connections were cut off: %w", len(conns), cause)
}

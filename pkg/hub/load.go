package hub

import (
	"iter"
	"maps"
	"slices"
)

// Load is how much one hub has in hand on this server.
type Load struct {
	// QueueBytes wait to be written to clients, or are being written, over all connections.
	QueueBytes int
	// Calls are the invocations whose methods run.
	Calls int
}

// Loads are the loads of all hubs, by their names. It looks at every connection: it is made for a scrape, not for each message.
func (s *Server) Loads() iter.Seq2[string, Load] {
	s.mu.RLock()
	hosts := slices.Collect(maps.Values(s.byPath))
	s.mu.RUnlock()
	return func(yield func(string, Load) bool) {
		for _, h := range hosts {
			if !yield(h.name, Load{QueueBytes: h.connections.queued(), Calls: int(h.running.Load())}) {
				return
			}
		}
	}
}

// queued sums up the outboxes.
func (t *connections) queued() (bytes int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, c := range t.byID {
		bytes += c.out.size()
	}
	return bytes
}

// size is how many bytes wait or are being written.
func (o *outbox) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// Connections is how many connections there are on all hubs, those in their handshake too.
func (s *Server) Connections() int {
	s.beat.mu.Lock()
	defer s.beat.mu.Unlock()
	return len(s.beat.members)
}

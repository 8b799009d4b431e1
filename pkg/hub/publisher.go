package hub

import (
	"context"
	"errors"
	"strings"
)

// Publisher reaches the hubs that other processes serve: it sends to their clients, changes their groups, and asks them questions. It
// has no connections, listens to no network, and hears nothing of what is sent. pkg/publisher makes one out of the address of a
// Redis. It is safe for concurrent use.
type Publisher struct{ server *Server }

// NewPublisher makes a publisher. Of the options Backplane is required; Nodes, Presence, Protocols, NodeName and Logger have a meaning, too.
// The protocols must be those of the hubs.
func NewPublisher(o Options) (*Publisher, error) {
	if o.Backplane == nil {
		return nil, errors.New("hub: a publisher needs Options.Backplane: it is all that joins it to the hubs")
	}
	s := NewServer(o)
	s.remote = true
	return &Publisher{s}, s.invalid
}

// Hub returns a hub by its name on the backplane, whether or not anybody serves one of that name; nil when no hub can have the name, because
// it is empty or has a colon. What it keeps of a name stays until Shutdown.
func (p *Publisher) Hub(name string) *Context {
	if name == "" || strings.Contains(name, ":") {
		return nil
	}
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.byName[name]
	if h == nil {
		h = &host{server: s, name: name, limits: s.limits, codecs: s.codecs, log: s.log.With("hub", name)}
		h.nodeName = s.options.NodeName + "_" + randomName()
		h.channels.backplane = s.backplane
		s.byName[name] = h
		s.subscribeStanding(h)
	}
	return &Context{host: h}
}

// Shutdown ends the publisher; see Server.Shutdown.
func (p *Publisher) Shutdown(ctx context.Context) error { return p.server.Shutdown(ctx) }

// listening makes sure that answers of other nodes can come in. A server has seen to that before it takes clients; a publisher may meet a
// hub at any time.
func (h *host) listening(ctx context.Context) error {
	if !h.server.remote {
		return nil
	}
	return fromBackplane(h.server.backplane.Subscribe(ctx, h.standing()...))
}

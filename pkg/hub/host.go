package hub

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

type frame = transport.Frame

// host is one hub as it is mapped on a server: its methods, its connections, and who is addressed by what.
type host struct {
	server *Server
	name   string // on the backplane
	path   string
	limits Limits
	hooks  Hooks
	log    *slog.Logger

	methods        map[string]*method // by lower-case name
	exact          map[string]*method // by the name as it is spelled in Go, which spares the conversion
	onConnected    func(*Call) error
	onDisconnected func(*Call, error)
	authorize      func(*Call) bool // nil: everyone may call everything
	codecs         []protocol.Codec // those of the server's that clients may choose from
	closeExpired   bool             // connections end with their identities

	endpoint *transport.Endpoint

	all         audience
	connections connections
	channels    channels     // groups and users that have members here
	running     atomic.Int64 // invocations
	acks        acks
	results     results
	nodeName    string // of this hub on this node, unique in the cluster; it stands in group commands
}

// connections finds a connection by its id.
type connections struct {
	mu   sync.RWMutex
	byID map[string]*Connection
}

func (t *connections) get(id string) *Connection {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

func (t *connections) put(c *Connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = map[string]*Connection{}
	}
	t.byID[c.id] = c
}

func (t *connections) remove(c *Connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, c.id)
}

// method finds a hub method by the name that a client used, whose case does not matter.
func (h *host) method(name string) *method {
	if m := h.exact[name]; m != nil {
		return m
	}
	return h.methods[strings.ToLower(name)]
}

// registerTimeout bounds the wait for the backplane when a client connects. After it the client is let in all the
// same: its channels stay wanted, and are subscribed to when the backplane is back.
const registerTimeout = 5 * time.Second

// register makes c reachable by its id, as its user, and by what is sent to all.
func (h *host) register(c *Connection) {
	ctx, cancel := context.WithTimeout(h.server.hard, registerTimeout)
	defer cancel()
	h.connections.put(c)
	own := h.name + channelConnection + c.id
	var err error
	switch b := h.server.backplane; {
	case c.identity.UserID != "":
		err = h.channels.join(ctx, h.name+channelUser+c.identity.UserID, c, keepAnyway, own) // one round trip for both
	case b != nil:
		err = b.Subscribe(ctx, own)
	}
	if err != nil {
		c.log().Warn("connected while the backplane is away: reachable from this node only until it is back", "error", err)
	}
	h.all.add(c)
	h.announce(ctx, c)
}

// announce says that c is there, when all that is sent to its user reaches it. Whoever asks is told so as soon as announce has
// returned: the client must not be able to know that it is connected, nor its hub, before all others can.
func (h *host) announce(ctx context.Context, c *Connection) {
	tracker := h.server.options.Presence
	tracker.Add(c.present())
	if c.identity.UserID == "" {
		return // an anonymous one is never online
	}
	if err := tracker.Settle(ctx, c.id); err != nil {
		c.log().Debug("connected before it is known who is online", "error", err)
	}
}

// present is what a Tracker is told of c.
func (c *Connection) present() Present {
	h := c.host
	return Present{
		ID: c.id, User: c.identity.UserID, Hub: h.name, Node: h.server.fleet.id, Transport: c.Transport(), Since: c.since(),
	}
}

// unregister undoes register, and takes c out of its groups.
func (h *host) unregister(c *Connection) {
	h.all.remove(c)
	for _, channel := range c.leaveAll() {
		h.channels.leave(channel, c)
	}
	h.server.watching.remove(c)
	if c.identity.UserID != "" {
		h.channels.leave(h.name+channelUser+c.identity.UserID, c)
	}
	h.connections.remove(c)
	if b := h.server.backplane; b != nil {
		b.Unsubscribe(h.name + channelConnection + c.id)
	}
}

func (h *host) channelNames(kind string, names []string) []string {
	channels := make([]string, len(names))
	for i, n := range names {
		channels[i] = h.name + kind + n
	}
	return channels
}

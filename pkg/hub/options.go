package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// The defaults of Limits. The times and the message size are those of ASP.NET Core SignalR.
const (
	DefaultHandshakeTimeout = 15 * time.Second
	DefaultKeepAlive        = 15 * time.Second
	DefaultClientTimeout    = 30 * time.Second
	DefaultSendTimeout      = 10 * time.Second
	DefaultMaxMessageSize   = 32 * 1024
	DefaultMaxQueue         = 1 << 20
	DefaultStreamBuffer     = 10
	DefaultMaxStreams       = 100
	DefaultParallelCalls    = 1
	DefaultReplayBuffer     = 100_000

	DefaultDisconnectTimeout = 15 * time.Second
	DefaultPollTimeout       = transport.DefaultPollTimeout
	DefaultCloseTimeout      = transport.DefaultCloseTimeout
)

// DefaultFarewell is the default of Options.Farewell.
const DefaultFarewell = 500 * time.Millisecond

// Options configure a Server. The zero value is a server on its own that lets everyone in.
type Options struct {
	Limits

	// AllowedOrigins are the origins, besides the server's own, whose pages may connect, such as
	// "https://app.example.com". "*" allows any.
	AllowedOrigins []string

	// Authenticate says who sent a request. It is asked on negotiate and again by each transport. An error refuses the
	// request with 401, or with 403 when it wraps ErrForbidden. Nil means that everyone is anonymous.
	Authenticate func(r *http.Request) (Identity, error)

	// Protocols are the hub protocols that clients may choose from, at most two. With a backplane every message is encoded in all of them, and
	// all nodes must have the same. Nil means JSON and MessagePack.
	Protocols []protocol.Codec

	// Filters surround what all hubs do.
	Filters []Filter

	// Backplane joins this server to others. Nil means that this process is the whole cluster.
	Backplane Backplane

	// Cluster knows what all nodes share. It is needed whenever several servers stand behind one address.
	// Nil means that connection tokens are valid in this process only.
	Cluster Cluster

	// Forward sends a request to the server with this Cluster.NodeID, on which its connection lives, and answers with what that answers.
	// It returns false if it has written nothing; the client is then told that there is no such connection. Clients
	// over Server-Sent Events and long polling need it, or sticky sessions, whenever several servers stand behind one address.
	// Nil means that nobody is sent on.
	Forward func(w http.ResponseWriter, r *http.Request, node string) bool

	// Holder finds the server, by its Cluster.NodeID, on which a stateful connection is, when its client brings it another WebSocket
	// that lands here; the request is then handed to Forward. Nil means that stateful reconnect needs affinity.
	Holder func(ctx context.Context, connectionID string) (node string, err error)

	// Nodes are the Cluster.NodeIDs of all nodes that live: who must have answered before a question to all is answered completely.
	// Nil means those that the backplane says have got the question.
	Nodes func(ctx context.Context) ([]string, error)

	// Gone says whether a node, by its Cluster.NodeID, is known to be dead though it still counts as live: questions then do without its
	// answer. It is asked about nodes that do not answer, by several goroutines at once; ctx ends after half a second. Nil means that no
	// node is known to be.
	Gone func(ctx context.Context, node string) bool

	// Presence is told who comes and goes, and knows who is online on all nodes. Nil means that nobody knows.
	Presence Tracker

	// MintFor names the server, by its Cluster.NodeID, on which new clients over Server-Sent Events and long polling shall live, while this
	// one sends its own away. Empty, or a nil func, means this one.
	MintFor func() string

	// Ready says why no new client can be taken on yet, for instance because the backplane was never reached: negotiate then answers
	// 503, and clients try again. Nil means always ready.
	Ready func() error

	// Farewell bounds how long Shutdown goes on once its context has ended, to cut off what is left. Zero means DefaultFarewell.
	Farewell time.Duration

	// NodeName names this process in logs and on the backplane. Empty means the host's name.
	NodeName string

	// Logger receives what happens, with connection, user, hub and method as attributes. Nil discards it.
	Logger *slog.Logger

	// Hooks returns what to call as things happen in one hub; it is asked once, by Map. Nil means none.
	Hooks func(hub string, methods []string) Hooks
}

// HubOptions configure one hub. The zero value takes everything from the server.
type HubOptions struct {
	// Name is the hub's name on the backplane and in logs. Nodes share a hub when its name is the same on all of them; for a
	// cluster with ASP.NET Core nodes it is the full .NET type name. Empty means the name of the Go type.
	Name string

	// Protocols are the names of those among Options.Protocols that clients of this hub may choose from, such as "json". None means all.
	// All nodes must have the same.
	Protocols []string
	// MinNegotiateVersion is the oldest version of negotiate that is answered: 0, which all clients speak, or 1.
	MinNegotiateVersion int
	// Transports are those that clients may use. None means all: WebSockets, Server-Sent Events and long polling.
	Transports []transport.Kind
	// Redirect sends a client that negotiates somewhere else: to a URL, with an access token for it if that is not empty. With an empty
	// URL it stays. Nil means that all stay.
	Redirect func(r *http.Request) (url, accessToken string)

	// Admit says whether a user may connect to the hub at all; who may not is refused with 401 when anonymous, else with 403.
	// Nil admits everyone.
	Admit func(Identity) bool
	// CloseExpired ends a connection when Identity.Expires has come, with a Close that lets the client come back, with a new
	// proof of who it is. Each poll counts anew, as does each WebSocket of a stateful connection. Otherwise, as in ASP.NET Core,
	// identities count when requests are made, and connections outlive them.
	CloseExpired bool
	// Authorize says whether an invocation may go on; the call's Method says which it is. A client that may not is told so, and
	// stays connected. Nil allows everything.
	Authorize func(c *Call) bool

	// Filters surround what the hub does, inside those of the server.
	Filters []Filter
	// MethodFilters surround single methods, by name, inside the hub's.
	MethodFilters map[string][]Filter

	Limits
}

func (o HubOptions) validate() error {
	if o.MinNegotiateVersion < 0 || o.MinNegotiateVersion > 1 {
		return fmt.Errorf("hub: MinNegotiateVersion is %d; it must be 0 or 1", o.MinNegotiateVersion)
	}
	return o.Limits.validate()
}

// Limits bound what one connection may do and how long things may take.
// In each field zero means the default (for a hub: the server's value).
type Limits struct {
	// HandshakeTimeout is how long a client may take to send its whole handshake request. Default 15 s.
	HandshakeTimeout time.Duration
	// KeepAlive is the time between pings to a client. Default 15 s. Negative: no pings.
	KeepAlive time.Duration
	// ClientTimeout is how long a client that pings may be silent before it is disconnected. Default 30 s. Negative: for ever.
	ClientTimeout time.Duration
	// SendTimeout bounds one write to a client, and how long what the client itself asked for (a result, say) waits for
	// room in its queue. Default 10 s.
	SendTimeout time.Duration
	// MaxMessageSize bounds one message from a client, in bytes, framing included. Default 32 KiB. Negative: no bound.
	MaxMessageSize int64
	// MaxQueue bounds what may wait for one client, in bytes; a client that falls behind further is disconnected. Default 1 MiB.
	MaxQueue int
	// StreamBuffer is how many items of one stream from a client may wait for the method that reads them. Default 10.
	StreamBuffer int
	// MaxStreams bounds the streams that one connection has open, both directions together. Default 100.
	MaxStreams int
	// ParallelCalls is how many invocations of one connection may run at the same time; they start in the order in which they
	// came. Invocations with streams do not count. Default 1.
	ParallelCalls int
	// ReplayBuffer bounds, for clients with stateful reconnect, what was sent and not acknowledged, in bytes. Beyond it nothing more is
	// written until acknowledgements come. Default 100,000. Negative: no stateful reconnect.
	ReplayBuffer int
	// DisconnectTimeout is how long a connection without a socket (or, with long polling, between two polls) waits for its client.
	// Default 15 s.
	DisconnectTimeout time.Duration
	// PollTimeout is how long a poll (long polling) waits for something to answer. Default 90 s; official clients give up after 100 s.
	PollTimeout time.Duration
	// CloseTimeout is how long the end of a connection waits for its client: for the close frame of a WebSocket, or for the last poll.
	// Default 5 s, which for the former is also the most there is. Negative: no wait.
	CloseTimeout time.Duration
	// DetailedErrors sends the text of every error to clients. Never use it in production.
	DetailedErrors bool
}

// withDefaults fills the zero fields of l from d.
func (l Limits) withDefaults(d Limits) Limits {
	pick := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	pick(&l.HandshakeTimeout, d.HandshakeTimeout)
	pick(&l.KeepAlive, d.KeepAlive)
	pick(&l.ClientTimeout, d.ClientTimeout)
	pick(&l.SendTimeout, d.SendTimeout)
	if l.MaxMessageSize == 0 {
		l.MaxMessageSize = d.MaxMessageSize
	}
	number := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	number(&l.MaxQueue, d.MaxQueue)
	number(&l.StreamBuffer, d.StreamBuffer)
	number(&l.MaxStreams, d.MaxStreams)
	number(&l.ParallelCalls, d.ParallelCalls)
	number(&l.ReplayBuffer, d.ReplayBuffer)
	pick(&l.DisconnectTimeout, d.DisconnectTimeout)
	pick(&l.PollTimeout, d.PollTimeout)
	pick(&l.CloseTimeout, d.CloseTimeout)
	l.DetailedErrors = l.DetailedErrors || d.DetailedErrors
	return l
}

func defaultLimits() Limits {
	return Limits{
		HandshakeTimeout: DefaultHandshakeTimeout,
		KeepAlive:        DefaultKeepAlive,
		ClientTimeout:    DefaultClientTimeout,
		SendTimeout:      DefaultSendTimeout,
		MaxMessageSize:   DefaultMaxMessageSize,
		MaxQueue:         DefaultMaxQueue,
		StreamBuffer:     DefaultStreamBuffer,
		MaxStreams:       DefaultMaxStreams,
		ParallelCalls:    DefaultParallelCalls,

		ReplayBuffer:      DefaultReplayBuffer,
		DisconnectTimeout: DefaultDisconnectTimeout,
		PollTimeout:       DefaultPollTimeout,
		CloseTimeout:      DefaultCloseTimeout,
	}
}

// validate names the field that cannot work.
func (l Limits) validate() error {
	switch {
	case l.HandshakeTimeout < 0:
		return fmt.Errorf("hub: HandshakeTimeout is %v; it must be positive", l.HandshakeTimeout)
	case l.SendTimeout < 0:
		return fmt.Errorf("hub: SendTimeout is %v; it must be positive", l.SendTimeout)
	case l.DisconnectTimeout < 0 || l.PollTimeout < 0:
		return fmt.Errorf("hub: DisconnectTimeout is %v and PollTimeout %v; they must be positive", l.DisconnectTimeout, l.PollTimeout)
	case l.MaxQueue < 0:
		return errors.New("hub: MaxQueue is negative; a queue without a bound would let one slow client exhaust the memory")
	case l.StreamBuffer < 0 || l.MaxStreams < 0 || l.ParallelCalls < 0:
		return errors.New("hub: StreamBuffer, MaxStreams and ParallelCalls must be positive")
	}
	return nil
}

// Identity is who a client is, as Options.Authenticate found out.
type Identity struct {
	// UserID is what Clients().User addresses; empty for an anonymous client. It is compared byte by byte.
	UserID string
	// Claims are what else is known of the user. They must not be changed afterwards.
	Claims map[string]any
	// Expires is when Authenticate would no longer accept the proof of identity; zero when that does not end. See HubOptions.CloseExpired.
	Expires time.Time
}

// Backplane carries payloads between the servers of a cluster, over named channels.
// The packages under pkg/backplane implement it.
type Backplane interface {
	// Attach says where to hand what comes in. It is called once, before all else. The backplane calls deliver in order
	// for each channel, one call at a time per channel; deliver never blocks and keeps no part of payload after flush.
	// It calls flush when it has delivered all that it has at hand.
	Attach(deliver func(channel string, payload []byte), flush func())
	// Publish hands one payload to every channel named, and returns when the broker has answered for all of them, or
	// failed. Receivers is the number of subscribers that the broker counted, or -1 if it cannot count them. A payload is never sent twice; an error
	// with a method MaybeSent() bool that returns true means that it may have arrived. It fails at once while the broker is away.
	Publish(ctx context.Context, payload []byte, channels ...string) (receivers int, err error)
	// Enqueue is Publish that does not wait for the broker's answer: it returns when the payload has its place behind all that was
	// published or enqueued to these channels before, and waits for room for it, at most until ctx ends. An error says that nothing
	// was sent. After nil done is called once, with the error that Publish would have returned, perhaps before Enqueue returns; it
	// returns at once. Until then the payload belongs to the backplane.
	Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error
	// Subscribe makes channels wanted, and returns when the broker has confirmed them all. When it fails they stay
	// wanted, and are subscribed to as soon as the broker is back.
	Subscribe(ctx context.Context, channels ...string) error
	// Unsubscribe makes channels unwanted. It does not wait.
	Unsubscribe(channels ...string)
	// Subscribers is the number of nodes that are subscribed to the channel.
	Subscribers(ctx context.Context, channel string) (int, error)
}

// Cluster knows what the nodes of a cluster share. pkg/cluster implements it.
type Cluster interface {
	// NodeID names this process; no other process ever has the same. It stands in connection tokens.
	NodeID() string
	// Secret is what connection tokens are signed with: at least 32 bytes, the same on all nodes; an error until it is known.
	Secret() ([]byte, error)
	// Claim records the first use of a connection id; it says false when the id was used before.
	// An error means that this could not be found out.
	Claim(ctx context.Context, id string) (bool, error)
}

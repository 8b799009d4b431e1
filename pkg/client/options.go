package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// The defaults of Options. The times are those of the official clients.
const (
	DefaultKeepAlive        = 15 * time.Second
	DefaultServerTimeout    = 30 * time.Second
	DefaultHandshakeTimeout = 15 * time.Second
	DefaultSendBuffer       = 100_000
	DefaultReceiveBuffer    = 1 << 20
	DefaultMaxMessageSize   = 16 << 20
	DefaultParallelAnswers  = 100
)

// Transport is a way to carry messages over HTTP, by the name that servers give it.
type Transport string

// The transports, best first.
const (
	WebSockets       Transport = "WebSockets"
	ServerSentEvents Transport = "ServerSentEvents"
	LongPolling      Transport = "LongPolling"
)

// Options configure a Client. The zero value is a JSON client that takes the first transport that works, and does not
// reconnect. In each field zero means the default.
type Options struct {
	// Transports are those that may be used; the server's order counts. Nil allows all.
	Transports []Transport
	// SkipNegotiation opens a WebSocket at once, which saves a round trip. It needs Transports to be nil or WebSockets
	// alone. The connection's id is then not known to the client, and redirects are not followed.
	SkipNegotiation bool

	// Codec is the hub protocol to speak: protocol.JSON, the default, or protocol.MessagePack, which Server-Sent Events
	// cannot carry.
	Codec protocol.Codec

	// AccessToken returns the bearer token for requests. It is asked for each new connection, and once more when a
	// request is answered with 401. A token that comes with a redirect of the server takes its place. Nil sends none.
	AccessToken func(ctx context.Context) (string, error)
	// Header is sent with every request.
	Header http.Header
	// HTTPClient sends the requests; its Timeout does not apply to those that wait for messages. Nil means
	// http.DefaultClient.
	HTTPClient *http.Client

	// KeepAlive is the time between pings to the server. Default 15 s. Negative: no pings, and a server will not notice
	// when the client is gone.
	KeepAlive time.Duration
	// ServerTimeout is how long the server may be silent before the connection counts as lost. It should be twice the
	// server's keep-alive interval. Default 30 s. Negative: for ever.
	ServerTimeout time.Duration
	// HandshakeTimeout bounds each step of connecting: one negotiation, opening one transport, the handshake.
	// Default 15 s.
	HandshakeTimeout time.Duration

	// Reconnect says whether and when to try again after the connection was lost. Nil never does. A failed Start is for
	// the caller to repeat.
	Reconnect ReconnectPolicy
	// StatefulReconnect asks the server to keep the connection for a while when its WebSocket breaks. It is then resumed
	// at once, under the same id and without loss; no state changes and no hook is called. If that fails, the connection
	// is lost, and Reconnect says what follows.
	StatefulReconnect bool

	// SendBuffer is how many bytes may wait to be sent; with a connection that can be resumed, to be acknowledged. Calls
	// wait while there are more. Default 100,000.
	SendBuffer int
	// ReceiveBuffer is how many bytes of messages may wait for handlers, and how many of items for the reader of each
	// stream. When there are more, nothing is read from the connection until they have been taken. As a handler, or the
	// loop over a stream, may be waiting for the answer to a call, 16 times as much is let in while there are such calls.
	// After ServerTimeout of waiting the stream fails with ErrSlow, and the connection with handlers that are too slow
	// does. Default 1 MiB.
	ReceiveBuffer int
	// ParallelAnswers is how many invocations to which the server wants an answer may be in their handlers at the same time. When
	// there are more, the next one waits, and all behind it. Default 100.
	ParallelAnswers int
	// MaxMessageSize bounds one message from the server, in bytes, framing included; a larger one ends the connection.
	// Default 16 MiB. Negative: no bound.
	MaxMessageSize int64

	Hooks Hooks
	// Logger is told what happens. Nil discards it.
	Logger *slog.Logger
}

// Hooks are called as the client's state changes. They run where handlers run: in order with them, and none beside another, but for
// handlers that answer the server.
// A hook may invoke methods. It must not wait for Stop, which waits for it.
type Hooks struct {
	// Reconnecting is called when the connection was lost, and the client is about to connect again.
	Reconnecting func(err error)
	// Reconnected is called when the client has a connection again, before any handler gets a message from it. It has
	// another id, and is in no group.
	Reconnected func(connectionID string)
	// Closed is called last, when the client is closed for good. The error is that of Client.Err. It is not called when
	// Start has never succeeded.
	Closed func(err error)
}

// complete fills in the defaults, or says what is wrong.
func (o *Options) complete() error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Codec == nil {
		o.Codec = protocol.JSON
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Header = o.Header.Clone() // what the caller does with it later is of no concern
	o.Transports = slices.Clone(o.Transports)
	fill(&o.KeepAlive, DefaultKeepAlive)
	fill(&o.ServerTimeout, DefaultServerTimeout)
	fill(&o.HandshakeTimeout, DefaultHandshakeTimeout)
	fill(&o.SendBuffer, DefaultSendBuffer)
	fill(&o.ReceiveBuffer, DefaultReceiveBuffer)
	fill(&o.MaxMessageSize, DefaultMaxMessageSize)
	fill(&o.ParallelAnswers, DefaultParallelAnswers)
	return nil
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) check() error {
	for _, t := range o.Transports {
		switch t {
		case WebSockets, ServerSentEvents, LongPolling:
		default:
			return fmt.Errorf("client: Options.Transports has %q: it must be %q, %q or %q", t, WebSockets, ServerSentEvents, LongPolling)
		}
	}
	switch {
	case o.SkipNegotiation && slices.ContainsFunc(o.Transports, func(t Transport) bool { return t != WebSockets }):
		return errors.New("client: Options.SkipNegotiation works with WebSockets only: leave Transports nil, or set it to WebSockets alone")
	case o.SkipNegotiation && o.StatefulReconnect:
		return errors.New("client: Options.StatefulReconnect is granted in the negotiation: it does not go with SkipNegotiation")
	case o.HandshakeTimeout < 0:
		return errors.New("client: Options.HandshakeTimeout must not be negative")
	case o.SendBuffer < 0:
		return errors.New("client: Options.SendBuffer must not be negative")
	case o.ReceiveBuffer < 0:
		return errors.New("client: Options.ReceiveBuffer must not be negative")
	case o.ParallelAnswers < 0:
		return errors.New("client: Options.ParallelAnswers must not be negative")
	}
	return nil
}

// allows says whether a transport may be used.
func (o *Options) allows(t Transport) bool {
	return o.Transports == nil || slices.Contains(o.Transports, t)
}

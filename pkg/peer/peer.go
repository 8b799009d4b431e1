package peer

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// DefaultWriteTimeout is how long a client may take to accept what a forwarded response brings at once.
const DefaultWriteTimeout = 10 * time.Second

// Bounds of the connections to other nodes. There is none on a whole request: a poll waits, and an event stream lasts.
const (
	dialTimeout = 2 * time.Second
	// idleTimeout is shorter than the other node's, so that it is always this side that closes an idle connection: a request that
	// meets a connection being closed is lost, as nothing is repeated.
	idleTimeout = 30 * time.Second
	// maxIdle is how many connections to one node are kept for later requests.
	maxIdle = 256
)

// Options configure a Peer. Secret and Address are required.
type Options struct {
	// Secret is the cluster's, of which the key for signing is derived; an error until it is known. It may change.
	Secret func() ([]byte, error)
	// Address is the URL of another node's peer port, http://HOST:PORT or https://HOST:PORT. An error means that the node is gone, or that
	// it is not known where it is.
	Address func(ctx context.Context, node string) (string, error)
	// WriteTimeout is how long a client may take to accept what a forwarded response brings at once. Zero means
	// DefaultWriteTimeout; negative, no bound.
	WriteTimeout time.Duration
	// Logger is told of owners that cannot be reached and of requests that are refused. Nil discards it.
	Logger *slog.Logger
	// Release lets go of a request of the connection with this token at this path, which comes through a node that stops. It returns that
	// the request leaves; or that the connection stays without it, so that it may be cut; or neither, when there is no such connection, or
	// none yet. It must not block. Nil means that there never is one.
	Release func(path, token string) (leaves, stays bool)
	// Hooks are told what happens.
	Hooks Hooks
}

// Peer is a node's dealings with the others: Forward sends requests to them, Handler receives theirs. It is safe for concurrent use.
type Peer struct {
	signer       signer
	address      func(ctx context.Context, node string) (string, error)
	writeTimeout time.Duration
	log          *slog.Logger
	hooks        Hooks
	release      func(path, token string) (leaves, stays bool)
	transport    *http.Transport
	complaints   throttle // about owners
	refusals     throttle // about what came to the peer port

	closing context.Context // ends with Close
	close   context.CancelFunc

	mu       sync.Mutex
	closed   bool
	forwards map[*forwarding]struct{} // of underWay
	underWay sync.WaitGroup           // requests that are being forwarded; added to under mu, while not closed
}

// New makes a Peer. It starts nothing; Close must be called in the end.
func New(o Options) *Peer {
	p := &Peer{
		signer:       signer{secret: o.Secret},
		address:      o.Address,
		writeTimeout: o.WriteTimeout,
		log:          o.Logger,
		hooks:        o.Hooks,
		transport:    newTransport(),
		release:      o.Release,
		forwards:     make(map[*forwarding]struct{}),
	}
	if p.writeTimeout == 0 {
		p.writeTimeout = DefaultWriteTimeout
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.closing, p.close = context.WithCancel(context.Background())
	return p
}

// newTransport makes the pool of connections to all other nodes. It uses no proxy, whatever the environment says, and HTTP/1.1, over
// which WebSockets can be opened.
func newTransport() *http.Transport {
	dialer := net.Dialer{
		Timeout: dialTimeout,
		// A node whose host has vanished never says so.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   maxIdle,
		DisableCompression:    true, // what the client and the owner agree on is passed through
		ExpectContinueTimeout: time.Second,
		Protocols:             protocols,
	}
}

// Close cuts off what is being forwarded, and waits until that has ended. Forward answers nothing afterwards.
func (p *Peer) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.close()
	p.underWay.Wait()
	p.transport.CloseIdleConnections()
}

// enter counts a request that Close waits for; it returns false once the Peer is closed.
func (p *Peer) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.underWay.Add(1)
	return true
}

// Running is how many requests are being forwarded.
func (p *Peer) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forwards)
}

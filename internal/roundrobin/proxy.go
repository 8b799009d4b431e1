// Package roundrobin is a TCP proxy that hands each new connection to the next of several servers, in turn and without
// affinity: the plainest load balancer that a cluster must work behind.
package roundrobin

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what Serve returns after Close.
var ErrClosed = errors.New("roundrobin: proxy closed")

// DefaultDialTimeout bounds the attempt to reach one backend.
const DefaultDialTimeout = 2 * time.Second

// Options are the proxy's settings; the zero value is a working one.
type Options struct {
	// DialTimeout bounds the attempt to reach one backend before the next is tried. Zero means DefaultDialTimeout.
	DialTimeout time.Duration
	// Logger is told of backends that do not answer. Nil discards.
	Logger *slog.Logger
}

// Proxy copies bytes between clients and backends. It is safe for concurrent use.
type Proxy struct {
	backends []string
	next     atomic.Uint64
	dial     func(network, address string) (net.Conn, error)
	log      *slog.Logger

	mu      sync.Mutex
	closed  bool
	open    map[io.Closer]struct{} // listeners and connections, to be closed by Close
	running sync.WaitGroup         // one per connection being served
}

// New makes a proxy for the backends, each HOST:PORT. It starts nothing.
func New(backends []string, opts Options) *Proxy {
	if opts.DialTimeout == 0 {
		opts.DialTimeout = DefaultDialTimeout
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	dialer := net.Dialer{Timeout: opts.DialTimeout}
	return &Proxy{backends: backends, dial: dialer.Dial, log: opts.Logger, open: make(map[io.Closer]struct{})}
}

// Serve accepts connections on the caller's goroutine until the listener fails or Close is called; then it returns
// ErrClosed. It closes the listener.
func (p *Proxy) Serve(l net.Listener) error {
	if !p.track(l) {
		return ErrClosed
	}
	defer p.untrack(l)
	for {
		client, err := l.Accept()
		if err != nil {
			if p.isClosed() {
				return ErrClosed
			}
			return err
		}
		if !p.track(client) {
			return ErrClosed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// Close stops Serve, ends every connection and returns when nothing is left running.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		_ = c.Close() // whoever serves it finds out and tidies up
	}
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// serve carries one client's connection until both directions are done or one breaks.
func (p *Proxy) serve(client net.Conn) {
	defer p.untrack(client)
	backend := p.connect()
	if backend == nil {
		return // closing the client's connection is the only word there is in TCP
	}
	if !p.track(backend) {
		return
	}
	defer p.untrack(backend)

	var up sync.WaitGroup
	up.Go(func() { pipe(backend, client) })
	pipe(client, backend)
	up.Wait()
}

// connect reaches the next backend in turn, or the first after it that answers; nil when none does.
func (p *Proxy) connect() net.Conn {
	for range p.backends {
		address := p.backends[(p.next.Add(1)-1)%uint64(len(p.backends))]
		conn, err := p.dial("tcp", address)
		if err == nil {
			return conn
		}
		p.log.Debug("backend does not answer, trying the next", "backend", address, "error", err)
	}
	p.log.Warn("no backend answers, connection closed", "backends", p.backends)
	return nil
}

// pipe copies until src has no more. An orderly end is passed on as the end of this direction alone; anything else
// ends both, so that the other direction does not wait for ever.
func pipe(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
	}
	_ = dst.Close()
	_ = src.Close()
}

// track notes what Close must close. It says false, and closes it, when Close has been called.
func (p *Proxy) track(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.open[c] = struct{}{}
	return true
}

func (p *Proxy) untrack(c io.Closer) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

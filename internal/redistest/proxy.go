package redistest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server, and breaks things at a chosen moment.
type Proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	pairs  map[*pair]struct{}
	dials  int
	hold   []byte // once a client has sent this, its connection is cut when the server has got it
	held   chan struct{}
	delay  time.Duration
	thaw   chan struct{} // closed when what is frozen goes on; nil while nothing is
}

type pair struct {
	client, server net.Conn
	gone           chan struct{} // closed when both are
	once           sync.Once
	mute           bool // drop what the server says
	toClient       sync.Mutex
}

// NewProxy makes a proxy to a TCP address. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, pairs: make(map[*pair]struct{})}
	p.done.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is the proxy's address as a redis:// URL.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Dials is how many connections were made to the proxy so far.
func (p *Proxy) Dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.CutAll()
	p.done.Wait()
}

// CutAll closes all present connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.close()
	}
}

// CutAfter waits for a client to send bytes that contain text: they are passed on to the server, but no reply to them comes
// back, and the connection is cut when the server has replied. That happens once; the channel is closed then.
func (p *Proxy) CutAfter(text string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold, p.held = []byte(text), make(chan struct{})
	return p.held
}

// Inject sends bytes to all present clients, as if the server had said them. It is for moments at which the server is quiet.
func (p *Proxy) Inject(data string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.toClient.Lock()
		_, _ = pair.client.Write([]byte(data))
		pair.toClient.Unlock()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		p.dials++
		if err != nil || p.closed {
			p.mu.Unlock()
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		c := &pair{client: client, server: server, gone: make(chan struct{})}
		p.pairs[c] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { p.up(c) })
		p.done.Go(func() { p.down(c) })
	}
}

func (c *pair) close() {
	c.once.Do(func() { close(c.gone) })
	_ = c.client.Close()
	_ = c.server.Close()
}

// Delay makes everything take that much longer, in each direction, from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Freeze makes a black hole of the network: connections stay and new ones are made, and nothing passes until Thaw. What was on
// its way arrives then, as from a network that heals.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw == nil {
		p.thaw = make(chan struct{})
	}
}

// Thaw ends what Freeze began.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}

// pass waits until what came may go on. It says false when the connection has ended meanwhile.
func (p *Proxy) pass(c *pair) bool {
	p.mu.Lock()
	delay, thaw := p.delay, p.thaw
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-c.gone:
			return false
		}
	}
	if thaw != nil {
		select {
		case <-thaw:
		case <-c.gone:
			return false
		}
	}
	return true
}

// up passes on what the client says.
func (p *Proxy) up(c *pair) {
	defer c.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buf)
		if n > 0 {
			if !p.pass(c) {
				return
			}
			p.mu.Lock()
			if p.hold != nil && bytes.Contains(buf[:n], p.hold) {
				p.hold, c.mute = nil, true
			}
			p.mu.Unlock()
			if _, err := c.server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down passes on what the server says.
func (p *Proxy) down(c *pair) {
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.pairs, c)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buf)
		p.mu.Lock()
		mute := c.mute
		if n > 0 && mute {
			close(p.held)
		}
		p.mu.Unlock()
		if mute {
			return
		}
		if n > 0 {
			if !p.pass(c) {
				return
			}
			c.toClient.Lock()
			_, werr := c.client.Write(buf[:n])
			c.toClient.Unlock()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

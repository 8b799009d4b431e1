package redisurl

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// Links are the connections of a client, which Cut ends, whatever waits on them: go-redis ends a wait for Redis by a time-out alone, and
// that of a connection that it is just opening not even when the client is closed. The zero value is ready for use; it is safe for
// concurrent use.
type Links struct {
	mu   sync.Mutex
	open map[*link]struct{}
	cut  bool
}

// Cut closes all connections. None can be opened any more.
func (l *Links) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.open {
		_ = c.Conn.Close()
	}
}

// CutAfter cuts the connections some time after ctx has ended. stop ends that watch, and must be called.
func (l *Links) CutAfter(ctx context.Context, after time.Duration) (stop func()) {
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ctx.Done():
		case <-over:
			return
		}
		clock := time.NewTimer(after)
		defer clock.Stop()
		select {
		case <-clock.C:
			l.Cut()
		case <-over:
		}
	})
	return func() {
		close(over)
		watch.Wait()
	}
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// through makes a dialer whose connections are among the links.
func (l *Links) through(d dial) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &link{Conn: conn, links: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.cut {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		if l.open == nil {
			l.open = make(map[*link]struct{})
		}
		l.open[c] = struct{}{}
		if raw, ok := conn.(syscall.Conn); ok {
			return rawLink{c, raw}, nil
		}
		return c, nil
	}
}

type link struct {
	net.Conn
	links *Links
}

func (c *link) Close() error {
	c.links.mu.Lock()
	delete(c.links.open, c)
	c.links.mu.Unlock()
	return c.Conn.Close()
}

// rawLink is a link that go-redis can ask whether the other side has closed it.
type rawLink struct {
	*link
	syscall.Conn
}

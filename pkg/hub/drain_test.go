package hub_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// departures are when connections ended, by their reason.
type departures struct {
	mu    sync.Mutex
	began time.Time
	at    []time.Duration
	why   []hub.CloseReason
}

func (d *departures) hooks(string, []string) hub.Hooks {
	return hub.Hooks{Disconnected: func(_ transport.Kind, why hub.CloseReason, _ time.Duration) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.at = append(d.at, time.Since(d.began))
		d.why = append(d.why, why)
	}}
}

// times are the times so far, in order.
func (d *departures) times() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(slices.Values(d.at))
}

// bubble serves s to clients in memory, in a bubble of faked time.
func bubble(t *testing.T, s *hub.Server) (dialClient func() *client, stop func()) {
	l := &inMemory{conns: make(chan net.Conn), closed: make(chan struct{})}
	web := &http.Server{Handler: s}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(l) }()
	through := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		l.conns <- far
		return near, nil
	}}
	return func() *client { return dial(t, "http://hub/chat", over(&http.Client{Transport: through})) },
		func() { _ = web.Close(); <-served }
}

// readAll reads until the connection ends, and answers the close.
func readAll(c *client) {
	for {
		if _, _, err := c.ws.Read(context.Background()); err != nil {
			return
		}
	}
}

// TestDrainIsSpread: goodbyes are spread over the window, one by one, and not within 2 s of a handshake; who comes meanwhile goes, too.
func TestDrainIsSpread(t *testing.T) {
	for _, test := range []struct {
		name         string
		clients      int
		window       time.Duration
		first, last  time.Duration // when the first goodbye comes at the latest, and the last one at the earliest
		end          time.Duration // when the last one comes at the latest
		atMostAtOnce int           // in any 100 ms
	}{
		{"many", 200, 10 * time.Second, 200 * time.Millisecond, 9 * time.Second, 10200 * time.Millisecond, 5},
		{"a few need no long window", 20, 10 * time.Second, 200 * time.Millisecond, time.Second, 2200 * time.Millisecond, 3},
		{"no window", 50, 0, 100 * time.Millisecond, 0, 100 * time.Millisecond, 50},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &departures{}
				s := newServer(t, &chat{}, hub.Options{Hooks: d.hooks})
				dialClient, stop := bubble(t, s)
				for range test.clients {
					go readAll(dialClient())
				}
				time.Sleep(3 * time.Second)
				d.began = time.Now()
				done := make(chan error, 1)
				go func() { done <- s.Drain(context.Background(), test.window) }()
				if err := <-done; err != nil {
					t.Error(err)
				}
				at := d.times()
				if len(at) != test.clients {
					t.Fatalf("%d connections ended; want %d", len(at), test.clients)
				}
				if first, last := at[0], at[len(at)-1]; first > test.first || last < test.last || last > test.end {
					t.Errorf("goodbyes from %v to %v; want the first by %v, the last from %v to %v", first, last, test.first, test.last, test.end)
				}
				for i := range at {
					n := 1
					for i+n < len(at) && at[i+n]-at[i] < 100*time.Millisecond {
						n++
					}
					if n > test.atMostAtOnce {
						t.Fatalf("%d goodbyes within 100 ms, from %v on; want at most %d", n, at[i], test.atMostAtOnce)
					}
				}
				for _, why := range d.why {
					if why != hub.ClosedShutdown {
						t.Errorf("closed because of %q", why)
					}
				}
				if err := s.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
				stop()
			})
		})
	}
}

// TestDrainGoesOn: who connects while others are sent away is let in, and sent away 2 s later at the earliest.
func TestDrainGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &departures{}
		s := newServer(t, &chat{}, hub.Options{Hooks: d.hooks})
		dialClient, stop := bubble(t, s)
		for range 10 {
			go readAll(dialClient())
		}
		time.Sleep(3 * time.Second)
		d.began = time.Now()
		done := make(chan error, 1)
		go func() { done <- s.Drain(context.Background(), 5*time.Second) }()
		time.Sleep(500 * time.Millisecond)
		late := dialClient()
		late.want("close (reconnect true)")
		if took := time.Since(d.began); took < 2500*time.Millisecond || took > 3*time.Second {
			t.Errorf("the late one was sent away %v after the drain began, and came at 500 ms", took)
		}
		late.wantClosed(1000)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := s.Connections(); got != 0 {
			t.Errorf("%d connections are left", got)
		}
		_ = s.Shutdown(context.Background())
		stop()
	})
}

// holdUps serves, in a bubble, a client whose method does not return until release, and one that does not read.
func holdUps(t *testing.T, o hub.Options) (s *hub.Server, release func()) {
	t.Helper()
	h := &chat{block: make(chan struct{}), entered: make(chan string, 1)}
	s = newServer(t, h, o)
	dialClient, stop := bubble(t, s)
	busy, deaf := dialClient(), dialClient()
	go readAll(busy)
	busy.post("Block", "a")
	<-h.entered
	return s, func() {
		close(h.block)
		_ = deaf.ws.CloseNow()
		stop()
	}
}

// TestDrainIsBounded: a client that does not read, and a method that does not return, hold nobody up for longer than they may, and the
// end of the context ends it.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &departures{}
		s, release := holdUps(t, hub.Options{Hooks: d.hooks})
		time.Sleep(3 * time.Second)
		d.began = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(ctx, 0); err != nil {
			t.Error(err)
		}
		// Nobody reads the pipe of the deaf one, so that not even Close can be written.
		for _, at := range d.times() {
			if at > 6*time.Second {
				t.Errorf("a connection ended after %v", at)
			}
		}
		if took := time.Since(d.began); took > 11*time.Second {
			t.Errorf("the drain took %v", took)
		}
		// The method still runs.
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v; want that its time was up", err)
		}
		if took := time.Since(d.began); took > 21*time.Second {
			t.Errorf("the end came after %v", took)
		}
		release()
	})
}

// TestFarewellIsBounded: when its time is up, a server takes no longer than Options.Farewell to cut off a client that does not read and a
// method that does not return.
func TestFarewellIsBounded(t *testing.T) {
	for _, test := range []struct{ farewell, want time.Duration }{{40 * time.Millisecond, 40 * time.Millisecond}, {0, hub.DefaultFarewell}} {
		synctest.Test(t, func(t *testing.T) {
			s, release := holdUps(t, hub.Options{Farewell: test.farewell})
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			began := time.Now()
			if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown: %v; want that its time was up", err)
			}
			if took := time.Since(began); took > test.want {
				t.Errorf("with %v it took %v", test.farewell, took)
			}
			release()
		})
	}
}

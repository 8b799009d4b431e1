package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// site is an HTTP server whose handler can be exchanged, as if it were started anew.
type site struct {
	handler atomic.Value
}

type boxed struct{ http.Handler }

func (s *site) set(h http.Handler) { s.handler.Store(boxed{h}) }
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.Load().(boxed).ServeHTTP(w, r)
}

// unavailable is a server that is being started.
var unavailable = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })

// newHubs returns a server with the lab, which is shut down with the test.
func newHubs(t testing.TB) *hub.Server {
	s := hub.NewServer(hub.Options{})
	l := newLab()
	if err := s.Map("/lab", l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(l.release)
		cutOff(s)
	})
	return s
}

// cutOff shuts a server down at once: connections of a test need not settle first.
func cutOff(s *hub.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ctx)
}

func TestReconnect(t *testing.T) {
	for _, set := range settings() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			where := func(s *hub.Server) http.Handler {
				if set.bridged {
					return newBridge(t, s)
				}
				return s
			}
			var at site
			first, second := newHubs(t), newHubs(t)
			at.set(where(first))
			web := httptest.NewServer(&at)
			t.Cleanup(web.Close)

			events := make(chan string, 16)
			back := make(chan struct{})
			var c *client.Client
			c = prepare(t, web.URL+"/lab", client.Options{
				Transports: []client.Transport{set.transport},
				Codec:      set.codec,
				Reconnect:  client.ReconnectForever(time.Millisecond, 5*time.Millisecond),
				Hooks: client.Hooks{
					Reconnecting: func(err error) {
						if err == nil {
							t.Error("reconnecting without a reason")
						}
						events <- "reconnecting"
						<-back
					},
					Reconnected: func(id string) {
						if id != c.ConnectionID() {
							t.Errorf("reconnected as %q, not %q", id, c.ConnectionID())
						}
						if err := c.Invoke(context.Background(), nil, "Join", "red"); err != nil { // groups are not kept
							t.Error(err)
						}
						events <- "reconnected"
					},
					Closed: func(err error) { events <- "closed" },
				},
			})
			c.On("Told", func(text string) { events <- "told " + text })
			ctx := within(t)
			if err := c.Start(ctx); err != nil {
				t.Fatal(err)
			}
			id := c.ConnectionID()
			pending := hang(t, c)

			at.set(unavailable)
			cutOff(first)
			diff(t, "event", "reconnecting", next(t, events))
			if err := next(t, pending); !errors.Is(err, client.ErrClosed) {
				t.Errorf("an invocation under way: %v", err)
			}
			if err := c.Invoke(ctx, nil, "Nothing"); !errors.Is(err, client.ErrNotConnected) {
				t.Errorf("an invocation without a connection: %v", err)
			}
			at.set(where(second))
			close(back)
			diff(t, "event", "reconnected", next(t, events))
			if now := c.ConnectionID(); now == id || now == "" {
				t.Errorf("the id was %q and is %q", id, now)
			}
			if err := c.Send(ctx, "Tell", "red", "hello"); err != nil {
				t.Error(err)
			}
			diff(t, "event", "told hello", next(t, events))
			if err := c.Stop(ctx); err != nil {
				t.Error(err)
			}
			diff(t, "event", "closed", next(t, events))
		})
	}
}

func TestStart(t *testing.T) {
	var at site
	at.set(unavailable)
	web := httptest.NewServer(&at)
	t.Cleanup(web.Close)
	closed := make(chan error, 1)
	c := prepare(t, web.URL+"/lab", client.Options{Hooks: client.Hooks{Closed: func(err error) { closed <- err }}})
	ctx := within(t)

	if err := c.Send(ctx, "Nothing"); !errors.Is(err, client.ErrNotConnected) {
		t.Errorf("before Start: %v", err)
	}
	var status *client.StatusError
	if err := c.Start(ctx); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("Start: %v", err)
	}
	diff(t, "state after a failed start", client.Disconnected, c.State())
	at.set(newHubs(t))
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err == nil {
		t.Error("it can be started twice")
	}
	diff(t, "state", client.Connected, c.State())
	diff(t, "error while it runs", nil, c.Err())

	pending := hang(t, c)
	for range 2 {
		if err := c.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if err := next(t, pending); !errors.Is(err, client.ErrClosed) {
		t.Errorf("an invocation under way: %v", err)
	}
	next(t, c.Done())
	if err := next(t, closed); err != nil || c.Err() != nil {
		t.Errorf("closed with %v, %v", err, c.Err())
	}
	diff(t, "state", client.Closed, c.State())
	if err := c.Start(ctx); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Start after Stop: %v", err)
	}
	if err := c.Send(ctx, "Nothing"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Send after Stop: %v", err)
	}
}

func TestStopBeforeStart(t *testing.T) {
	c := prepare(t, "http://127.0.0.1:1/lab", client.Options{})
	if err := c.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	next(t, c.Done())
}

func TestStopWhileStarting(t *testing.T) {
	asked := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	t.Cleanup(web.Close)
	c := prepare(t, web.URL, client.Options{})
	started := make(chan error)
	go func() { started <- c.Start(within(t)) }()
	next(t, asked)
	if err := c.Stop(within(t)); err != nil {
		t.Error(err)
	}
	if err := next(t, started); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Start: %v", err)
	}
}

func TestStopWhileReconnecting(t *testing.T) {
	s := serve(t, hub.Options{}, nil)
	reconnecting := make(chan struct{})
	c := dial(t, s.url, client.Options{
		Reconnect: client.ReconnectAfter(time.Hour),
		Hooks:     client.Hooks{Reconnecting: func(error) { close(reconnecting) }},
	})
	cutOff(s.Server)
	next(t, reconnecting)
	diff(t, "state", client.Reconnecting, c.State())
	if err := c.Send(within(t), "Nothing"); !errors.Is(err, client.ErrNotConnected) {
		t.Errorf("Send: %v", err)
	}
	if err := c.Stop(within(t)); err != nil {
		t.Error(err)
	}
	diff(t, "error", nil, c.Err())
}

// A server that ends a connection for good is not bothered again.
func TestServerCloses(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		o.Reconnect = client.DefaultReconnect
		c := dial(t, s.url, o)
		// The connection may end before the server has answered the request that carried this.
		if err := c.Send(within(t), "Part"); err != nil && !errors.Is(err, client.ErrClosed) {
			t.Error(err)
		}
		next(t, c.Done())
		if err := c.Err(); !errors.Is(err, client.ErrServerClosed) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestGivingUp(t *testing.T) {
	var at site
	hubs := newHubs(t)
	at.set(hubs)
	web := httptest.NewServer(&at)
	t.Cleanup(web.Close)
	var attempts []int
	c := dial(t, web.URL+"/lab", client.Options{Reconnect: func(r client.Retry) (time.Duration, bool) {
		attempts = append(attempts, r.Attempt)
		return 0, r.Attempt < 2
	}})
	at.set(unavailable)
	cutOff(hubs)
	next(t, c.Done())
	diff(t, "attempts", []int{0, 1, 2}, attempts)
	var status *client.StatusError
	if err := c.Err(); !errors.As(err, &status) {
		t.Errorf("it ended with %v", err)
	}
}

func TestReconnectPolicies(t *testing.T) {
	var delays []time.Duration
	for n := 0; ; n++ {
		d, ok := client.DefaultReconnect(client.Retry{Attempt: n})
		if !ok {
			break
		}
		delays = append(delays, d)
	}
	diff(t, "default", []time.Duration{0, 2 * time.Second, 10 * time.Second, 30 * time.Second}, delays)
	for n := range 100 {
		d, ok := client.ReconnectForever(time.Second, 10*time.Second)(client.Retry{Attempt: n})
		if bound := min(time.Second<<min(n, 10), 10*time.Second); !ok || d < 0 || d >= bound {
			t.Errorf("attempt %d: %v, %v", n, d, ok)
		}
	}
}

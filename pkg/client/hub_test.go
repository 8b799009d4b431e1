package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// patience is how long a test waits for what must come. Only failing tests wait so long.
const patience = time.Minute

// within returns a context for a test's calls.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lab is the hub of the tests.
type lab struct {
	ended   chan error    // where Forever and Swallow say how they ended
	release chan struct{} // ends Hang
}

func newLab() lab { return lab{make(chan error, 16), make(chan struct{})} }

type point struct {
	X, Y int
	Tags []string `json:",omitempty"`
}

func (lab) Add(_ *hub.Call, a, b int) int              { return a + b }
func (lab) Nothing(*hub.Call)                          {}
func (lab) Move(_ *hub.Call, p point, by int) point    { p.X += by; p.Y += by; return p }
func (lab) Repeat(_ *hub.Call, s string, n int) string { return strings.Repeat(s, n) }
func (lab) Refuse(_ *hub.Call, text string) error      { return hub.Errorf("%s", text) }
func (lab) Fail(*hub.Call) error                       { return errors.New("secret") }
func (lab) Me(c *hub.Call) string                      { return c.UserID() }
func (lab) ID(c *hub.Call) string                      { return c.ConnectionID() }
func (lab) Join(c *hub.Call, group string) error       { return c.Groups().Add(c, c.ConnectionID(), group) }
func (lab) Leave(c *hub.Call, group string) error {
	return c.Groups().Remove(c, c.ConnectionID(), group)
}
func (lab) Say(c *hub.Call, text string) error {
	return c.Clients().All().Send(c, "Said", c.UserID(), text)
}
func (lab) Tell(c *hub.Call, group, text string) error {
	return c.Clients().Group(group).Send(c, "Told", text)
}
func (lab) Nap(_ *hub.Call, ms int) { time.Sleep(time.Duration(ms) * time.Millisecond) }
func (lab) Part(c *hub.Call)        { c.Connection().Abort() }
func (lab) Burst(c *hub.Call, n, size int) error {
	text := strings.Repeat("x", size)
	for i := range n {
		if err := c.Clients().Caller().Send(c, "Piece", i, text); err != nil {
			return err
		}
	}
	return nil
}

// Hang tells the caller that it runs, and heeds nothing but the end of the test.
func (l lab) Hang(c *hub.Call) error {
	if err := c.Clients().Caller().Send(c, "Hanging"); err != nil {
		return err
	}
	<-l.release
	return nil
}

func (lab) Ask(c *hub.Call, question string) (string, error) {
	var answer string
	err := c.Clients().Caller().Invoke(c, &answer, "Question", question)
	if err != nil {
		return "", hub.Errorf("%v", err)
	}
	return answer, nil
}

func (lab) AskOf(c *hub.Call, id, question string) (string, error) {
	var answer string
	if err := c.Clients().Client(id).Invoke(c, &answer, "Question", question); err != nil {
		return "", hub.Errorf("%v", err)
	}
	return answer, nil
}

func (lab) Count(_ *hub.Call, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (lab) CountAndFail(_ *hub.Call, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, hub.Errorf("no more than %d", n))
	}
}

func (l lab) Forever(c *hub.Call) <-chan int {
	ch := make(chan int)
	go func() {
		defer close(ch)
		pace := time.NewTicker(time.Millisecond) // or far more would be on its way than anybody reads
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case ch <- i:
				<-pace.C
			case <-c.Done():
				l.ended <- context.Cause(c)
				return
			}
		}
	}()
	return ch
}

func (lab) Sum(_ *hub.Call, numbers <-chan int) int {
	var sum int
	for n := range numbers {
		sum += n
	}
	return sum
}

// Mix adds up two streams that arrive at the same time, and says how each ended.
func (lab) Mix(_ *hub.Call, unit string, a iter.Seq2[int, error], b iter.Seq2[int, error]) string {
	var out []string
	for _, numbers := range []iter.Seq2[int, error]{a, b} {
		sum, end := 0, "whole"
		for n, err := range numbers {
			if err != nil {
				end = err.Error()
				break
			}
			sum += n
		}
		out = append(out, fmt.Sprintf("%d%s %s", sum, unit, end))
	}
	return strings.Join(out, ", ")
}

// Double streams back what is streamed to it.
func (lab) Double(_ *hub.Call, numbers <-chan int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := range numbers {
			if !yield(2 * n) {
				return
			}
		}
	}
}

// Swallow reads a stream, and tells how it ended.
func (l lab) Swallow(_ *hub.Call, numbers iter.Seq2[int, error]) {
	var failed error
	for _, err := range numbers {
		failed = err
	}
	l.ended <- failed
}

// FirstOf returns before its stream has ended.
func (lab) FirstOf(_ *hub.Call, numbers <-chan int) int { return <-numbers }

// service is a server with the lab at /lab.
type service struct {
	*hub.Server
	lab lab
	web *httptest.Server
	url string
}

func serve(t testing.TB, o hub.Options, wrap func(http.Handler) http.Handler) *service {
	t.Helper()
	s := &service{Server: hub.NewServer(o), lab: newLab()}
	if err := s.Map("/lab", s.lab); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = s.Server
	if wrap != nil {
		handler = wrap(handler)
	}
	s.web = httptest.NewServer(handler)
	s.url = s.web.URL + "/lab"
	t.Cleanup(func() {
		close(s.lab.release)
		cutOff(s.Server)
		s.web.Close()
	})
	return s
}

// byToken takes the bearer token for the user's name.
func byToken(r *http.Request) (hub.Identity, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || strings.HasPrefix(token, "stale") {
		return hub.Identity{}, errors.New("no good token")
	}
	return hub.Identity{UserID: token}, nil
}

// httpClient returns a client whose connections end with the test.
func httpClient(t testing.TB) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// dial starts a client that stops with the test.
func dial(t testing.TB, url string, o client.Options) *client.Client {
	t.Helper()
	c := prepare(t, url, o)
	if err := c.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// prepare makes a client that stops with the test.
func prepare(t testing.TB, url string, o client.Options) *client.Client {
	t.Helper()
	if o.HTTPClient == nil {
		o.HTTPClient = httpClient(t)
	}
	c, err := client.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return c
}

// next waits for a value.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// setting is one line of the table of transports and codecs.
type setting struct {
	name      string
	transport client.Transport
	codec     protocol.Codec
	bridged   bool // the server of the hubs does not serve it: a bridge does
}

// settings are what every conversation is held over.
func settings() []setting {
	return []setting{
		{"WebSockets/json", client.WebSockets, protocol.JSON, false},
		{"WebSockets/messagepack", client.WebSockets, protocol.MessagePack, false},
		{"ServerSentEvents/json", client.ServerSentEvents, protocol.JSON, false},
		{"ServerSentEvents/json/bridged", client.ServerSentEvents, protocol.JSON, true},
		{"LongPolling/json", client.LongPolling, protocol.JSON, false},
		{"LongPolling/messagepack", client.LongPolling, protocol.MessagePack, false},
		{"LongPolling/json/bridged", client.LongPolling, protocol.JSON, true},
		{"LongPolling/messagepack/bridged", client.LongPolling, protocol.MessagePack, true},
	}
}

// over runs a test with each setting.
func over(t *testing.T, o hub.Options, test func(t *testing.T, s *service, o client.Options)) {
	for _, set := range settings() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			var wrap func(http.Handler) http.Handler
			if set.bridged {
				wrap = func(h http.Handler) http.Handler { return newBridge(t, h) }
			}
			test(t, serve(t, o, wrap), client.Options{Transports: []client.Transport{set.transport}, Codec: set.codec})
		})
	}
}

// hang begins an invocation that does not end by itself, and returns once it runs.
func hang(t testing.TB, c *client.Client) (ended <-chan error) {
	t.Helper()
	runs, failed := make(chan struct{}), make(chan error, 1)
	defer c.On("Hanging", func() { close(runs) })()
	ctx := within(t)
	go func() { failed <- c.Invoke(ctx, nil, "Hang") }()
	next(t, runs)
	return failed
}

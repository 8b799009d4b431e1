package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = bytes.Repeat([]byte("s"), 32)

func known(secret []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return secret, nil }
}

// recorder keeps what the hooks were told.
type recorder struct {
	mu       sync.Mutex
	outcomes []Outcome
	refusals []Refusal
}

func (r *recorder) hooks() Hooks {
	return Hooks{
		Forwarded: func(o Outcome, _ time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outcomes = append(r.outcomes, o)
		},
		Refused: func(reason Refusal) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refusals = append(r.refusals, reason)
		},
	}
}

func (r *recorder) forwarded() []Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Outcome(nil), r.outcomes...)
}

func (r *recorder) refused() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal(nil), r.refusals...)
}

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// pair is two nodes: clients come to front, and what they want is at the owner.
type pair struct {
	front *httptest.Server // for clients
	port  *httptest.Server // the owner's peer port
	near  *Peer            // the front's
	far   *Peer            // the owner's
	seen  recorder         // by the front
	met   recorder         // by the owner
	log   logBuffer        // the front's
}

// newPair makes an owner that serves with next. The front does as a hub's endpoint does.
func newPair(t *testing.T, next http.Handler, change ...func(near, far *Options)) *pair {
	t.Helper()
	p := &pair{}
	far := Options{Secret: known(secret), Address: nowhere, Hooks: p.met.hooks()}
	near := Options{Secret: known(secret), Hooks: p.seen.hooks(), Logger: slog.New(slog.NewTextHandler(&p.log, nil))}
	near.Address = func(context.Context, string) (string, error) { return p.port.URL, nil }
	for _, f := range change {
		f(&near, &far)
	}
	p.near, p.far = New(near), New(far)
	p.port = httptest.NewServer(p.far.Handler(next))
	p.front = httptest.NewServer(Strip(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Front", "must not be seen") // as CORS headers may have been set by then
		if !p.near.Forward(w, r, "owner") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "not forwarded")
		}
	})))
	t.Cleanup(func() {
		p.near.Close()
		p.far.Close()
		p.front.CloseClientConnections()
		p.port.CloseClientConnections()
		p.front.Close()
		p.port.Close()
	})
	return p
}

var errNowhere = errors.New("nobody is there")

func nowhere(context.Context, string) (string, error) { return "", errNowhere }

// httpClient keeps no connections, which would be taken for leaks.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// ask sends a request, and returns the answer with its body read.
func ask(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := httpClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wait returns what comes over a channel.
func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s in time", what)
		panic("unreachable")
	}
}

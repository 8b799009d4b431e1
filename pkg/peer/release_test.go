package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// lodger is an owner whose requests last until they are let go of.
type lodger struct {
	mu       sync.Mutex
	asked    []string                 // what Release was asked for
	guests   map[string]chan struct{} // by token; closed to let go
	stubborn string                   // the token of what is not let go of
}

func (l *lodger) guest(token string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.guests[token] == nil {
		l.guests[token] = make(chan struct{})
	}
	return l.guests[token]
}

// release is for Options.
func (l *lodger) release(path, token string) bool {
	c := l.guest(token)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, path+" "+token)
	if token == l.stubborn {
		return false
	}
	close(c)
	return true
}

func (l *lodger) wasAsked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.asked))
}

func (l *lodger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leave := l.guest(r.URL.Query().Get("id"))
	if r.Header.Get("Upgrade") == "" {
		select {
		case <-leave:
		case <-r.Context().Done():
		}
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	gone := ws.CloseRead(context.Background())
	select {
	case <-leave:
		_ = ws.Close(websocket.StatusNormalClosure, "goodbye")
	case <-gone.Done():
	}
}

func newLodger() *lodger { return &lodger{guests: map[string]chan struct{}{}} }

// lodge is a pair with a lodger.
func lodge(t *testing.T) (*pair, *lodger) {
	l := newLodger()
	return newPair(t, l, func(_, far *Options) { far.Release = l.release }), l
}

func (p *pair) forwarding(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); p.near.Running() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are being forwarded, want %d", p.near.Running(), n)
		}
	}
}

// TestRelease: owners are asked once for each request that waits for them, and answer it; a WebSocket gets its goodbye, or is cut
// when its owner keeps its connection.
func TestRelease(t *testing.T) {
	p, l := lodge(t)
	l.stubborn = "stateful"
	answers := make(chan string, 9)
	poll := func(method, token string) {
		res, err := httpClient.Do(request(t, method, p.front.URL+"/chat?id="+token, nil))
		if err != nil {
			answers <- err.Error()
			return
		}
		_ = res.Body.Close()
		answers <- fmt.Sprint(token, " ", res.StatusCode)
	}
	go poll("GET", "one")
	go poll("GET", "two")
	go poll("POST", "message") // it ends by itself
	dial := func(token string) *websocket.Conn {
		ws, _, err := websocket.Dial(t.Context(), p.front.URL+"/chat?id="+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws
	}
	plain, stateful := dial("plain"), dial("stateful")
	p.forwarding(t, 5)

	released := make(chan struct{})
	go func() {
		defer close(released)
		p.near.Release(t.Context(), 0)
	}()
	got := []string{wait(t, answers, "answer"), wait(t, answers, "answer")}
	if slices.Sort(got); !slices.Equal(got, []string{"one 200", "two 200"}) {
		t.Errorf("polls: %q", got)
	}
	if _, _, err := plain.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("a WebSocket that was sent away ended with %v", err)
	}
	if _, _, err := stateful.Read(t.Context()); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("a WebSocket whose connection stays was not cut: %v", err)
	}
	p.forwarding(t, 1)
	select {
	case <-released:
		t.Error("it did not wait for the message")
	default:
	}
	close(l.guest("message"))
	wait(t, released, "end of Release")
	if got, want := l.wasAsked(), []string{"/chat one", "/chat plain", "/chat stateful", "/chat two"}; !slices.Equal(got, want) {
		t.Errorf("the owner was asked for %q, want %q", got, want)
	}
}

// TestReleaseGivesUp: what cannot be let go of is waited for no longer than the context, and then Close cuts it.
func TestReleaseGivesUp(t *testing.T) {
	p, l := lodge(t)
	l.stubborn = "poll"
	failed := make(chan error, 1)
	go func() {
		res, err := httpClient.Do(request(t, "GET", p.front.URL+"/chat?id=poll", nil))
		if err == nil {
			err = errors.Join(res.Body.Close(), fmt.Errorf("answered with %s", res.Status))
		}
		failed <- err
	}()
	p.forwarding(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p.near.Release(ctx, 0)
	if ctx.Err() == nil || p.near.Running() != 1 {
		t.Errorf("it returned before its context, with %d requests forwarded", p.near.Running())
	}
	p.near.Close()
	if err := wait(t, failed, "end of the poll"); err == nil {
		t.Error("the poll did not end")
	}
	p.near.Release(t.Context(), time.Hour) // nothing is left: it returns at once
}

// TestReleaseIsForNodes: nobody else can end a connection, and what is not there is not found.
func TestReleaseIsForNodes(t *testing.T) {
	p, l := lodge(t)
	if res, _ := ask(t, request(t, methodRelease, p.port.URL+"/chat?id=one", nil)); res.StatusCode != http.StatusForbidden {
		t.Errorf("a stranger got %d", res.StatusCode)
	}
	signed := request(t, methodRelease, p.port.URL+"/chat?id=one", nil)
	value, err := p.near.signer.sign("GET", "/chat?id=one", "192.0.2.1:1", time.Now()) // as for a poll
	if err != nil {
		t.Fatal(err)
	}
	signed.Header.Set(Header, value)
	if res, _ := ask(t, signed); res.StatusCode != http.StatusForbidden {
		t.Errorf("a signature for something else got %d", res.StatusCode)
	}
	if got := l.wasAsked(); len(got) != 0 {
		t.Errorf("the owner was asked for %q", strings.Join(got, ", "))
	}
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	early    map[string]int           // how often it is too early to let go of a token
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
func (l *lodger) release(path, token string) (leaves, stays bool) {
	c := l.guest(token)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, path+" "+token)
	if token == l.stubborn {
		return false, true
	}
	if l.early[token] > 0 {
		l.early[token]--
		return false, false
	}
	close(c)
	return true, false
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

// TestReleaseAsksAgain: a connection that its owner does not know yet is sent away as soon as it can be.
func TestReleaseAsksAgain(t *testing.T) {
	t.Parallel()
	p, l := lodge(t)
	l.early = map[string]int{"stream": 2, "socket": 3}
	answer := make(chan int, 1)
	go func() {
		res, err := httpClient.Do(request(t, "GET", p.front.URL+"/chat?id=stream", nil))
		if err != nil {
			answer <- 0
			return
		}
		_ = res.Body.Close()
		answer <- res.StatusCode
	}()
	ws, _, err := websocket.Dial(t.Context(), p.front.URL+"/chat?id=socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	p.forwarding(t, 2)
	left := make(chan int, 1)
	go func() { left <- p.near.Release(t.Context(), 0) }()
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if got := wait(t, answer, "answer"); got != 200 {
		t.Errorf("the stream ended with %d", got)
	}
	if n := wait(t, left, "end of Release"); n != 0 {
		t.Errorf("%d are left", n)
	}
	if got := l.wasAsked(); len(got) != 7 {
		t.Errorf("the owner was asked for %q", got)
	}
}

// TestReleaseHungOwner: an owner that does not answer holds up nobody else's clients, and is given up.
func TestReleaseHungOwner(t *testing.T) {
	t.Parallel()
	const each = 15
	addresses := map[string]string{}
	near := New(Options{Secret: known(secret), Address: func(_ context.Context, node string) (string, error) { return addresses[node], nil }})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		near.Forward(w, r, r.URL.Query().Get("owner"))
	}))
	defer front.Close()
	over := make(chan struct{})
	for _, name := range []string{"healthy", "hung"} {
		l := newLodger()
		far := New(Options{Secret: known(secret), Address: nowhere, Release: func(path, token string) (leaves, stays bool) {
			if name == "hung" {
				<-over
				return false, false
			}
			return l.release(path, token)
		}})
		port := httptest.NewServer(far.Handler(l))
		defer port.Close()
		defer far.Close()
		addresses[name] = port.URL
	}
	defer near.Close() // before its owners, who wait for it
	defer close(over)
	ended := make(chan string, 2*each)
	for i := range each {
		for name := range addresses {
			go func() {
				res, err := httpClient.Do(request(t, "GET", fmt.Sprintf("%s/chat?owner=%s&id=%d", front.URL, name, i), nil))
				if err != nil {
					ended <- name + " cut"
					return
				}
				_ = res.Body.Close()
				ended <- fmt.Sprint(name, " ", res.StatusCode)
			}()
		}
	}
	(&pair{near: near}).forwarding(t, 2*each)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // asked one after the other, for 2 s each, most would not have their turn
	defer cancel()
	left := near.Release(ctx, time.Second)
	if left != each || ctx.Err() != nil {
		t.Errorf("%d are left, want the %d of the one that hangs, before the time is up: %v", left, each, ctx.Err())
	}
	for range each {
		if got := wait(t, ended, "answer"); got != "healthy 200" {
			t.Errorf("a client ended with %q", got)
		}
	}
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

package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOwnerSeesTheClient: to the owner a forwarded request is that of the client, and its answer is the whole answer.
func TestOwnerSeesTheClient(t *testing.T) {
	seen := make(chan *http.Request, 1)
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Add("X-Owner", "a")
		w.Header().Add("X-Owner", "b")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	}))
	r := request(t, "DELETE", p.front.URL+"/chat%2Fx?id=a;b%zz&ID=%41&x", nil)
	r.Host = "chat.example.com:99"
	r.Header = http.Header{
		"Authorization":   {"Bearer abc"},
		"X-Forwarded-For": {"192.0.2.1", "192.0.2.2"},
		"Forwarded":       {"for=192.0.2.1"},
		"User-Agent":      {"test"},
		"Cookie":          {"a=b"},
		"Accept-Encoding": {"br"},
		"Keep-Alive":      {"timeout=5"},                                 // concerns one connection only
		"Connection":      {"X-Mine, X-Forwarded-For, " + Header},        // so does what it names, but for what others say
		"X-Mine":          {"mine"},                                      //
		Header:            {"v1 1767225600000 1 127.0.0.1:1 pretending"}, // means nothing, coming from a client
	}
	var local atomic.Value
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			local.Store(conn.LocalAddr().String())
		}
		return conn, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusTeapot || string(body) != "short and stout" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if got := res.Header.Values("X-Owner"); !slices.Equal(got, []string{"a", "b"}) || res.Header.Get("X-Front") != "" || res.Header.Get(Header) != "" {
		t.Errorf("headers %v", res.Header)
	}
	got := <-seen
	want := http.Header{
		"Authorization": {"Bearer abc"}, "X-Forwarded-For": {"192.0.2.1", "192.0.2.2"}, "Forwarded": {"for=192.0.2.1"},
		"User-Agent": {"test"}, "Cookie": {"a=b"}, "Accept-Encoding": {"br"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got.Method != "DELETE" || got.RequestURI != "/chat%2Fx?id=a;b%zz&ID=%41&x" || got.Host != "chat.example.com:99" {
		t.Errorf("%s %s for %s", got.Method, got.RequestURI, got.Host)
	}
	if got.RemoteAddr != local.Load() {
		t.Errorf("the owner sees a client at %s; it is at %s", got.RemoteAddr, local.Load())
	}
	if diff := cmp.Diff([]Outcome{Answered}, p.seen.forwarded()); diff != "" {
		t.Error(diff)
	}
}

// TestPublicPort: on the port for clients the header means nothing, even a good one.
func TestPublicPort(t *testing.T) {
	got := make(chan http.Header, 1)
	h := Strip(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	value, err := (&signer{secret: known(secret)}).sign("GET", "/", "192.0.2.1:1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header[Header] = []string{value, value}
	h.ServeHTTP(httptest.NewRecorder(), r)
	if h := <-got; len(h) != 0 {
		t.Errorf("headers %v", h)
	}
}

// TestHeaderIsNotRelayed: even if somebody forgot to strip it, a client's header does not reach the owner beside ours.
func TestHeaderIsNotRelayed(t *testing.T) {
	addr := make(chan string, 1)
	p := newPair(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { addr <- r.RemoteAddr }))
	value, err := p.near.signer.sign("GET", "/", "192.0.2.1:1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header[Header] = []string{value, value}
	r.RemoteAddr = "192.0.2.2:2"
	if !p.near.Forward(w, r, "owner") || w.Code != 200 {
		t.Fatalf("status %d, %v", w.Code, p.met.refused())
	}
	if got := <-addr; got != "192.0.2.2:2" {
		t.Errorf("the owner sees %s", got)
	}
}

// zeros is a body without an end, of which only n bytes are read.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLargeBodies: bodies pass through, with and without a length.
func TestLargeBodies(t *testing.T) {
	const size = 20 << 20
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %v %x %d\n", n, err, h.Sum(nil), r.ContentLength)
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	sum := sha256.New()
	_, _ = io.CopyN(sum, zeros{}, size)
	for _, length := range []int64{size, -1} {
		r := request(t, "POST", p.front.URL+"/chat", io.LimitReader(zeros{}, size))
		r.ContentLength = length
		res, body := ask(t, r)
		want := fmt.Sprintf("%d <nil> %x %d\n", size, sum.Sum(nil), length)
		if head, rest, _ := strings.Cut(body, "\n"); res.StatusCode != 200 || head+"\n" != want || len(rest) != size {
			t.Errorf("%d, %q and %d bytes; want %q and %d", res.StatusCode, head, len(rest), want, size)
		}
	}
}

// TestEvents: each event gets through at once, over both hops, and the owner learns that the client has left.
func TestEvents(t *testing.T) {
	more, gone := make(chan string), make(chan struct{})
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush() // the headers alone must get through, too
		for {
			select {
			case text := <-more:
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res, err := httpClient.Do(request(t, "GET", p.front.URL+"/chat", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 3 {
		want := fmt.Sprintf("data: %d\n", i)
		more <- want
		if got, err := lines.ReadString('\n'); got != want || err != nil {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	leave()
	wait(t, gone, "end at the owner")
}

// TestNoOwner: nothing is written when there is nobody to forward to, so that whoever asked can answer.
func TestNoOwner(t *testing.T) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refusing.Close()
	tests := map[string]struct {
		change func(near, far *Options)
		want   Outcome
		log    string
	}{
		"gone": {func(near, _ *Options) { near.Address = nowhere }, NoOwner, ""},
		"a bad address": {func(near, _ *Options) {
			near.Address = func(context.Context, string) (string, error) { return "http://%zz", nil }
		}, NoOwner, ""},
		"refusing connections": {func(near, _ *Options) {
			near.Address = func(context.Context, string) (string, error) { return "http://" + refusing.Addr().String(), nil }
		}, Unreachable, "connection refused"},
		"no secret": {func(near, _ *Options) {
			near.Secret = func() ([]byte, error) { return nil, errors.New("not yet") }
		}, NoOwner, ""},
		"another secret": {func(_, far *Options) { far.Secret = known(bytes.Repeat([]byte("t"), 32)) }, Rejected, "another cluster secret"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody was reached") }), test.change)
			for _, method := range []string{"GET", "POST", "DELETE"} {
				res, body := ask(t, request(t, method, p.front.URL+"/chat", nil))
				if res.StatusCode != 404 || body != "not forwarded" || res.Header.Get("X-Front") == "" {
					t.Errorf("%s: %d %q %v", method, res.StatusCode, body, res.Header)
				}
			}
			if diff := cmp.Diff([]Outcome{test.want, test.want, test.want}, p.seen.forwarded()); diff != "" {
				t.Error(diff)
			}
			if lines := strings.Count(p.log.String(), "\n"); (test.log != "") != (lines == 1) || !strings.Contains(p.log.String(), test.log) {
				t.Errorf("logged %s, want one line with %q", p.log.String(), test.log)
			}
		})
	}
}

// TestNothingIsRepeated: a request is lost with its connection, also one that took over a connection from another request, which is
// when the HTTP client would send it again.
func TestNothingIsRepeated(t *testing.T) {
	var requests atomic.Int32
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if res, _ := ask(t, request(t, method, p.front.URL+"/good", nil)); res.StatusCode != 200 {
			t.Fatalf("%s: %d", method, res.StatusCode)
		}
		before := requests.Load()
		res, body := ask(t, request(t, method, p.front.URL+"/cut", nil))
		if n := requests.Load() - before; n != 1 || res.StatusCode != 404 || body != "not forwarded" {
			t.Errorf("%s: %d requests, answered with %d %q", method, n, res.StatusCode, body)
		}
	}
}

// TestCutShort: an answer that breaks off is not passed on as a whole one.
func TestCutShort(t *testing.T) {
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	res, err := httpClient.Do(request(t, "GET", p.front.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "half" || err == nil {
		t.Errorf("%q, %v", body, err)
	}
}

// TestLoop: what has been forwarded is not forwarded again, wherever it is said to belong.
func TestLoop(t *testing.T) {
	var p *pair
	p = newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			if p.far.Forward(w, r, "a third") {
				t.Error("forwarded again")
			}
		}
		w.WriteHeader(http.StatusNotFound)
	}), func(near, far *Options) {
		far.Address = func(context.Context, string) (string, error) { t.Error("asked for an address"); return p.port.URL, nil }
		far.Logger, near.Logger = near.Logger, nil
	})
	if res, _ := ask(t, request(t, "GET", p.front.URL, nil)); res.StatusCode != 404 {
		t.Errorf("status %d", res.StatusCode)
	}
	if diff := cmp.Diff([]Outcome{Loop, Loop, Loop}, p.met.forwarded()); diff != "" {
		t.Error(diff)
	}
	if text := p.log.String(); strings.Count(text, "forwarded before") != 1 {
		t.Errorf("logged %s", text)
	}
}

// TestAbandoned: a client that leaves before there is an answer is no fault of the owner.
func TestAbandoned(t *testing.T) {
	came, gone := make(chan struct{}), make(chan struct{})
	p := newPair(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done()
		close(gone)
	}))
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-came
		leave()
	}()
	if res, err := httpClient.Do(request(t, "GET", p.front.URL, nil).WithContext(ctx)); err == nil {
		_ = res.Body.Close()
		t.Error("answered")
	}
	wait(t, gone, "end at the owner")
	p.near.Close()
	if diff := cmp.Diff([]Outcome{Abandoned}, p.seen.forwarded()); diff != "" {
		t.Error(diff)
	}
}

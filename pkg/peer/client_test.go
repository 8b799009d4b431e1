package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSlowClient: a client that does not read keeps nothing busy for longer than the write timeout.
func TestSlowClient(t *testing.T) {
	gone := make(chan error, 1)
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, zeros{})
		gone <- err
	}), func(near, _ *Options) { near.WriteTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", p.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := wait(t, gone, "end at the owner"); err == nil {
		t.Error("it was all written")
	}
	p.near.underWay.Wait()
}

// TestCloseCutsSlowClients: the end does not wait for a client that does not read.
func TestCloseCutsSlowClients(t *testing.T) {
	full := make(chan struct{}, 2)
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var read counted
		go func() {
			read.stuck()
			full <- struct{}{}
		}()
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.Copy(w, &read)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: zeros\r\n\r\n")
		_, _ = io.Copy(conn, &read)
	}), func(near, _ *Options) { near.WriteTimeout = time.Hour })
	for _, header := range []string{"", "Connection: Upgrade\r\nUpgrade: zeros\r\n"} {
		p.near = New(Options{Secret: known(secret), WriteTimeout: time.Hour, Address: p.near.address})
		conn, err := net.Dial("tcp", p.front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
		wait(t, full, "full buffers")
		closed := make(chan struct{})
		go func() { p.near.Close(); close(closed) }()
		wait(t, closed, "end of Close")
	}
}

// counted are zeros, of which it is known how often they were asked for.
type counted struct {
	zeros
	reads atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	c.reads.Add(1)
	return c.zeros.Read(b)
}

// stuck returns when there has been no reading for a while: the buffers on the way are full.
func (c *counted) stuck() {
	for last, same := int64(0), 0; same < 20; time.Sleep(5 * time.Millisecond) {
		if n := c.reads.Load(); n == 0 || n != last {
			last, same = n, 0
		} else {
			same++
		}
	}
}

// TestConnectionLivesOn: after a forwarded request the client's connection serves others, without the limits of that one.
func TestConnectionLivesOn(t *testing.T) {
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		func(near, _ *Options) { near.WriteTimeout = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", p.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		time.Sleep(400 * time.Millisecond) // on purpose: longer than the limit of what has just been written
	}
}

// TestClose: what is under way ends at once, and nothing more is forwarded.
func TestClose(t *testing.T) {
	var gone atomic.Int32
	waiting := make(chan struct{}, 2)
	p := newPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer gone.Add(1)
		if r.URL.Path == "/events" {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path == "/poll" {
			waiting <- struct{}{}
		}
		<-r.Context().Done()
	}))
	results := make(chan string, 2)
	for _, path := range []string{"/poll", "/events"} {
		go func() {
			res, err := httpClient.Do(request(t, "GET", p.front.URL+path, nil))
			if err != nil {
				results <- err.Error()
				return
			}
			defer res.Body.Close()
			in := bufio.NewReader(res.Body)
			if path == "/events" {
				_, _ = in.Peek(1)
				waiting <- struct{}{}
			}
			body, err := io.ReadAll(in)
			results <- fmt.Sprintf("%s %d %s %v", path, res.StatusCode, body, err != nil)
		}()
	}
	wait(t, waiting, "first request")
	wait(t, waiting, "second request")
	p.near.Close()
	got := []string{wait(t, results, "answer"), wait(t, results, "answer")}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"/events 200 x true", "/poll 404 not forwarded false"}, got); diff != "" {
		t.Error(diff)
	}
	if res, body := ask(t, request(t, "GET", p.front.URL, nil)); res.StatusCode != 404 || body != "not forwarded" {
		t.Errorf("%d %q after Close", res.StatusCode, body)
	}
	p.near.Close() // once more does no harm
}

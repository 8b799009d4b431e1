package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/peer"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// fleet is three nodes that share a Redis of their own.
func fleet(t *testing.T, change ...func(*Config)) (server *redistest.Server, a, b, c started) {
	t.Helper()
	server = redistest.Start(t)
	var nodes []started
	for range 3 {
		config := Config{Redis: server.URL(), RedisPrefix: "x:", ClusterSecret: secret}
		for _, f := range change {
			f(&config)
		}
		nodes = append(nodes, start(t, config))
	}
	for _, n := range nodes {
		eventually(t, "ready", func() bool { status, _ := n.askAdmin(t, "/readyz"); return status == 200 })
	}
	return server, nodes[0], nodes[1], nodes[2]
}

// post sends messages of a client that cannot send them over its transport.
func post(t *testing.T, s started, token string, messages ...string) int {
	t.Helper()
	body := strings.NewReader(strings.Join(messages, "\x1e") + "\x1e")
	resp, err := httpClient.Post(s.url("/room?id="+token), "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

const handshake = `{"protocol":"json","version":1}`

// TestLongPollingOverAllNodes: each request of a connection lands on another node.
func TestLongPollingOverAllNodes(t *testing.T) {
	server, a, b, c := fleet(t)
	token := negotiate(t, a)
	poll := func(s started) string {
		t.Helper()
		status, body, _ := ask(t, "GET", s.url("/room?id="+token))
		if status != 200 {
			t.Fatalf("poll: %d %s", status, body)
		}
		return body
	}
	if got := poll(b); got != "" {
		t.Errorf("the first poll brought %q", got)
	}
	if status := post(t, c, token, handshake); status != 200 {
		t.Errorf("POST: %d", status)
	}
	if got := poll(a); !strings.HasPrefix(got, "{}\x1e") {
		t.Errorf("the handshake brought %q", got)
	}
	say := func(s started, text string) {
		t.Helper()
		if status := post(t, s, token, `{"type":1,"target":"Say","arguments":["`+text+`"]}`); status != 200 {
			t.Errorf("POST: %d", status)
		}
	}
	for i, s := range []started{a, b, c} {
		say(s, "hello")
		if got := poll([]started{b, c, a}[i]); got != `{"type":1,"target":"heard","arguments":["hello"]}`+"\x1e" {
			t.Errorf("polled %q", got)
		}
	}

	// What needs no Redis goes on without it.
	server.Stop()
	for _, s := range []started{b, c} {
		eventually(t, "degraded", func() bool { _, body := s.askAdmin(t, "/readyz"); return strings.HasPrefix(body, "degraded") })
		if status := post(t, s, token, `{"type":1,"invocationId":"1","target":"Who","arguments":[]}`); status != 200 {
			t.Errorf("POST without Redis: %d", status)
		}
		if got := poll(s); !strings.Contains(got, `"invocationId":"1"`) {
			t.Errorf("polled %q", got)
		}
	}

	if status, _, _ := ask(t, "DELETE", c.url("/room?id="+token)); status != 202 {
		t.Errorf("DELETE: %d", status)
	}
	status, body, h := ask(t, "GET", b.url("/room?id="+token))
	if status != 404 || body != "No Connection with that ID" || h.Get("Cache-Control") != "no-cache, no-store" {
		t.Errorf("a poll after the end: %d %q %v", status, body, h)
	}
}

// openEvents opens an event stream, which ends with the test.
func openEvents(t *testing.T, s started, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url("/room?id="+token), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := httpClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestEventsOverTwoNodes: events come through a node that does not own them, and so does the goodbye of the one that does.
func TestEventsOverTwoNodes(t *testing.T) {
	_, a, b, c := fleet(t)
	token := negotiate(t, a)
	resp := openEvents(t, b, token)
	in := bufio.NewReader(resp.Body)
	next := func() string {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				return strings.TrimSpace(data)
			}
		}
	}
	if status := post(t, c, token, handshake, `{"type":1,"target":"Say","arguments":["hello"]}`); status != 200 {
		t.Fatalf("POST: %d", status)
	}
	if got := next(); !strings.HasPrefix(got, "{}\x1e") {
		t.Errorf("got %q", got)
	}
	if got := next(); !strings.Contains(got, `"hello"`) {
		t.Errorf("got %q", got)
	}
	if status, _, _ := ask(t, "GET", c.url("/room?id="+token), "Accept", "text/event-stream"); status != http.StatusConflict {
		t.Errorf("a second stream with the same token: %d", status)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- a.stop() }()
	for got := ""; !strings.Contains(got, `"type":7`); {
		if got = next(); strings.Contains(got, `"type":7`) && !strings.Contains(got, `"allowReconnect":true`) {
			t.Errorf("said goodbye with %q", got)
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	// The owner is gone now.
	for _, method := range []string{"GET", "POST", "DELETE"} {
		status, body, h := ask(t, method, c.url("/room?id="+token))
		if status != 404 || body != "No Connection with that ID" || h.Get("Content-Type") != "text/plain" {
			t.Errorf("%s after the owner's end: %d %q %v", method, status, body, h)
		}
	}
	_, metrics := c.askAdmin(t, "/metrics")
	count := func(outcome string) (n int) {
		for line := range strings.Lines(grep(metrics, `forwards_total{outcome="`+outcome+`"}`)) {
			_, _ = fmt.Sscanf(line[strings.LastIndexByte(line, ' '):], "%d", &n)
		}
		return n
	}
	// Until c asks Redis again, it finds out by trying.
	if count("answered") != 2 || count("unreachable")+count("no_owner") != 3 {
		t.Errorf("counted wrongly:\n%s", grep(metrics, "forwards"))
	}
}

func grep(text, word string) (found string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found += line
		}
	}
	return found
}

// TestForwardedIsReleased: a node that stops does not cut off what it passes on. Its owner answers a poll that waits there, so that the
// client comes again through another node, and sends a client with an event stream away.
func TestForwardedIsReleased(t *testing.T) {
	t.Parallel()
	_, a, b, c := fleet(t)
	eventually(t, "seen", func() bool { return b.others.count() == 3 })
	polling, streaming := negotiate(t, a), negotiate(t, a)
	if status, _, _ := ask(t, "GET", b.url("/room?id="+polling)); status != 200 { // it opens the connection
		t.Fatalf("poll: %d", status)
	}
	if status := post(t, b, polling, handshake); status != 200 {
		t.Fatalf("POST: %d", status)
	}
	if _, got, _ := ask(t, "GET", b.url("/room?id="+polling)); got != "{}\x1e" {
		t.Fatalf("the handshake was answered with %q", got)
	}
	stream := openEvents(t, b, streaming)
	defer stream.Body.Close()
	if status := post(t, b, streaming, handshake); status != 200 {
		t.Fatalf("POST: %d", status)
	}
	var polled string
	var polls sync.WaitGroup
	polls.Go(func() {
		status, body, _ := ask(t, "GET", b.url("/room?id="+polling))
		polled = fmt.Sprint(status, body)
	})
	eventually(t, "forwarding both", func() bool { return b.peer.Running() == 2 })
	began := time.Now()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	polls.Wait()
	if polled != "200" {
		t.Errorf("the poll brought %q, want nothing, with 200", polled)
	}
	events, err := io.ReadAll(stream.Body)
	if err != nil || !strings.HasSuffix(string(events), "data: {\"type\":7,\"allowReconnect\":true}\x1e\r\n\r\n") {
		t.Errorf("the stream ended with %v, behind %q", err, events)
	}
	if err := a.Hub("/room").Clients().All().Send(t.Context(), "heard", "still here"); err != nil {
		t.Error(err)
	}
	if _, got, _ := ask(t, "GET", c.url("/room?id="+polling)); !strings.Contains(got, "still here") {
		t.Errorf("polled %q through another node", got)
	}
}

// TestPeerPort: it serves no client, and the header of forwarded requests means nothing where clients are served.
func TestPeerPort(t *testing.T) {
	t.Parallel()
	_, a, b, _ := fleet(t)
	token := negotiate(t, a)
	peerURL := "http://" + a.PeerAddr().String()
	for _, path := range []string{"/room?id=" + token, "/room/negotiate", "/", "/metrics"} {
		for _, header := range []string{"", "v1 1767225600000 1 127.0.0.1:1 AAAA"} {
			if status, _, _ := ask(t, "GET", peerURL+path, peer.Header, header); status != 403 {
				t.Errorf("%s with %q: %d, want 403", path, header, status)
			}
		}
	}
	if _, body := a.askAdmin(t, "/metrics"); !strings.Contains(body, `hubfleet_peer_requests_refused_total{reason="unsigned"} 4`) {
		t.Errorf("counted wrongly:\n%s", grep(body, "refused"))
	}
	// On the port for clients the header neither hinders nor helps.
	if status, _, _ := ask(t, "GET", b.url("/room?id="+token), peer.Header, "v1 1767225600000 1 127.0.0.1:1 AAAA"); status != 200 {
		t.Errorf("a poll with a forged header: %d", status)
	}
	if status, _, _ := ask(t, "GET", b.url("/room?id="+strings.Repeat("A", 60)), peer.Header, ""); status != 404 {
		t.Errorf("a forged token: %d", status)
	}
}

// TestPeerPortReachesHubsOnly: what else a node serves to clients, other nodes have no business with. And on the port for clients
// nobody sees the header of forwarded requests.
func TestPeerPortReachesHubsOnly(t *testing.T) {
	n := make1(t, Config{Redis: redistest.URL(t), RedisPrefix: redistest.Prefix(t), ClusterSecret: secret})
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	n.Handle("GET /hello", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello"+r.Header.Get(peer.Header))
	}))
	s := run(t, n)
	if status, body, _ := ask(t, "GET", s.url("/hello"), peer.Header, "forged"); status != 200 || body != "hello" {
		t.Errorf("%d %q", status, body)
	}
	other := peer.New(peer.Options{
		Secret:  func() ([]byte, error) { return secret, nil },
		Address: func(context.Context, string) (string, error) { return "http://" + s.PeerAddr().String(), nil },
	})
	defer other.Close()
	for path, want := range map[string]int{"/hello": 404, "/room": 400} {
		w := httptest.NewRecorder()
		if !other.Forward(w, httptest.NewRequest("GET", path, nil), "it") || w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// TestOwnersThatAreNot: a token of a node that is dead, or whose place another node has taken, is answered as one whose connection is
// over.
func TestOwnersThatAreNot(t *testing.T) {
	var log syncBuffer
	server, a, b, _ := fleet(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	put := func(address string) string {
		id := cluster.NewNodeID("dead")
		if address != "" {
			server.Do(t, "SET", "x:node:"+id, `{"address":"`+address+`"}`)
		}
		token, _, err := transport.NewTokens(id, func() ([]byte, error) { return secret, nil }).Mint("/room", false)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	type answer struct {
		Status            int
		Body, Type, Cache string
	}
	noCache := func(method string) string {
		if method == "GET" {
			return "no-cache, no-store"
		}
		return ""
	}
	for name, address := range map[string]string{
		"gone":     "",
		"refusing": "http://127.0.0.1:1",
		"a loop":   "http://" + b.PeerAddr().String(), // which is not that node, and forwards nothing that was forwarded
		"itself":   "http://" + a.PeerAddr().String(),
	} {
		token := put(address)
		for _, method := range []string{"GET", "POST", "DELETE"} {
			status, body, h := ask(t, method, a.url("/room?id="+token))
			want := answer{404, "No Connection with that ID", "text/plain", noCache(method)}
			if diff := cmp.Diff(want, answer{status, body, h.Get("Content-Type"), h.Get("Cache-Control")}); diff != "" {
				t.Errorf("%s, %s:\n%s", name, method, diff)
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "forwarded before") {
		t.Errorf("logged:\n%s", grep(text, "forward"))
	}
}

// TestAdvertise: what is configured is announced as it is, and what is listened on otherwise.
func TestAdvertise(t *testing.T) {
	server := redistest.Start(t)
	find := func(s started) string {
		var text string
		eventually(t, "announced", func() bool {
			value, _ := server.Do(t, "EVAL", "return redis.call('GET', KEYS[1]) or ''", 1, "x:node:"+s.cluster.NodeID()).(string)
			text = value
			return text != ""
		})
		return text
	}
	a := start(t, Config{Redis: server.URL(), RedisPrefix: "x:"})
	if got := find(a); !strings.Contains(got, `"address":"http://`+a.PeerAddr().String()+`"`) {
		t.Errorf("announced as %s", got)
	}
	b := start(t, Config{Redis: server.URL(), RedisPrefix: "x:", Advertise: "http://b.internal:99", Version: "v9"})
	if got := find(b); !strings.Contains(got, `"address":"http://b.internal:99","version":"v9"`) {
		t.Errorf("announced as %s", got)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if n := server.Do(t, "EXISTS", "x:node:"+b.cluster.NodeID()); n != int64(0) {
		t.Error("still announced after its end")
	}
	off := start(t, Config{Redis: server.URL(), RedisPrefix: "x:", PeerListen: Off})
	alone := start(t, Config{})
	if off.PeerAddr() != nil || alone.PeerAddr() != nil {
		t.Errorf("listening for nobody at %v, %v", off.PeerAddr(), alone.PeerAddr())
	}
	token := negotiate(t, a)
	eventually(t, "ready", func() bool { status, _ := off.askAdmin(t, "/readyz"); return status == 200 })
	if status, _, _ := ask(t, "GET", off.url("/room?id="+token)); status != 404 {
		t.Errorf("a poll at a node that does not forward: %d", status)
	}
}

// TestDifferentSecrets: a node whose secret is not that of the others says so, and what to do.
func TestDifferentSecrets(t *testing.T) {
	t.Parallel()
	_, a, _, _ := fleet(t)
	b := start(t, Config{Redis: a.config.Redis, RedisPrefix: "x:", ClusterSecret: []byte(strings.Repeat("another secret ", 3))})
	var body string
	eventually(t, "at odds", func() bool { _, body = b.askAdmin(t, "/readyz"); return strings.Contains(body, "secret") })
	if !strings.HasPrefix(body, "degraded\nsecret: degraded since ") || !strings.Contains(body, "get 404: start all nodes with the same --cluster-secret") {
		t.Errorf("readyz: %s", body)
	}
	if _, body := a.askAdmin(t, "/readyz"); body != "ok\n" {
		t.Errorf("readyz of the others: %s", body)
	}
}

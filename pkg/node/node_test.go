package node

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func TestRoutes(t *testing.T) {
	n := make1(t, Config{})
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	n.Handle("GET /hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	s := run(t, n)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/room/negotiate?negotiateVersion=1", 200},
		{"GET", "/hello", 200},
		{"GET", "/", 404},
		{"GET", "/metrics", 404},
		{"GET", "/readyz", 404},
		{"GET", "/debug/pprof/", 404},
		{"GET", "/room/other", 404},
		{"POST", "/rooms/negotiate", 404},
	} {
		if status, body, _ := ask(t, tt.method, s.url(tt.path)); status != tt.status {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, status, body, tt.status)
		}
	}
	if n.Hub("/room") == nil || n.Hub("/nowhere") != nil {
		t.Error("Hub finds the wrong ones")
	}
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestTwoNodes sends from one node to the client of another.
func TestTwoNodes(t *testing.T) {
	url, prefix := redistest.URL(t), redistest.Prefix(t)
	a, b := start(t, Config{Redis: url, RedisPrefix: prefix}), start(t, Config{Redis: url, RedisPrefix: prefix})
	for _, n := range []started{a, b} {
		eventually(t, "ready", func() bool { status, _ := n.askAdmin(t, "/readyz"); return status == 200 })
	}
	onA, onB := a.connect(t, ""), b.connect(t, "")
	onB.send(`{"type":1,"target":"Say","arguments":["hi"]}`)
	for _, c := range []*client{onA, onB} {
		if got := c.next(); got != `{"type":1,"target":"heard","arguments":["hi"]}` {
			t.Errorf("got %s", got)
		}
	}
	if err := b.Hub("/room").Clients().All().Send(t.Context(), "heard", "outside"); err != nil {
		t.Error(err)
	}
	if got := onA.next(); !strings.Contains(got, "outside") {
		t.Errorf("got %s", got)
	}
}

// TestTokenOfAnotherNode negotiates on one node and connects to the other.
func TestTokenOfAnotherNode(t *testing.T) {
	url, prefix := redistest.URL(t), redistest.Prefix(t)
	a, b := start(t, Config{Redis: url, RedisPrefix: prefix}), start(t, Config{Redis: url, RedisPrefix: prefix})
	for _, n := range []started{a, b} {
		eventually(t, "ready", func() bool { status, _ := n.askAdmin(t, "/readyz"); return status == 200 })
	}
	token := negotiate(t, a)
	b.connect(t, "?id="+token)
	if status, _, _ := ask(t, "GET", a.url("/room?id="+token), upgrade()...); status != http.StatusConflict {
		t.Errorf("a token that was used on the other node: %d, want 409", status)
	}
}

// upgrade is the headers of a WebSocket request.
func upgrade() []string {
	return []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
}

// negotiate gets a connection token.
func negotiate(t *testing.T, s started) string {
	t.Helper()
	status, body, _ := ask(t, "POST", s.url("/room/negotiate?negotiateVersion=1"))
	_, rest, ok := strings.Cut(body, `"connectionToken":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if status != 200 || !ok {
		t.Fatalf("negotiate: %d %s", status, body)
	}
	return token
}

// TestSecretGivenAlone: with a secret that was given, a token of one process is good in another.
func TestSecretGivenAlone(t *testing.T) {
	a, b := start(t, Config{ClusterSecret: secret}), start(t, Config{ClusterSecret: secret})
	b.connect(t, "?id="+negotiate(t, a))
	c := start(t, Config{})
	if status, _, _ := ask(t, "GET", c.url("/room?id="+negotiate(t, a)), upgrade()...); status != http.StatusNotFound {
		t.Errorf("a token of another cluster: %d, want 404", status)
	}
}

func TestAuth(t *testing.T) {
	s := start(t, Config{JWT: auth.Options{Secret: secret}})
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/room/negotiate?negotiateVersion=1"
	if status, _, _ := ask(t, "POST", s.url(path)); status != 401 {
		t.Errorf("without a token: %d", status)
	}
	if status, _, _ := ask(t, "POST", s.url(path), "Authorization", "Bearer "+token+"x"); status != 401 {
		t.Errorf("with a forged token: %d", status)
	}
	if status, _, _ := ask(t, "POST", s.url(path), "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("with a token: %d", status)
	}
	c := s.connect(t, "?access_token="+token)
	c.send(`{"type":1,"invocationId":"1","target":"Who","arguments":[]}`)
	if got := c.next(); got != `{"type":3,"invocationId":"1","result":"ann"}` {
		t.Errorf("got %s", got)
	}
	_, metrics := s.askAdmin(t, "/metrics")
	for _, want := range []string{`hubfleet_auth_failures_total{reason="missing"} 1`, `hubfleet_auth_failures_total{reason="expired"} 0`,
		`hubfleet_connections{hub="room",transport="web_sockets"} 1`, `hubfleet_invocations_total{hub="room",method="Who",outcome="ok"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestStopSaysGoodbye(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"alone":    {},
		"on Redis": {Redis: redistest.URL(t), RedisPrefix: redistest.Prefix(t)},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, c)
			eventually(t, "ready", func() bool { status, _ := s.askAdmin(t, "/readyz"); return status == 200 })
			clients := []*client{s.connect(t, ""), s.connect(t, "")}
			var result error
			var stopping sync.WaitGroup
			stopping.Go(func() { result = s.stop() })
			for _, c := range clients {
				c.expectClose()
			}
			stopping.Wait()
			if result != nil {
				t.Errorf("Run: %v", result)
			}
			if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("the listener is still open")
			}
		})
	}
}

// hung has a method that heeds nothing until it is released.
type hung struct{ entered, release chan struct{} }

func (h hung) Hang(*hub.Call) error {
	close(h.entered)
	<-h.release
	return nil
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	h := hung{make(chan struct{}), make(chan struct{})}
	n := make1(t, Config{DrainTimeout: 4 * time.Second})
	if err := n.Map("/room", h); err != nil {
		t.Fatal(err)
	}
	s := run(t, n)
	c := s.connect(t, "")
	c.send(`{"type":1,"invocationId":"1","target":"Hang","arguments":[]}`)
	<-h.entered
	began := time.Now()
	err := s.stop()
	if took := time.Since(began); took > n.config.DrainTimeout+500*time.Millisecond {
		t.Errorf("stopped after %v, though the bound is %v", took, n.config.DrainTimeout)
	}
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	close(h.release)
}

// TestStopIsBoundedWithoutAnswers: a Redis that falls silent when a node stops costs it no more than its drain timeout.
func TestStopIsBoundedWithoutAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := make1(t, Config{Redis: server.URL(), RedisPrefix: "x:", DrainTimeout: 4 * time.Second})
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	s := run(t, n)
	eventually(t, "ready", func() bool { status, _ := s.askAdmin(t, "/readyz"); return status == 200 })
	s.connect(t, "")
	server.Pause()
	defer server.Resume()
	n.Drain()
	<-n.Draining()
	began := time.Now()
	if err := s.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > n.config.DrainTimeout {
		t.Errorf("stopped after %v, though the bound is %v", took, n.config.DrainTimeout)
	}
}

// TestUnreachableRedis goes through the life of a node whose Redis is away, comes, goes and comes.
func TestUnreachableRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	var log syncBuffer
	s := start(t, Config{
		Redis:  strings.Replace(server.URL(), "redis://", "redis://user:hunter2@", 1),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	eventually(t, "saying why", func() bool {
		_, body := s.askAdmin(t, "/readyz")
		return strings.Contains(body, "refused")
	})
	status, body := s.askAdmin(t, "/readyz?verbose")
	if status != 503 || !strings.HasPrefix(body, "not ready: backplane: waiting for the first contact with Redis: ") || !strings.Contains(body, "cluster: waiting since") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, body := s.askAdmin(t, "/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %s", status, body)
	}
	if status, _, header := ask(t, "POST", s.url("/room/negotiate?negotiateVersion=1")); status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("negotiate: %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	if text := log.String(); !strings.Contains(text, server.Addr()) {
		t.Errorf("the log does not name %s: %s", server.Addr(), text)
	}

	allow := func() { server.Do(t, "ACL", "SETUSER", "user", "on", ">hunter2", "~*", "&*", "+@all") }
	server.Restart()
	allow()
	eventually(t, "ready", func() bool { status, body := s.askAdmin(t, "/readyz"); return status == 200 && body == "ok\n" })
	if status, _, _ := ask(t, "POST", s.url("/room/negotiate?negotiateVersion=1")); status != 200 {
		t.Errorf("negotiate: %d", status)
	}
	c := s.connect(t, "")

	server.Stop()
	eventually(t, "degraded", func() bool {
		status, body := s.askAdmin(t, "/readyz")
		return status == 200 && strings.HasPrefix(body, "degraded\nbackplane: degraded since ")
	})
	c.send(`{"type":1,"invocationId":"1","target":"Who","arguments":[]}`) // the connection stays
	if got := c.next(); !strings.Contains(got, `"type":3`) {
		t.Errorf("got %s", got)
	}
	server.Restart()
	allow()
	eventually(t, "ok again", func() bool { status, body := s.askAdmin(t, "/readyz"); return status == 200 && body == "ok\n" })
	_, metrics := s.askAdmin(t, "/metrics")
	for _, want := range []string{"hubfleet_backplane_up 1", "hubfleet_backplane_reconnects_total 1", "hubfleet_backplane_gaps_total 1", "hubfleet_ready 1"} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("the password stands in the log")
	}
}

// TestStopWithoutRedis: a node that never met its Redis stops as cleanly as any other.
func TestStopWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	s := start(t, Config{Redis: server.URL()})
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

func TestPartFails(t *testing.T) {
	s := start(t, Config{})
	_ = s.clients.Close() // as if the operating system had taken it away
	eventually(t, "ended", func() bool {
		_, err := net.Dial("tcp", s.AdminAddr().String())
		return err != nil
	})
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "clients") {
		t.Errorf("Run: %v, want what has failed", err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, c := range map[string]Config{
		"clients": {Listen: l.Addr().String(), AdminListen: "127.0.0.1:0"},
		"admin":   {Listen: "127.0.0.1:0", AdminListen: l.Addr().String()},
		"peers":   {Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", PeerListen: l.Addr().String(), Redis: "redis://127.0.0.1:1"},
	} {
		n, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		"DrainTimeout":  {DrainTimeout: -1},
		"ClusterSecret": {ClusterSecret: []byte("short")},
		"NodeName":      {NodeName: "a b"},
		"Listen":        {Listen: "8080"},
		"AdminListen":   {AdminListen: "localhost"},
		"PeerListen":    {PeerListen: "localhost"},
		"Advertise":     {Advertise: "localhost:8081"},
		"origin":        {AllowedOrigins: []string{"app.example.com"}},
		"Redis":         {Redis: "http://h"},
		"primary":       {Redis: "redis+sentinel://h"},
		"several":       {Redis: "redis://h:1,redis://h:2"},
		"bytes":         {JWT: auth.Options{Secret: []byte("short")}},
		"Secret":        {JWT: auth.Options{Issuer: "x"}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestNames(t *testing.T) {
	given := make1(t, Config{NodeName: "blue", Redis: "redis://127.0.0.1:1"})
	if given.Name() != "blue" || given.cluster.NodeID() == "blue" {
		t.Errorf("name %q, id %q: a name may be given again, an id must not", given.Name(), given.cluster.NodeID())
	}
	a, b := make1(t, Config{}), make1(t, Config{})
	if a.Name() == "" || a.Name() == b.Name() {
		t.Errorf("names %q and %q", a.Name(), b.Name())
	}
}

// syncBuffer lets a test read what a logger writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

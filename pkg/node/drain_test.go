package node

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// TestPlan: the parts of the drain timeout add up to less than it, whatever it is.
func TestPlan(t *testing.T) {
	s := time.Second
	for _, test := range []struct {
		timeout, delay time.Duration
		others         bool
		want           plan
	}{
		{30 * s, 5 * s, true, plan{delay: 5 * s, window: 13 * s, hubs: 28 * s}},
		{30 * s, -1, true, plan{delay: -1, window: 18 * s, hubs: 28 * s}},
		{30 * s, 5 * s, false, plan{hubs: 28 * s}},
		{120 * s, 10 * s, true, plan{delay: 10 * s, window: 98 * s, hubs: 118 * s}},
		{10 * s, 5 * s, true, plan{delay: 5 * s, window: 1500 * time.Millisecond, hubs: 8 * s}},
		{s, 5 * s, true, plan{delay: s / 2, window: s / 8, hubs: s * 3 / 4}},
		{4 * s, 5 * s, true, plan{delay: 2 * s, window: s / 2, hubs: 3 * s}},
	} {
		got := newPlan(test.timeout, test.delay, test.others)
		got.window = got.window.Round(time.Microsecond)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("%v with a delay of %v (-want +got):\n%s", test.timeout, test.delay, diff)
		}
		if used := max(got.delay, 0) + got.window; used >= got.hubs || got.hubs >= test.timeout {
			t.Errorf("%v with a delay of %v: %+v leaves no time for the rest", test.timeout, test.delay, got)
		}
	}
}

func TestOthers(t *testing.T) {
	var o others
	if o.any() || o.next() != "" || o.count() != 0 {
		t.Error("somebody is there before anybody was seen")
	}
	o.saw([]cluster.NodeInfo{{ID: "a"}, {ID: "b"}, {ID: "c", Leaving: true}, {ID: "d"}}, "a")
	var got []string
	for range 4 {
		got = append(got, o.next())
	}
	if diff := cmp.Diff([]string{"d", "b", "d", "b"}, got); diff != "" {
		t.Error(diff)
	}
	if o.count() != 4 {
		t.Errorf("%d nodes; want 4", o.count())
	}
	o.saw([]cluster.NodeInfo{{ID: "a"}, {ID: "c", Leaving: true}}, "a")
	if o.any() {
		t.Error("a node that is about to go counts as one that stays")
	}
}

// minted is the node in whose name a node mints tokens.
func minted(t *testing.T, s started) string {
	t.Helper()
	tokens := transport.NewTokens("", func() ([]byte, error) { return secret, nil })
	token, err := tokens.Parse("/room", negotiate(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return token.Node
}

// progress is what the node's operator is told.
func progress(t *testing.T, method string, s started) (status int, p Progress) {
	t.Helper()
	status, body, _ := ask(t, method, "http://"+s.AdminAddr().String()+"/drain")
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return status, p
}

// TestDrainLeadsElsewhere goes through the phases of a drain that the operator asks for.
func TestDrainLeadsElsewhere(t *testing.T) {
	t.Parallel()
	_, a, b, c := fleet(t, func(c *Config) { c.DrainDelay, c.DrainTimeout = 3*time.Second, 20*time.Second })
	if got := minted(t, a); got != a.cluster.NodeID() {
		t.Errorf("a node that serves mints in the name of %s", got)
	}
	eventually(t, "seen", func() bool { return a.others.count() == 3 && b.others.count() == 3 })
	clients := []*client{a.connect(t, ""), a.connect(t, ""), a.connect(t, "")}
	if status, p := progress(t, "GET", a); status != 200 || p.Phase != phaseServing || p.Connections != 3 {
		t.Errorf("before: %d %+v", status, p)
	}
	ended := make(chan error, 1)
	if status, p := progress(t, "POST", a); status != 202 {
		t.Errorf("POST /drain: %d %+v", status, p)
	}
	go func() { ended <- a.wait() }()
	eventually(t, "leaving", func() bool { _, p := progress(t, "GET", a); return p.Phase == phaseLeaving })

	eventually(t, "leaving, as others see it", func() bool {
		_, fields := b.getJSON(t, "/nodes")
		nodes, _ := fields["nodes"].([]any)
		for _, node := range nodes {
			if n := node.(map[string]any); (n["leaving"] == true) != (n["id"] == a.cluster.NodeID()) {
				return false
			}
		}
		return len(nodes) == 3
	})

	// It is not ready, and serves.
	if status, body := a.askAdmin(t, "/readyz"); status != 503 || !strings.Contains(body, "stopping") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := progress(t, "POST", a); status != 202 {
		t.Errorf("POST /drain again: %d", status)
	}
	seen := map[string]bool{}
	for range 4 {
		seen[minted(t, a)] = true
	}
	if want := map[string]bool{b.cluster.NodeID(): true, c.cluster.NodeID(): true}; !cmp.Equal(want, seen) {
		t.Errorf("clients are led to %v, want %v", seen, want)
	}
	clients[0].send(`{"type":1,"target":"Say","arguments":["still"]}`)
	for _, c := range clients {
		if got := c.next(); !strings.Contains(got, "still") {
			t.Errorf("got %s", got)
		}
	}
	late := a.connect(t, "?id="+negotiate(t, a)) // a WebSocket lives where it lands, and must not be refused
	_, metrics := a.askAdmin(t, "/metrics")
	for _, want := range []string{"hubfleet_draining 1", "hubfleet_draining_connections 4", "hubfleet_ready 0"} {
		if !strings.Contains(metrics, "\n"+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}

	for _, c := range append(clients, late) {
		c.expectClose()
	}
	if conn, err := net.Dial("tcp", a.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the listener is still open")
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	eventually(t, "gone from the directory", func() bool {
		nodes, err := b.cluster.Nodes(t.Context())
		return err == nil && len(nodes) == 2
	})
	if got := minted(t, b); got != b.cluster.NodeID() {
		t.Errorf("another node mints in the name of %s", got)
	}
}

// TestDrainOfAll: when all go at once, none waits for another to take its clients.
func TestDrainOfAll(t *testing.T) {
	_, a, b, c := fleet(t, func(c *Config) { c.DrainDelay, c.DrainTimeout = 50*time.Second, 100*time.Second })
	began := time.Now()
	nodes := []started{a, b, c}
	for _, n := range nodes {
		n.Drain()
	}
	for _, n := range nodes {
		if err := n.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v, though nobody was left to go to", took)
	}
}

// TestDrainOfForwards: a client whose event stream comes through a node that drains is sent away as soon as it has done its handshake; one
// that never does is cut off, and the log says so.
func TestDrainOfForwards(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	_, a, b, c := fleet(t, func(c *Config) {
		c.DrainDelay, c.DrainTimeout, c.Logger = -1, 8*time.Second, slog.New(slog.NewTextHandler(&log, nil))
	})
	eventually(t, "seen", func() bool { return a.others.count() == 3 && b.others.count() == 3 })
	slow, silent := negotiate(t, a), negotiate(t, a)
	stream := openEvents(t, b, slow)
	openEvents(t, b, silent)
	eventually(t, "forwarded", func() bool { return b.peer.Running() == 2 })
	ended := make(chan error, 1)
	go func() { ended <- b.stop() }()
	eventually(t, "closing", func() bool { return b.Progress().Phase == phaseClosing })
	if status := post(t, c, slow, handshake); status != 200 {
		t.Fatalf("POST: %d", status)
	}
	body, err := io.ReadAll(stream.Body)
	if err != nil || !strings.Contains(string(body), `{"type":7,"allowReconnect":true}`) {
		t.Errorf("the stream ended with %v: %q", err, body)
	}
	if p := b.Progress(); p.Phase != phaseClosing || p.Forwards != 1 {
		t.Errorf("while one is left: %+v", p)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=WARN msg=\"drained, but not all") || !strings.Contains(log.String(), "forwards_cut=1") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// TestDrainAlone: a node without others ends as soon as its clients have gone.
func TestDrainAlone(t *testing.T) {
	s := start(t, Config{DrainDelay: 50 * time.Second, DrainTimeout: 100 * time.Second})
	c := s.connect(t, "")
	began := time.Now()
	s.Drain()
	c.expectClose()
	if err := s.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestPagesCannotDrain: a page in the operator's browser can send a POST to the admin listener, and nothing comes of it.
func TestPagesCannotDrain(t *testing.T) {
	s := start(t, Config{})
	url := "http://" + s.AdminAddr().String() + "/drain"
	if status, _, _ := ask(t, "POST", url, "Origin", "https://evil.example"); status != http.StatusForbidden {
		t.Errorf("from another origin: %d, want 403", status)
	}
	if _, p := progress(t, "GET", s); p.Phase != phaseServing {
		t.Errorf("the node is %s", p.Phase)
	}
}

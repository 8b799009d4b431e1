package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain makes the test's own binary stand in for a node when it is started as one.
func TestMain(m *testing.M) {
	if os.Getenv("DEVCLUSTER_TEST_NODE") != "" {
		standIn()
		return
	}
	goleak.VerifyTestMain(m)
}

// standIn has a node's flags, answers with its name, is ready at once and leaves on SIGTERM.
func standIn() {
	name := flag.String("node-name", "", "")
	listen := flag.String("listen", "", "")
	admin := flag.String("admin-listen", "", "")
	flag.Bool("demo", false, "")
	flag.String("log-format", "", "")
	flag.String("redis", "", "")
	flag.String("peer-listen", "", "")
	flag.String("advertise", "", "")
	fail := flag.Bool("fail", false, "")
	flag.Parse()
	if *fail {
		fmt.Println("cannot go on")
		os.Exit(3)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *name) })
	go func() { panic(http.ListenAndServe(*listen, answer)) }()
	go func() { panic(http.ListenAndServe(*admin, answer)) }()
	<-stop
}

// running is a cluster under test.
type running struct {
	*cluster
	events *json.Decoder
	cancel context.CancelFunc
	ended  chan error
	logs   *strings.Builder // read only after ended
}

func begin(t *testing.T, s settings) *running {
	t.Helper()
	t.Setenv("DEVCLUSTER_TEST_NODE", "1")
	s.node, s.listen, s.json = os.Args[0], "127.0.0.1:0", true
	out, in := io.Pipe()
	var logs strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	r := &running{
		cluster: newCluster(s, newReport(true, in, &logs)),
		events:  json.NewDecoder(bufio.NewReader(out)),
		cancel:  cancel,
		ended:   make(chan error, 1),
		logs:    &logs,
	}
	go func() { r.ended <- r.run(ctx); in.Close() }()
	t.Cleanup(func() {
		cancel()
		_, _ = io.Copy(io.Discard, out)
	})
	return r
}

// next reads events until one of the kind.
func (r *running) next(t *testing.T, kind string) event {
	t.Helper()
	for {
		var e event
		if err := r.events.Decode(&e); err != nil {
			t.Fatalf("waiting for %q: %v", kind, err)
		}
		if e.Event == kind {
			return e
		}
	}
}

func get(t *testing.T, url string) (string, error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestPlay starts a cluster with a real Redis, kills a node, starts it again, and ends it all.
func TestPlay(t *testing.T) {
	c := begin(t, settings{nodes: 3})
	up := c.next(t, "ready")

	var served []string
	for range 3 {
		name, err := get(t, up.URL)
		if err != nil {
			t.Fatal(err)
		}
		served = append(served, name)
	}
	if got := strings.Join(served, " "); got != "node-1 node-2 node-3" {
		t.Errorf("three requests were served by %s, want each node once", got)
	}

	go c.obey(strings.NewReader("kill 2\n"))
	if e := c.next(t, "exited"); e.Name != "node-2" || e.Status != "signal: killed" {
		t.Errorf("got %+v, want node-2 killed", e)
	}
	go c.obey(strings.NewReader("start node-2\n"))
	if e := c.next(t, "started"); e.Name != "node-2" {
		t.Errorf("got %+v, want node-2 started", e)
	}

	c.cancel()
	go drain(c.events)
	if err := <-c.ended; err != nil {
		t.Errorf("run returned %v", err)
	}
	for _, node := range up.Nodes {
		if name, err := get(t, node.URL); err == nil {
			t.Errorf("%s still answers after the end", name)
		}
	}
}

func drain(d *json.Decoder) {
	for {
		var e event
		if d.Decode(&e) != nil {
			return
		}
	}
}

// TestNodeFails: a node that cannot start ends the whole with an error that points at its log.
func TestNodeFails(t *testing.T) {
	c := begin(t, settings{nodes: 1, redis: "none", nodeArgs: []string{"-fail"}})
	drain(c.events)
	err := <-c.ended
	if err == nil || err.Error() != "node-1 ended before it was ready; its log above says why" {
		t.Errorf("run returned %v", err)
	}
	if want := "node-1  │ cannot go on\n"; !strings.Contains(c.logs.String(), want) {
		t.Errorf("logs %q lack %q", c.logs, want)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		args []string
		err  string
	}{
		{[]string{"-nodes", "2", "--", "--keep-alive", "1s"}, ""},
		{[]string{"-nodes", "0"}, "--nodes is 0, but a cluster has at least one node"},
		{[]string{"-redis", "none"}, "--redis none leaves 3 nodes without a way to each other: use --nodes 1"},
		{[]string{"-nonsense"}, "flag provided but not defined: -nonsense"},
	}
	for _, test := range tests {
		_, err := parse(test.args, io.Discard)
		if got := fmt.Sprint(err); err != nil && got != test.err || err == nil && test.err != "" {
			t.Errorf("parse(%q) returned %q, want %q", test.args, got, test.err)
		}
	}
}

func TestCommand(t *testing.T) {
	c := newCluster(settings{}, newReport(false, io.Discard, io.Discard))
	c.members = []*member{{process: &process{name: "node-1"}}}
	tests := map[string]string{
		"kill":    `cannot read "kill": kill NAME, stop NAME or start NAME`,
		"kill 7":  `no process is called "7": node-1 (or 1) and so on, or redis`,
		"kill 1":  "node-1 is not running",
		"feed 1":  "cannot feed: kill, stop and start are what can be done",
		"stop me": `no process is called "me": node-1 (or 1) and so on, or redis`,
	}
	for line, want := range tests {
		if err := c.command(strings.Fields(line)); fmt.Sprint(err) != want {
			t.Errorf("%q returned %v, want %s", line, err, want)
		}
	}
}

func TestLogs(t *testing.T) {
	var out strings.Builder
	w := newReport(false, io.Discard, &out).logs("node-1")
	for _, part := range []string{"one\ntwo", "", " more\n\n", strings.Repeat("x", maxLine+1), "y\n"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("Write returned %d, %v", n, err)
		}
	}
	const p = "node-1  │ "
	want := p + "one\n" + p + "two more\n" + p + "\n" + p + strings.Repeat("x", maxLine+1) + "\n" + p + "y\n"
	if out.String() != want {
		t.Errorf("got %.200q, want %.200q", out.String(), want)
	}
}

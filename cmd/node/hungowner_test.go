package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// TestDrainBesideHungOwner drains a node through which clients of two others come, one of which is stopped: those of the one that lives
// are told to come back, each of them, and the drain is over soon, and says what it cut.
func TestDrainBesideHungOwner(t *testing.T) {
	t.Parallel()
	const each = 15
	args := []string{"--redis=" + redistest.Start(t).URL(), "--demo=true", "--drain-delay=1s", "--drain-timeout=60s"}
	front, owner, hung := launch(t, args...), launch(t, args...), launch(t, args...)
	for _, p := range []*process{front, owner, hung} {
		poll(t, "ready", func() bool { status, _ := p.get(p.admin + "/readyz"); return status == 200 })
	}
	ended := make(chan string, each)
	for range each {
		events(t, front, owner, func(last string) { ended <- last })
		events(t, front, hung, func(string) {})
	}
	hung.freeze()
	front.signal(syscall.SIGTERM)
	for range each {
		select {
		case last := <-ended:
			if !strings.Contains(last, `"type":7`) || !strings.Contains(last, `"allowReconnect":true`) {
				t.Errorf("a stream of the node that lives ended with %q", last)
			}
		case <-time.After(time.Minute):
			t.Fatal("a stream goes on")
		}
	}
	if code := front.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	line := front.log.wait(t, `msg="drained, but not all`)
	took, err := time.ParseDuration(attribute(line, "after"))
	if err != nil || took > 25*time.Second || attribute(line, "forwards_cut") != "15" || !strings.Contains(line, "level=WARN") {
		t.Errorf("after %v (%v): %s", took, err, line)
	}
	if log := front.log.String(); strings.Contains(log, "phase=ending") {
		t.Errorf("it was ending while it waited:\n%s", log)
	}
}

// events opens an event stream of a connection of one node through another, and does its handshake. When it ends, last is told what
// came last.
func events(t *testing.T, through, owner *process, last func(data string)) {
	t.Helper()
	resp, err := http.Post("http://"+owner.client+"/chat/negotiate?negotiateVersion=1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var negotiated struct{ ConnectionToken string }
	if err := json.NewDecoder(resp.Body).Decode(&negotiated); err != nil {
		t.Fatal(err)
	}
	url := "http://" + through.client + "/chat?id=" + negotiated.ConnectionToken
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Body.Close() })
	sent, err := http.Post(url, "text/plain", strings.NewReader(`{"protocol":"json","version":1}`+"\x1e"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, sent.Body)
	_ = sent.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	next := func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		return ""
	}
	if got := next(); got != "{}\x1e" {
		t.Fatalf("handshake answered with %q", got)
	}
	go func() { // ends with the stream
		data := ""
		for got := next(); got != ""; got = next() {
			data = got
		}
		last(data)
	}()
}

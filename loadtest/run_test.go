package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// serve runs a bare server in this process.
func serve(t *testing.T, tamper func([]byte) [][]byte) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newBareServer(false)
	s.tamper = tamper
	done := make(chan error, 1)
	go func() { done <- s.serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/chat"
}

// TestCatches loads servers that do it wrong in every way there is: each must be told.
func TestCatches(t *testing.T) {
	// nth does something to one message and lets the others pass.
	nth := func(n int, wrong func([]byte) [][]byte) func([]byte) [][]byte {
		i := 0
		return func(m []byte) [][]byte {
			if i++; i == n {
				return wrong(m)
			}
			return [][]byte{m}
		}
	}
	var kept []byte
	for _, test := range []struct {
		name   string
		tamper func([]byte) [][]byte
		want   string
	}{
		{"lossy", nth(5, func([]byte) [][]byte { return nil }), "4 lost"},
		{"doubling", nth(5, func(m []byte) [][]byte { return [][]byte{m, m} }), "4 doubled"},
		{"reordering", nth(5, func(m []byte) [][]byte { kept = m; return nil }), "4 out of order"},
		{"damaging", nth(5, func(m []byte) [][]byte {
			return [][]byte{bytes.Replace(m, []byte("xxxxx"), []byte("xxyxx"), 1)}
		}), "4 damaged"},
		{"mixing", nth(5, func(m []byte) [][]byte {
			i := bytes.Index(m, []byte("LT")) + markerSize
			return [][]byte{slices.Concat(m[:i], []byte("0001"), m[i+4:])}
		}), "4 at a connection that they were not for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tamper := test.tamper
			if test.name == "reordering" {
				swap := test.tamper
				tamper = func(m []byte) [][]byte {
					late := kept
					out := swap(m)
					if late != nil && len(out) > 0 {
						out, kept = append(out, late), nil
					}
					return out
				}
			}
			url := serve(t, tamper)
			code, out := loadtest(t, "--url", url, "--connections", "3", "--rate", "200", "--duration", "200ms", "--warmup", "0", "--timeout", "300ms")
			if code != exitFailure || !strings.Contains(out, test.want) {
				t.Errorf("exit %d, want %d with %q in\n%s", code, exitFailure, test.want, out)
			}
		})
	}
}

// TestStallShows lets a server stall once: at a steady rate all that was due meanwhile was late, and the percentiles say so.
func TestStallShows(t *testing.T) {
	const stall = 400 * time.Millisecond
	var stalled atomic.Bool
	url := serve(t, func(m []byte) [][]byte {
		if !stalled.Swap(true) {
			time.Sleep(stall) // this is what is measured
		}
		return [][]byte{m}
	})
	file := filepath.Join(t.TempDir(), "out.json")
	code, out := loadtest(t, "--url", url, "--connections", "1", "--rate", "1000", "--duration", "800ms", "--warmup", "0", "--json", file)
	if code != exitOK {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	if l := readOutcome(t, file).Results[0].Latency; l.Max < 390 || l.P50 > 390 || l.P90 < 100 {
		t.Errorf("p50 %v ms, p90 %v ms, max %v ms after a stall of %v; want the stall in the maximum, and much of it in p90", l.P50, l.P90, l.Max, stall)
	}
}

func readOutcome(t *testing.T, file string) *outcome {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcome{}
	if err := json.Unmarshal(b, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestHub runs every scenario against a hub of this repository, in both protocols.
func TestHub(t *testing.T) {
	srv := hub.NewServer(hub.Options{Authenticate: hubUser})
	if err := srv.Map("/chat", room{}); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	defer web.Close()
	defer srv.Shutdown(t.Context())
	for _, scenario := range scenarios {
		for _, protocol := range []string{"json", "messagepack"} {
			t.Run(scenario+" "+protocol, func(t *testing.T) {
				code, out := loadtest(t, "--url", web.URL+"/chat", "--scenario", scenario, "--protocol", protocol, "--connections", "20",
					"--senders", "2", "--group-size", "5", "--user-connections", "2", "--in-flight", "3", "--duration", "150ms", "--warmup", "20ms", "--storms", "2")
				if code != exitOK {
					t.Errorf("exit %d:\n%s", code, out)
				}
			})
		}
	}
}

// mortal is a room in which the first message ends a process.
type mortal struct {
	room
	end func()
}

func (m mortal) SendMessage(c *hub.Call, user, message string) error {
	m.end()
	return m.room.SendMessage(c, user, message)
}

// TestProcessEnds: what was measured until a process ended is reported, and that it ended.
func TestProcessEnds(t *testing.T) {
	process := exec.Command("sleep", "100")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	srv := hub.NewServer(hub.Options{Authenticate: hubUser})
	if err := srv.Map("/chat", mortal{end: sync.OnceFunc(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})}); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	defer web.Close()
	defer srv.Shutdown(t.Context())
	file := filepath.Join(t.TempDir(), "out.json")
	code, out := loadtest(t, "--url", web.URL+"/chat", "--connections", "2", "--duration", "200ms", "--warmup", "50ms", "--json", file, "--pid", strconv.Itoa(process.Process.Pid))
	if want := fmt.Sprintf("process %d has ended", process.Process.Pid); code != exitFailure || !strings.Contains(out, want) {
		t.Errorf("exit %d and %q, want exit %d and %q", code, out, exitFailure, want)
	}
	if r := readOutcome(t, file).Results; len(r) != 1 || r[0].Delivered == 0 {
		t.Errorf("what was measured is lost: %+v", r)
	}
}

// TestBare runs the bare servers as processes, two of them joined by Redis, with workers in processes of their own.
func TestBare(t *testing.T) {
	redis := redistest.Start(t)
	for _, args := range []string{
		"--scenario broadcast --in-flight 4",
		"--scenario groups --protocol messagepack --workers 2",
		"--scenario echo --rate 300",
		"--scenario streams",
		"--scenario streams --protocol messagepack",
		"--scenario broadcast --rate 100 --workers 2 --redis " + redis.URL(),
	} {
		dir := t.TempDir()
		page, file := filepath.Join(dir, "out.html"), filepath.Join(dir, "out.json")
		code, out := loadtest(t, append(strings.Fields(args), "--bare", "--warmup", "50ms", "--connections", "40", "--senders", "2", "--duration", "200ms", "--html", page, "--json", file)...)
		if code != exitOK || !strings.Contains(out, "bare, joining") {
			t.Errorf("%s: exit %d:\n%s", args, code, out)
			continue
		}
		for _, r := range readOutcome(t, file).Results {
			if r.Delivered == 0 || r.Latency.P50 == 0 || r.Connected < 40 || len(r.Processes) == 0 || r.Processes[0].Memory == 0 {
				t.Errorf("%s: %s: nothing was measured: %d delivered, latency %v ms, processes %+v", args, r.Target, r.Delivered, r.Latency.P50, r.Processes)
			}
		}
		checkPage(t, page)
	}
}

// TestNobodyThere is a run against nothing.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	code, out := loadtest(t, "--url", "http://"+l.Addr().String()+"/chat", "--connections", "2", "--duration", "100ms")
	if code != exitFailure || !strings.Contains(out, "nobody could connect") || !strings.Contains(out, "connection refused") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

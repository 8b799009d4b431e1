package hub_test

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// TestIdleConnectionsRest guards what an idle connection costs: one goroutine, whose stack is that of one which has done nothing but
// wait, also after the client has called, and pinged.
func TestIdleConnectionsRest(t *testing.T) {
	const connections = 20
	url := start(t, &chat{}, hub.Options{Limits: hub.Limits{KeepAlive: time.Hour}})
	clients := make([]*client, connections)
	for i := range clients {
		clients[i] = dial(t, url)
	}
	waitForReaders(t, connections, 0)
	for _, c := range clients {
		c.wantCall("result: 3", "Add", 1, 2)
	}
	waitForReaders(t, 0, connections) // one that has called may do so again
	for range 2 {
		for _, c := range clients {
			c.send(`{"type":6}`)
		}
		waitForReaders(t, connections, 0)
	}
}

// waitForReaders waits until so many connections rest, and so many read without resting.
func waitForReaders(t testing.TB, rest, read int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		gotRest, gotRead := 0, 0
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		for g := range strings.SplitSeq(stacks.String(), "\n\n") {
			switch {
			case !strings.Contains(g, "hub.(*Connection)"):
			case strings.Contains(g, "hub.(*Connection).receive("), strings.Contains(g, "hub.(*Connection).serve("):
				gotRead++
			default:
				gotRest++
			}
		}
		if gotRest == rest && gotRead == read {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections rest, %d read; want %d and %d", gotRest, gotRead, rest, read)
		}
		runtime.Gosched()
	}
}

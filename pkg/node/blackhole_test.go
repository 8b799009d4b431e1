package node

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// TestBlackHole: the network to Redis swallows everything for a while, under load. Connections stay and new ones come; what goes to the
// caller works; sends fail, and at once when it has been noticed; and when it is over nothing is left over, be it a goroutine or memory.
func TestBlackHole(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	n := start(t, Config{Redis: proxy.URL(), ClusterSecret: secret, Authenticate: byQuery})
	room := n.Hub("/room")
	whole := func() bool {
		status, body := n.askAdmin(t, "/readyz")
		return status == http.StatusOK && body == "ok\n"
	}
	eventually(t, "ready", whole)
	ann := n.connect(t, "?user=ann")
	who := func(c *client, want string) {
		t.Helper()
		c.send(`{"type":1,"invocationId":"1","target":"Who","arguments":[]}`)
		if got := c.next(); got != `{"type":3,"invocationId":"1","result":"`+want+`"}` {
			t.Errorf("got %s", got)
		}
	}
	ballast := strings.Repeat("x", 20_000)
	const senders, each = 20, 250 // 100 MB
	send := func(check func(error)) {
		var all sync.WaitGroup
		for range senders {
			all.Go(func() {
				for range each {
					check(room.Clients().Group("nobody").Send(t.Context(), "heard", ballast))
				}
			})
		}
		all.Wait()
	}
	send(func(err error) { // whatever grows once has grown
		if err != nil {
			t.Error(err)
		}
	})
	goroutines, heap := runtime.NumGoroutine(), liveHeap()

	proxy.Freeze()
	err := room.Clients().All().Send(t.Context(), "heard", "into the hole")
	if !errors.Is(err, hub.ErrMaybeSent) && !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("the first send: %v", err)
	}
	eventually(t, "noticed", func() bool { return !whole() && !n.cluster.State().Up && !n.presence.State().Up })
	began := time.Now()
	send(func(err error) {
		if !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("a send without Redis: %v", err)
		}
	})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%d sends took %v to fail", senders*each, took)
	}
	who(ann, "ann")
	bob := n.connect(t, "?user=bob")
	who(bob, "bob")
	proxy.Thaw()
	proxy.CutAll() // the proxy's own goroutines for connections of which it knows no end
	eventually(t, "whole again", whole)
	eventually(t, "able to send", func() bool { return room.Clients().User("bob").Send(t.Context(), "heard", "again") == nil })
	if got := bob.next(); got != `{"type":1,"target":"heard","arguments":["again"]}` {
		t.Errorf("got %s", got)
	}
	eventually(t, "online", func() bool {
		online, err := room.Presence().Online(t.Context(), "ann", "bob")
		return err == nil && online[0] && online[1]
	})
	_ = bob.conn.CloseNow()
	const slack, margin = 2, 8 << 20 // a timer's; what else the process does
	eventually(t, "with as few goroutines and as little memory as before", func() bool {
		return runtime.NumGoroutine() <= goroutines+slack && liveHeap() <= heap+margin
	})
}

// liveHeap is what is in use after collecting garbage, in bytes.
func liveHeap() uint64 {
	var m runtime.MemStats
	for range 3 { // finalizers and pools take more than one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

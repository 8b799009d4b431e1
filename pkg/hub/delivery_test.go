package hub_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// A client that stops reading costs only itself: a hundred others get message after message, each before the next is sent, while it
// is stuck and until it is closed for being slow. The send timeout is so long that waiting for it would fail the test.
func TestSlowClientCostsOnlyItself(t *testing.T) {
	slow := make(chan int, 1)
	closed := make(chan hub.CloseReason, 200)
	s := newServer(t, &chat{}, hub.Options{
		Limits: hub.Limits{SendTimeout: time.Hour, MaxQueue: 256 << 10},
		Hooks: func(string, []string) hub.Hooks {
			return hub.Hooks{
				SlowClient:   func(n int) { slow <- n },
				Disconnected: func(_ transport.Kind, why hub.CloseReason, _ time.Duration) { closed <- why },
			}
		},
	})
	url := serve(t, s, holdLittle) + "/chat"
	stuck := dial(t, url)
	others := make([]*client, 100)
	for i := range others {
		others[i] = dial(t, url)
	}
	all := s.Hub("/chat").Clients().All()
	text := strings.Repeat("x", 32<<10)
	for round := 0; ; round++ {
		if round == 2000 {
			t.Fatal("the client that does not read was never closed")
		}
		if err := all.Send(context.Background(), "M", round, text); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"type":1,"target":"M","arguments":[%d,"`, round)
		var wait sync.WaitGroup
		for _, c := range others {
			wait.Go(func() {
				for got := `{"type":6}`; strings.HasPrefix(got, `{"type":6}`); {
					got = c.frame()
					if strings.HasPrefix(got, want) {
						return
					}
				}
				t.Errorf("round %d: another message came", round)
			})
		}
		wait.Wait()
		select {
		case dropped := <-slow:
			if dropped == 0 {
				t.Error("closed for being slow with nothing to drop")
			}
		default:
			continue
		}
		break
	}
	if why := <-closed; why != hub.ClosedSlow {
		t.Errorf("closed because of %q", why)
	}
	// What the kernel had taken still arrives; then the connection is over, without a goodbye.
	for {
		if _, _, err := stuck.read(); err != nil {
			if status := websocket.CloseStatus(err); status != -1 {
				t.Errorf("closed with status %d", status)
			}
			break
		}
	}
}

// holdLittle gives connections small send buffers, so that the network holds little for a client that does not read. A small receive
// buffer would do that too, but then the rest takes minutes to arrive: with each window that opens, the sender learns of it from a probe.
func holdLittle(web *http.Server) {
	web.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			_ = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		}
	}
}

// What a client asks for waits until there is room, however much it is.
func TestRepliesWaitForRoom(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{Limits: hub.Limits{MaxQueue: 8 << 10, MaxMessageSize: 1 << 20}})
	c := dial(t, serve(t, s, holdLittle)+"/chat")
	const n = 40 // several times what the sockets' buffers hold
	text := strings.Repeat("x", 32<<10)
	go func() {
		for range n {
			c.post("Echo", text)
		}
	}()
	for range n {
		if m := c.next(); m.Type != 3 || m.Error != nil {
			t.Fatalf("got %v", m)
		}
	}
}

// What a client does not take in time ends it, but not before.
func TestReplyTimeout(t *testing.T) {
	closed := make(chan hub.CloseReason, 1)
	c := dial(t, start(t, &chat{}, hub.Options{
		Limits: hub.Limits{MaxQueue: 8 << 10, MaxMessageSize: 1 << 20, SendTimeout: 50 * time.Millisecond},
		Hooks: func(string, []string) hub.Hooks {
			return hub.Hooks{Disconnected: func(_ transport.Kind, why hub.CloseReason, _ time.Duration) { closed <- why }}
		},
	}))
	text := strings.Repeat("x", 512<<10)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["`+text+"\"]}\x1e")) != nil {
				return
			}
		}
	})
	if why := <-closed; why != hub.ClosedSlow {
		t.Errorf("closed because of %q", why)
	}
	close(stop)
	c.ws.CloseNow()
	wait.Wait()
}

// Thousands of sends by several at once: every receiver sees the same order, and each sender's own order in it.
func TestOrder(t *testing.T) {
	for _, nodes := range []int{0, 3} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			urls := cluster(t, nodes)
			const senders, each = 3, 1000
			var receivers []*client
			for i := range 6 {
				receivers = append(receivers, dial(t, urls[i%len(urls)]))
			}
			for s := range senders {
				c := dial(t, urls[s%len(urls)])
				go func() {
					for i := range each {
						c.send(fmt.Sprintf(`{"type":1,"target":"ToAll","arguments":["%d %d"]}`, s, i))
					}
				}()
			}
			var first []string
			for k, c := range receivers {
				var got []string
				next := [senders]int{}
				for range senders * each {
					m := c.next().String()
					got = append(got, m)
					var s, i int
					if _, err := fmt.Sscanf(m, `M["%d %d"]`, &s, &i); err != nil || next[s] != i {
						t.Fatalf("receiver %d: %s where %d of sender %d was due", k, m, next[s], s)
					}
					next[s]++
				}
				if first == nil {
					first = got
				} else if !slices.Equal(got, first) {
					t.Fatalf("receiver %d saw another order than receiver 0", k)
				}
			}
		})
	}
}

// Joining a group on one node and sending to it from another as soon as that has returned: nothing is missed.
func TestJoinThenSend(t *testing.T) {
	urls := cluster(t, 2)
	a, b := dial(t, urls[0]), dial(t, urls[1])
	for i := range 2000 {
		group := fmt.Sprint("g", i%7)
		a.wantCall("result: null", "Join", group)
		b.wantCall("result: null", "ToGroup", group, fmt.Sprint(i))
		a.want(fmt.Sprintf(`M["%d"]`, i))
		a.wantCall("result: null", "Leave", group)
		b.wantCall("result: null", "ToGroup", group, "unheard")
	}
}

// A client that knows that it is connected misses nothing, not even what is sent at that moment.
func TestConnectThenSend(t *testing.T) {
	urls := cluster(t, 2)
	b := dial(t, urls[1])
	for i := range 200 {
		user := fmt.Sprint("user", i)
		a := dial(t, urls[0], asUser(user))
		b.wantCall("result: null", "ToUser", user, "hello")
		a.want(`M["hello"]`)
		b.wantCall("result: null", "ToClient", a.id, "you")
		a.want(`M["you"]`)
		a.ws.CloseNow()
	}
}

// drain is a client that costs nothing: it only counts the bytes that arrive.
func drain(tb testing.TB, base string, arrived func(n int)) {
	tb.Helper()
	conn, r := wired(tb, base, "json")
	conn.SetDeadline(time.Time{})
	var done sync.WaitGroup
	tb.Cleanup(func() { conn.Close(); done.Wait() })
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			arrived(n)
		}
	})
}

// BenchmarkBroadcast sends to 1,000 connections on loopback, one message at a time. Next to the time it reports allocations per
// recipient, which must be none: all costs of a message are those of encoding it once.
func BenchmarkBroadcast(b *testing.B) {
	const receivers = 1000
	s := newServer(b, &chat{}, hub.Options{Limits: hub.Limits{KeepAlive: time.Hour}}) // a ping would be counted
	url := serve(b, s) + "/chat"
	text := strings.Repeat("x", 100)
	size := 2 + len(`{"type":1,"target":"M","arguments":[""]}`) + 1 + len(text)
	if size >= 128 {
		size += 2
	}
	var mu sync.Mutex
	left := 0
	done := make(chan struct{}, 1)
	for range receivers {
		drain(b, url, func(n int) {
			mu.Lock()
			defer mu.Unlock()
			if left -= n; left == 0 {
				done <- struct{}{}
			}
		})
	}
	all := s.Hub("/chat").Clients().All()
	b.ReportAllocs()
	for b.Loop() {
		mu.Lock()
		left = receivers * size
		mu.Unlock()
		if err := all.Send(context.Background(), "M", text); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/recipient")
}

// The same as a test: a thousand recipients must not make a broadcast allocate more than a few things.
func TestBroadcastAllocatesNothingPerRecipient(t *testing.T) {
	r := testing.Benchmark(BenchmarkBroadcast)
	if r.N == 0 {
		t.Fatal("the benchmark failed")
	}
	limit := int64(300) // a collection now and then empties the pools
	if poolsForget {
		limit = 999
	}
	if n := r.AllocsPerOp(); n > limit {
		t.Errorf("a broadcast to 1,000 allocates %d times", n)
	}
}

// TestOrderAmongMany sends to so many connections that their writers are started a few at a time.
func TestOrderAmongMany(t *testing.T) {
	for _, nodes := range []int{0, 2} {
		urls := cluster(t, nodes)
		const receivers, senders, each = 120, 2, 100
		var all []*client
		for i := range receivers {
			all = append(all, dial(t, urls[i%len(urls)]))
		}
		for s := range senders {
			c := dial(t, urls[s%len(urls)])
			go func() {
				for i := range each {
					c.send(fmt.Sprintf(`{"type":1,"target":"ToAll","arguments":["%d %d"]}`, s, i))
				}
			}()
		}
		for k, c := range all {
			next := [senders]int{}
			for range senders * each {
				m := c.next().String()
				var s, i int
				if _, err := fmt.Sscanf(m, `M["%d %d"]`, &s, &i); err != nil || next[s] != i {
					t.Fatalf("%d nodes, receiver %d: %s where %d of sender %d was due", nodes, k, m, next[s], s)
				}
				next[s]++
			}
		}
	}
}

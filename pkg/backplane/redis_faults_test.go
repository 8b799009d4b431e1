package backplane

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
)

// A node that does not read for a while is cut off by Redis' output-buffer limit. Publishers do not wait for it; it comes back by
// itself, has everything up to some message and then everything after its return, and reports what is between.
func TestRedisOutputBuffer(t *testing.T) {
	s := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 0 0")
	var seen observer
	rec := backplanetest.NewRecorder()
	var stalled atomic.Bool
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	o := quickly(s.URL(), &seen)
	r := start(t, o, func(channel string, payload []byte) {
		if stalled.Load() {
			<-goOn
		}
		rec.Deliver(channel, payload[:min(len(payload), 8)])
	}, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	defer release()
	stalled.Store(true)
	filler := bytes.Repeat([]byte("f"), 256<<10)
	sent := 0
	cut := func() bool { return fmt.Sprint(s.Do(t, "CLIENT", "LIST", "TYPE", "pubsub")) == "" }
	for ; !cut(); sent++ {
		if _, err := r.Publish(ctx, append(fmt.Appendf(nil, "%08d", sent), filler...), "x"); err != nil {
			t.Fatalf("a publisher hears of somebody else's trouble: %v", err)
		}
	}
	stalled.Store(false)
	release()
	seen.waitGap(t, 1)
	if n, err := r.Publish(ctx, []byte("after"), "x"); n != 1 || err != nil {
		t.Error(n, err)
	}
	rec.WaitFor(t, "x", "after")
	got := rec.On("x")
	for i, payload := range got[:len(got)-1] {
		if payload != fmt.Sprintf("%08d", i) {
			t.Fatalf("message %d is %q", i, payload)
		}
	}
	if len(got) > sent {
		t.Errorf("%d messages, of %d", len(got), sent+1)
	}
	if seen.gaps.Load() != 1 {
		t.Errorf("%d gaps", seen.gaps.Load())
	}
}

// Lanes that nobody uses are found dead all the same, so that the first one to send hears at once that it was not sent; and what they cost
// at rest is bounded.
func TestRedisIdleLanes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	var seen observer
	o := quickly(p.URL(), &seen)
	o.ConnectTimeout, o.ReplyTimeout = 20*quick, 30*quick
	began := time.Now()
	r := start(t, o, nil, nil)
	pings := func() (n int) {
		for line := range strings.Lines(fmt.Sprint(s.Do(t, "INFO", "commandstats"))) {
			if text, found := strings.CutPrefix(line, "cmdstat_ping:calls="); found {
				text, _, _ = strings.Cut(text, ",")
				n, _ = strconv.Atoi(text)
			}
		}
		return n
	}
	links := len(r.lanes) + len(r.subs)
	eventually(t, "pinged", func() bool { return pings() >= 4*links }, func() any { return pings() })
	if n, most := pings(), links*(3+int(time.Since(began)/o.Silence)); n > most {
		t.Errorf("%d PINGs over %d links, want at most %d", n, links, most)
	}
	p.Freeze()
	down := func(l *lane) bool { return l.down.Load() != nil }
	eventually(t, "down, though nobody sent anything", func() bool { return !slices.ContainsFunc(r.lanes, func(l *lane) bool { return !down(l) }) },
		func() any { return r.State() })
	for _, channel := range some() {
		_, err := r.Publish(backplanetest.Context(t), nil, channel)
		checkUnavailable(t, err)
	}
	p.Thaw()
	waitReady(t, r)
	if _, err := r.Publish(backplanetest.Context(t), nil, some()...); err != nil {
		t.Error(err)
	}
}

// The network between one node and Redis becomes a black hole. Its sends fail, soon at once; the other node notices nothing; when
// the network heals the node is whole again, the gap is counted once, nothing comes twice, and nothing is left over.
func TestRedisBlackHole(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	var seen, otherSeen observer
	rec, otherRec := backplanetest.NewRecorder(), backplanetest.NewRecorder()
	other := start(t, quickly(s.URL(), &otherSeen), otherRec.Deliver, otherRec.Flush)
	o := quickly(p.URL(), &seen)
	o.ConnectTimeout, o.ReplyTimeout = 20*quick, 30*quick
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	names := append(some(), "x")
	for _, node := range []*Redis{r, other} {
		if err := node.Subscribe(ctx, names...); err != nil {
			t.Fatal(err)
		}
	}
	before := runtime.NumGoroutine()
	if _, err := r.Publish(ctx, []byte("before"), "x"); err != nil { // so that its lane is not just being tried
		t.Fatal(err)
	}
	p.Freeze()
	_, err := r.Publish(ctx, []byte("sent into the hole"), "x")
	checkKind(t, err, ErrMaybeSent, true)
	eventually(t, "down", func() bool { return seen.downs.Load() == 1 && r.sub0().table.down() }, func() any { return r.State() })
	fast := time.Now()
	for i := range 1000 {
		if _, err := r.Publish(ctx, fmt.Append(nil, i), "x"); err == nil {
			t.Fatal("published through a black hole")
		}
	}
	if took := time.Since(fast); took > 10*time.Second {
		t.Errorf("1,000 sends took %v to fail", took)
	}
	checkUnavailable(t, r.Subscribe(ctx, "joined meanwhile"))
	for i := range 100 {
		if n, err := other.Publish(ctx, fmt.Append(nil, "between others ", i), "x"); n < 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	otherRec.WaitFor(t, "x", "between others 99")
	p.Thaw()
	seen.waitGap(t, 1)
	waitReady(t, r)
	if n, err := other.Publish(ctx, []byte("again"), "x", "joined meanwhile"); n != 3 || err != nil {
		t.Error(n, err)
	}
	rec.WaitFor(t, "joined meanwhile", "again")
	rec.WaitFor(t, "x", "again")
	otherRec.WaitFor(t, "x", "again")
	for name, rec := range map[string]*backplanetest.Recorder{"it": rec, "the other": otherRec} {
		got := rec.On("x")
		slices.Sort(got)
		if once := slices.Compact(slices.Clone(got)); len(once) != len(got) {
			t.Errorf("%s got some twice: %q", name, got)
		}
	}
	if seen.gaps.Load() != 1 || otherSeen.gaps.Load() != 0 || otherSeen.downs.Load() != 0 {
		t.Errorf("%d gaps here, %d there, where it was down %d times", seen.gaps.Load(), otherSeen.gaps.Load(), otherSeen.downs.Load())
	}
	p.CutAll() // the proxy's own goroutines for connections of which it knows no end
	eventually(t, "as few goroutines as before", func() bool { return r.Ready() == nil && runtime.NumGoroutine() <= before },
		func() any { return fmt.Sprint(runtime.NumGoroutine(), " of ", before) })
}

// sub0 is the only subscription link.
func (r *Redis) sub0() *subscriber { return r.subs[0] }

// down says whether there is no link.
func (t *table) down() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why != nil
}

// A Redis that is merely slow costs time and nothing else, and those who publish at the same time wait together, not one after
// the other.
func TestRedisSlow(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(p.URL(), &seen)
	o.Lanes = 1
	batches := atomic.Int32{}
	o.Hooks.Pipelined = func(int) { batches.Add(1) }
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	p.Delay(5 * quick)
	const senders, each = 200, 3
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for j := range each {
				if _, err := r.Publish(ctx, fmt.Appendf(nil, "%d %d", i, j), "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	got := rec.Wait(t, senders*each)
	next := map[int]int{}
	for _, m := range got {
		var i, j int
		_, _ = fmt.Sscan(m.Payload, &i, &j)
		if next[i] != j {
			t.Errorf("sender %d: %d instead of %d", i, j, next[i])
		}
		next[i]++
	}
	// Each sender waits for its reply before it sends again, and all do so together.
	if n := batches.Load(); n > senders*each/10 {
		t.Errorf("%d pipelines for %d messages", n, senders*each)
	}
	if seen.gaps.Load() > 0 || seen.downs.Load() > 0 {
		t.Error("a slow Redis was given up")
	}
}

// Links that break one after the other make one gap, which ends when the last of them is back.
func TestGaps(t *testing.T) {
	var g gaps
	start := time.Now().Add(-time.Minute)
	g.begin(start.Add(time.Second))
	g.begin(start)
	g.begin(start.Add(2 * time.Second))
	var over []bool
	for range 3 {
		length, last := g.end()
		if over = append(over, last); last && (length < time.Minute || length > 2*time.Minute) {
			t.Errorf("a gap of %v", length)
		}
	}
	g.begin(time.Now())
	length, last := g.end()
	if diff := cmp.Diff([]bool{false, false, true, true}, append(over, last)); diff != "" || length > time.Minute {
		t.Error(diff, length)
	}
}

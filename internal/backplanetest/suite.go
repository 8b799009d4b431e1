// Package backplanetest is the contract that every backplane fulfils, as a test suite.
package backplanetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Backplane is what a hub server needs of a backplane, after Attach.
type Backplane interface {
	Publish(ctx context.Context, payload []byte, channels ...string) (receivers int, err error)
	Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error
	Subscribe(ctx context.Context, channels ...string) error
	Unsubscribe(channels ...string)
	Subscribers(ctx context.Context, channel string) (int, error)
}

// Join makes a node of one cluster, attached and ready. It is taken down with the test.
type Join func(t testing.TB, deliver func(channel string, payload []byte), flush func()) Backplane

// Traits are what backplanes may do differently.
type Traits struct {
	// Uncounted: Publish may say -1 receivers, which means that it does not know.
	Uncounted bool
	// Parallel: messages of different channels may be delivered at the same time.
	Parallel bool
}

// Run runs the suite. cluster makes a new cluster, that is, one whose channels nobody else uses.
func Run(t *testing.T, traits Traits, cluster func(t testing.TB) Join) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *nodes)
	}{
		{"every subscriber receives, the publisher too", everySubscriber},
		{"payloads arrive unchanged", payloads},
		{"the payload is the caller's again", payloadReuse},
		{"channel names are literal", literalNames},
		{"several channels", severalChannels},
		{"one order for all", oneOrder},
		{"subscribe, then send", subscribeThenSend},
		{"unsubscribe", unsubscribe},
		{"a change of mind", changeOfMind},
		{"subscribing twice delivers once", subscribeTwice},
		{"thousands of channels at once", manyChannels},
		{"flush follows the last message", flushFollows},
		{"answers from within deliver", answers},
		{"a context that has ended", endedContext},
		{"enqueued messages", enqueued},
		{"enqueued and published in turns", inTurns},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, &nodes{t: t, traits: traits, join: cluster(t)})
		})
	}
}

type nodes struct {
	t      *testing.T
	traits Traits
	join   Join
}

type node struct {
	Backplane
	*Recorder
	t         *testing.T
	uncounted bool
}

func (n *nodes) node() *node { return n.with(NewRecorder()) }

func (n *nodes) with(r *Recorder) *node {
	n.t.Helper()
	b := n.join(n.t, r.Deliver, r.Flush)
	n.t.Cleanup(func() { r.check(n.t, n.traits.Parallel) })
	return &node{Backplane: b, Recorder: r, t: n.t, uncounted: n.traits.Uncounted}
}

func (n *node) subscribe(channels ...string) {
	n.t.Helper()
	if err := n.Subscribe(Context(n.t), channels...); err != nil {
		n.t.Fatal(err)
	}
}

// counted says whether a Publish found as many receivers as there are, as far as it can.
func (n *node) counted(got, want int) bool { return got == want || n.uncounted && got == -1 }

func (n *node) publish(payload string, channels ...string) int {
	n.t.Helper()
	receivers, err := n.Publish(Context(n.t), []byte(payload), channels...)
	if err != nil {
		n.t.Fatal(err)
	}
	return receivers
}

func everySubscriber(t *testing.T, n *nodes) {
	a, b, c := n.node(), n.node(), n.node()
	a.subscribe("x")
	b.subscribe("x")
	c.subscribe("y")
	if got := a.publish("hello", "x"); !a.counted(got, 2) {
		t.Errorf("%d receivers, want 2", got)
	}
	c.publish("end", "y") // by another publisher: no order, but a second message to wait for
	want := []Message{{"x", "hello"}}
	if diff := cmp.Diff(want, a.Wait(t, 1)); diff != "" {
		t.Error("publisher", diff)
	}
	if diff := cmp.Diff(want, b.Wait(t, 1)); diff != "" {
		t.Error("other", diff)
	}
	if diff := cmp.Diff([]Message{{"y", "end"}}, c.Wait(t, 1)); diff != "" {
		t.Error("not subscribed", diff)
	}
	for channel, want := range map[string]int{"x": 2, "y": 1, "z": 0} {
		if got, err := a.Subscribers(Context(t), channel); err != nil || got != want {
			t.Errorf("subscribers of %s: %d, %v; want %d", channel, got, err, want)
		}
	}
}

func payloads(t *testing.T, n *nodes) {
	a := n.node()
	a.subscribe("x")
	want := []string{"", "\x00", "\r\n$-1\r\n", "\xff\xfe", strings.Repeat("long\x1e", 300_000), "end"}
	for _, p := range want {
		a.publish(p, "x")
	}
	a.WaitFor(t, "x", "end")
	if diff := cmp.Diff(want, a.On("x")); diff != "" {
		t.Error(diff[:min(len(diff), 2000)])
	}
}

func payloadReuse(t *testing.T, n *nodes) {
	a := n.node()
	a.subscribe("x")
	buf := make([]byte, 0, 16)
	var want []string
	for i := range 200 {
		buf = fmt.Appendf(buf[:0], "message %03d", i)
		want = append(want, string(buf))
		if _, err := a.Publish(Context(t), buf, "x"); err != nil {
			t.Fatal(err)
		}
	}
	a.Wait(t, len(want))
	if diff := cmp.Diff(want, a.On("x")); diff != "" {
		t.Error(diff)
	}
}

func literalNames(t *testing.T, n *nodes) {
	a := n.node()
	names := []string{"a*", "a?", "a[bc]", `a\*`, "with space", "two\r\nlines", "zeichen ä 漢", "", "A", "a:b"}
	a.subscribe(names...)
	for _, other := range []string{"ab", "ac", "a", "abc", "*", "with", "a:c"} {
		if got := a.publish("no", other); !a.counted(got, 0) {
			t.Errorf("%q has %d receivers", other, got)
		}
	}
	for _, name := range names {
		if got := a.publish("yes "+name, name); !a.counted(got, 1) {
			t.Errorf("%q has %d receivers, want 1", name, got)
		}
	}
	got := a.Wait(t, len(names))
	var want []Message
	for _, name := range names {
		want = append(want, Message{name, "yes " + name})
	}
	less := func(x, y Message) int { return strings.Compare(x.Channel, y.Channel) }
	slices.SortFunc(got, less)
	slices.SortFunc(want, less)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func severalChannels(t *testing.T, n *nodes) {
	a, b := n.node(), n.node()
	a.subscribe("1", "2", "3")
	b.subscribe("2")
	if got := b.publish("p", "1", "2", "4", "2"); !b.counted(got, 5) {
		t.Errorf("%d receivers, want 5", got)
	}
	if got := b.publish("nobody"); got != 0 {
		t.Errorf("no channel has %d receivers", got)
	}
	a.Wait(t, 3)
	b.Wait(t, 2)
	for channel, want := range map[string][]string{"1": {"p"}, "2": {"p", "p"}, "3": nil, "4": nil} {
		if diff := cmp.Diff(want, a.On(channel)); diff != "" {
			t.Error(channel, diff)
		}
	}
}

// oneOrder publishes from both nodes at once: every sender's messages arrive in its order, and both nodes see one order.
func oneOrder(t *testing.T, n *nodes) {
	const senders, each = 10, 1000
	a, b := n.node(), n.node()
	a.subscribe("all")
	b.subscribe("all")
	var sending sync.WaitGroup
	for s := range senders {
		from := []*node{a, b}[s%2]
		sending.Go(func() {
			for i := range each {
				if _, err := from.Publish(Context(t), fmt.Appendf(nil, "%d %d", s, i), "all"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	a.Wait(t, senders*each)
	b.Wait(t, senders*each)
	seen := a.On("all")
	if !slices.Equal(seen, b.On("all")) {
		t.Error("two nodes saw different orders")
	}
	var next [senders]int
	for at, payload := range seen {
		var s, i int
		if _, err := fmt.Sscan(payload, &s, &i); err != nil || i != next[s] {
			t.Fatalf("message %d is %q; want number %d of that sender", at, payload, next[s])
		}
		next[s]++
	}
	if want := senders * each; len(seen) != want {
		t.Errorf("%d messages, want %d", len(seen), want)
	}
}

// subscribeThenSend: once Subscribe has returned, another node's message arrives.
func subscribeThenSend(t *testing.T, n *nodes) {
	const rounds = 1000
	a, b := n.node(), n.node()
	for i := range rounds {
		channel := fmt.Sprint("group ", i)
		a.subscribe(channel)
		if got := b.publish("hi", channel); !b.counted(got, 1) {
			t.Fatalf("round %d: %d receivers, want 1", i, got)
		}
	}
	a.Wait(t, rounds)
}

func unsubscribe(t *testing.T, n *nodes) {
	a, b := n.node(), n.node()
	a.subscribe("x", "y")
	b.subscribe("x")
	a.Unsubscribe("x", "never wanted")
	waitSubscribers(t, a, "x", 1)
	if got := b.publish("p", "x", "y"); !b.counted(got, 2) {
		t.Errorf("%d receivers, want 2", got)
	}
	b.Wait(t, 1)
	if diff := cmp.Diff([]Message{{"y", "p"}}, a.Wait(t, 1)); diff != "" {
		t.Error(diff)
	}
}

// waitSubscribers waits until an Unsubscribe has had its effect.
func waitSubscribers(t *testing.T, n *node, channel string, want int) {
	t.Helper()
	ctx := Context(t)
	for {
		got, err := n.Subscribers(ctx, channel)
		if err != nil {
			t.Fatalf("%s never had %d subscribers: %v", channel, want, err)
		}
		if got == want {
			return
		}
	}
}

// changeOfMind turns channels on and off in a hurry: the last word counts, and a Subscribe that returned is true.
func changeOfMind(t *testing.T, n *nodes) {
	a, b := n.node(), n.node()
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			channel := fmt.Sprint("channel ", w)
			for i := range 200 {
				if err := a.Subscribe(Context(t), channel); err != nil {
					t.Error(err)
					return
				}
				if got, err := b.Publish(Context(t), nil, channel); err != nil || !b.counted(got, 1) {
					t.Errorf("round %d: %d receivers, %v", i, got, err)
				}
				a.Unsubscribe(channel)
				if i%2 == 0 { // do not even wait
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					_ = a.Subscribe(ctx, channel)
					a.Unsubscribe(channel)
				}
			}
			if err := a.Subscribe(Context(t), channel); err != nil {
				t.Error(err)
			}
			if w%2 == 0 {
				a.Unsubscribe(channel)
			}
		})
	}
	workers.Wait()
	for w := range 4 {
		waitSubscribers(t, a, fmt.Sprint("channel ", w), w%2)
	}
}

func subscribeTwice(t *testing.T, n *nodes) {
	a := n.node()
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if err := a.Subscribe(Context(t), "x", "x"); err != nil {
				t.Error(err)
			}
			if got, err := a.Subscribers(Context(t), "x"); err != nil || got != 1 {
				t.Errorf("%d subscribers, %v; want 1", got, err)
			}
		})
	}
	callers.Wait()
	a.publish("once", "x")
	a.publish("end", "x")
	a.WaitFor(t, "x", "end")
	if diff := cmp.Diff([]string{"once", "end"}, a.On("x")); diff != "" {
		t.Error(diff)
	}
	a.Unsubscribe("x") // wanted or not: no counting
	waitSubscribers(t, a, "x", 0)
}

func manyChannels(t *testing.T, n *nodes) {
	a, b := n.node(), n.node()
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprint("channel ", i)
	}
	a.subscribe(names...)
	if got := b.publish("p", names...); !b.counted(got, len(names)) {
		t.Errorf("%d receivers, want %d", got, len(names))
	}
	a.Wait(t, len(names))
	a.Unsubscribe(names...)
	waitSubscribers(t, b, names[len(names)-1], 0)
}

func flushFollows(t *testing.T, n *nodes) {
	a := n.node()
	a.subscribe("x")
	for i := range 100 {
		a.publish(fmt.Sprint(i), "x")
		a.Wait(t, i+1) // waits for the flush as well
	}
}

// answers has every node answer what it receives, from a goroutine of its own, as a hub acknowledges group commands.
func answers(t *testing.T, n *nodes) {
	const questions = 300
	var answering sync.WaitGroup
	b := &node{}
	r := NewRecorder()
	r.React = func(m Message) {
		answering.Go(func() {
			if _, err := b.Publish(Context(t), []byte("re: "+m.Payload), "answers"); err != nil {
				t.Error(err)
			}
		})
	}
	a := n.node()
	*b = *n.with(r)
	a.subscribe("answers")
	b.subscribe("questions")
	for i := range questions {
		a.publish(fmt.Sprint(i), "questions")
	}
	a.Wait(t, questions)
	answering.Wait()
}

func endedContext(t *testing.T, n *nodes) {
	a := n.node()
	a.subscribe("x")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := a.Publish(ctx, []byte("no"), "x")
	var e interface{ MaybeSent() bool }
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.MaybeSent() {
		t.Errorf("error %v; want one that says cancelled and surely not sent", err)
	}
	a.publish("end", "x")
	a.WaitFor(t, "x", "end")
	if diff := cmp.Diff([]string{"end"}, a.On("x")); diff != "" {
		t.Error(diff)
	}
}

// enqueued queues a thousand messages without a wait, some of them to several channels: each is confirmed once, whatever became of
// its context, and they arrive in order.
func enqueued(t *testing.T, n *nodes) {
	const many = 1000
	a, b := n.node(), n.node()
	a.subscribe("x", "y")
	b.subscribe("x")
	ctx, cancel := context.WithCancel(Context(t))
	var confirmed [many]atomic.Int32
	results := make(chan error, 2*many)
	var want []string
	for i := range many {
		channels := []string{"x", "y", "nobody's"}[:1+i%3]
		payload := fmt.Sprint(i)
		want = append(want, payload)
		err := b.Enqueue(ctx, []byte(payload), func(err error) { confirmed[i].Add(1); results <- err }, channels...)
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel() // it bounds the wait for room, and no more
	for range many {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	b.WaitFor(t, "x", want[many-1])
	a.WaitFor(t, "x", want[many-1])
	for i := range confirmed {
		if got := confirmed[i].Load(); got != 1 {
			t.Errorf("message %d was confirmed %d times", i, got)
		}
	}
	for _, node := range []*node{a, b} {
		if diff := cmp.Diff(want, node.On("x")); diff != "" {
			t.Error(diff)
		}
	}
	none := make(chan error, 1)
	if err := b.Enqueue(Context(t), nil, func(err error) { none <- err }); err != nil || <-none != nil {
		t.Errorf("to no channel: %v", err)
	}
	err := b.Enqueue(ctx, []byte("no"), func(err error) { t.Errorf("refused, and then confirmed with %v", err) }, "x")
	var e interface{ MaybeSent() bool }
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.MaybeSent() {
		t.Errorf("error %v; want one that says cancelled and surely not sent", err)
	}
}

// inTurns publishes every tenth message, and enqueues those between. All are in one order, and what was confirmed before a Publish returned
// includes all that was enqueued to the channel before.
func inTurns(t *testing.T, n *nodes) {
	const many = 1000
	a := n.node()
	a.subscribe("x")
	var confirmed atomic.Int32
	var want []string
	for i := range many {
		payload := fmt.Sprint(i)
		want = append(want, payload)
		if i%10 == 9 {
			a.publish(payload, "x")
			if got := int(confirmed.Load()); got != i-i/10 {
				t.Fatalf("message %d is published, and only %d of %d before it are confirmed", i, got, i-i/10)
			}
			continue
		}
		done := func(err error) {
			if err != nil {
				t.Error(err)
			}
			confirmed.Add(1)
		}
		if err := a.Enqueue(Context(t), []byte(payload), done, "x"); err != nil {
			t.Fatal(err)
		}
	}
	a.WaitFor(t, "x", want[many-1])
	if diff := cmp.Diff(want, a.On("x")); diff != "" {
		t.Error(diff)
	}
}

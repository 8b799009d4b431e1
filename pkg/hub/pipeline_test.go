package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// piper is a hub whose sends are pipelined.
type piper struct{}

func (piper) Add(_ *hub.Call, a, b int) int { return a + b }
func (piper) ToAll(c *hub.Call, m string) error {
	return c.Pipelined().All().Send(c, "M", m)
}
func (piper) ToCaller(c *hub.Call, m string) error {
	return c.Pipelined().Caller().Send(c, "M", m)
}
func (piper) ToNobody(c *hub.Call) error { return c.Pipelined().Group("").Send(c, "M") }
func (piper) Unsendable(c *hub.Call) error {
	return c.Pipelined().All().Send(c, "M", func() {})
}

// Brief gives its send no time to wait.
func (piper) Brief(c *hub.Call) error {
	ctx, cancel := context.WithCancel(c)
	cancel()
	return c.Pipelined().All().Send(ctx, "M", "brief")
}

// SendAndFail sends, and fails all the same.
func (piper) SendAndFail(c *hub.Call) error {
	if err := c.Pipelined().All().Send(c, "M", "before"); err != nil {
		return err
	}
	return hub.Errorf("no")
}

// Many sends n times and returns n.
func (piper) Many(c *hub.Call, n int) (int, error) {
	for i := range n {
		if err := c.Pipelined().All().Send(c, "M", i); err != nil {
			return i, err
		}
	}
	return n, nil
}

// Items streams one item, for which it has sent something.
func (piper) Items(c *hub.Call) <-chan int {
	items := make(chan int, 1)
	if c.Pipelined().All().Send(c, "M", "streaming") == nil {
		items <- 1
	}
	close(items)
	return items
}

// Ask sends, and then waits for the client's result.
func (piper) Ask(c *hub.Call) (answer string, err error) {
	if err = c.Pipelined().All().Send(c, "M", "asking"); err != nil {
		return "", err
	}
	return answer, c.Clients().Caller().Invoke(c, &answer, "Q")
}

// freed ends a call of Occupy when it is closed.
var freed chan struct{}

func (piper) Occupy(*hub.Call) { <-freed }

// stayed are calls of Stay, which have been answered.
var stayed = make(chan *hub.Call, 1)

func (piper) Stay(c *hub.Call) { stayed <- c }

// held is a backplane that answers for what was enqueued when the test says so.
type held struct {
	*backplane.MemoryNode
	answers chan func(err error) // of what was enqueued, in order
}

func newHeld() *held {
	return &held{backplane.NewMemory().Node(), make(chan func(error), 2000)}
}

func (b *held) Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error {
	_, err := b.Publish(ctx, payload, channels...)
	if err == nil {
		b.answers <- done
	}
	return err
}

// pipes serves a piper on a backplane that holds its answers back.
func pipes(t testing.TB, o hub.Options) (*held, *hub.Server) {
	t.Helper()
	b := newHeld()
	o.Backplane, o.Limits.DetailedErrors = b, true
	s := hub.NewServer(o)
	if err := s.Map("/chat", piper{}); err != nil {
		t.Fatal(err)
	}
	return b, s
}

// wantAnswer fails unless the next message answers the call with this id so.
func (c *client) wantAnswer(id, want string) {
	c.t.Helper()
	if m := c.next(); m.InvocationID != id || m.String() != want {
		c.t.Fatalf("got %s for call %q; want %s for %q", m, m.InvocationID, want, id)
	}
}

// The answer waits for the backplane; the connection's next calls do not, and are answered first.
func TestPipelinedAnswerWaits(t *testing.T) {
	b, s := pipes(t, hub.Options{})
	c := dial(t, serve(t, s)+"/chat")
	first := c.post("ToAll", "one")
	c.want(`M["one"]`)
	second := c.post("Many", 2)
	c.want(`M[0]`, `M[1]`)
	c.wantCall("result: 3", "Add", 1, 2)
	one, two, three := <-b.answers, <-b.answers, <-b.answers
	two(nil)
	c.wantCall("result: 3", "Add", 1, 2) // one of its two is not confirmed
	three(nil)
	c.wantAnswer(second, "result: 2")
	one(nil)
	c.wantAnswer(first, "result: null")
	c.wantCall("result: null", "ToCaller", "me") // which needs no backplane
	c.want(`M["me"]`)
}

// A message that is lost makes its call fail as if the method had returned the error, and no other call.
func TestPipelinedFailure(t *testing.T) {
	outcomes := make(chan string, 100)
	b, s := pipes(t, hub.Options{Hooks: func(string, []string) hub.Hooks {
		return hub.Hooks{Invoked: func(method string, o hub.Outcome, _ time.Duration) { outcomes <- fmt.Sprint(method, " ", o) }}
	}})
	c := dial(t, serve(t, s)+"/chat")
	fail := func(maybe bool) error {
		return &backplane.Error{Op: "publish to", Channel: "x", Maybe: maybe, Err: errors.New("cut")}
	}
	outcome := func(want string) {
		t.Helper()
		if got := <-outcomes; got != want {
			t.Errorf("outcome %q, want %q", got, want)
		}
	}
	const failed = "error: An unexpected error occurred invoking 'Many' on the server. wrapErrors: "
	lost, fine := c.post("Many", 3), c.post("Many", 1)
	c.want(`M[0]`, `M[1]`, `M[2]`, `M[0]`)
	(<-b.answers)(nil)
	(<-b.answers)(fail(true))
	(<-b.answers)(fail(false))
	c.wantAnswer(lost, failed+"hub: the message may have been sent; hub: the backplane is unavailable: backplane: publish to x (may have been sent): cut")
	outcome("Many failed")
	(<-b.answers)(nil)
	c.wantAnswer(fine, "result: 1")
	outcome("Many ok")

	id := c.post("SendAndFail") // the method's own error is what the client hears
	c.want(`M["before"]`)
	(<-b.answers)(fail(false))
	c.wantAnswer(id, "error: An unexpected error occurred invoking 'SendAndFail' on the server. HubException: no")
	outcome("SendAndFail error")

	c.send(`{"type":1,"target":"Many","arguments":[1]}`) // wants no answer
	c.want(`M[0]`)
	(<-b.answers)(fail(false))
	outcome("Many failed")

	for method, want := range map[string]string{
		"ToNobody":   "cannot send to an empty group name",
		"Unsendable": "unsupported type",
		"Brief":      "context canceled",
	} {
		if m := c.call(method); m.Error == nil || !strings.Contains(*m.Error, want) {
			t.Errorf("%s: %s; want %q", method, m, want)
		}
		outcome(method + " failed")
	}
}

// At most 256 sends of a connection are unconfirmed. The next one waits for room, as long as its context lasts.
func TestPipelinedIsBounded(t *testing.T) {
	b, s := pipes(t, hub.Options{})
	url := serve(t, s) + "/chat"
	c, other := dial(t, url), dial(t, url)
	many := c.post("Many", 250)
	for i := range 6 {
		c.send(fmt.Sprintf(`{"type":1,"target":"ToAll","arguments":["%d"]}`, i))
	}
	for i := range 250 {
		c.want(fmt.Sprintf("M[%d]", i))
	}
	for i := range 6 {
		c.want(fmt.Sprintf("M[%q]", fmt.Sprint(i)))
	}
	if m := c.call("Brief"); m.Error == nil || !strings.Contains(*m.Error, "256 messages of this connection wait for the backplane") {
		t.Errorf("the 257th: %s", m)
	}
	other.post("ToAll", "another connection has a bound of its own")
	c.want(`M["another connection has a bound of its own"]`)
	waits, behind := c.post("ToAll", "at last"), c.post("Add", 1, 2)
	(<-b.answers)(nil)
	for want := map[string]bool{`M["at last"]`: true, "result: 3": true}; len(want) > 0; {
		m := c.next()
		if m.Type == 3 && m.InvocationID != behind || !want[m.String()] {
			t.Fatalf("got %s for call %q", m, m.InvocationID)
		}
		delete(want, m.String())
	}
	for range 249 {
		(<-b.answers)(nil)
	}
	c.wantAnswer(many, "result: 250")
	for range 8 {
		(<-b.answers)(nil)
	}
	c.wantAnswer(waits, "result: null")
}

// Where no answer can wait, the send does: in a method that streams, and when the call has been answered.
func TestPipelinedElsewhere(t *testing.T) {
	b, s := pipes(t, hub.Options{})
	c := dial(t, serve(t, s)+"/chat")
	c.send(`{"type":4,"target":"Items","arguments":[],"invocationId":"s"}`)
	for want := map[string]bool{`M["streaming"]`: true, "type 2": true, "result: ": true}; len(want) > 0; {
		m := c.next().String()
		if !want[m] {
			t.Fatalf("got %s", m)
		}
		delete(want, m)
	}
	if len(b.answers) > 0 {
		t.Error("a method that streams has enqueued something")
	}
	c.wantCall("result: null", "Stay")
	late := <-stayed
	if err := late.Pipelined().All().Send(late, "M", "late"); err != nil {
		t.Error(err)
	}
	c.want(`M["late"]`)
	if len(b.answers) > 0 {
		t.Error("a call that was answered has enqueued something")
	}
	alone := hub.NewServer(hub.Options{})
	if err := alone.Map("/chat", piper{}); err != nil {
		t.Fatal(err)
	}
	c = dial(t, serve(t, alone)+"/chat")
	id := c.post("Many", 2)
	c.want("M[0]", "M[1]")
	c.wantAnswer(id, "result: 2")
}

// A call whose messages are not confirmed is under way: a drain waits for its answer.
func TestPipelinedDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := pipes(t, hub.Options{Limits: hub.Limits{KeepAlive: -1}})
		dialClient, stop := bubble(t, s)
		defer stop()
		c := dialClient()
		time.Sleep(3 * time.Second)
		id := c.post("ToAll", "one")
		c.want(`M["one"]`)
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background(), 0) }()
		time.Sleep(3 * time.Second)
		(<-b.answers)(nil)
		c.wantAnswer(id, "result: null")
		c.want("close (reconnect true)")
		readAll(c)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A call that waits for its slot, which another has taken while it waited for a client's result, does not make the backplane wait.
func TestPipelinedSlotTaken(t *testing.T) {
	watchdog := time.AfterFunc(patience, func() { panic("the backplane waits for a call") }) // which the bubble does not find out
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) {
		freed = make(chan struct{})
		b, s := pipes(t, hub.Options{Limits: hub.Limits{KeepAlive: -1}})
		dialClient, stop := bubble(t, s)
		defer stop()
		c := dialClient()
		id := c.post("Ask")
		question := c.next()
		if message := c.next(); question.InvocationID == "" { // what goes by the backplane may come first
			question = message
		}
		occupied := c.post("Occupy")
		c.send(fmt.Sprintf(`{"type":3,"invocationId":%q,"result":"yes"}`, question.InvocationID))
		synctest.Wait() // it has the result, and waits for its slot
		(<-b.answers)(nil)
		close(freed)
		c.wantAnswer(occupied, "result: null")
		c.wantAnswer(id, `result: "yes"`)
		go readAll(c)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A call that waits for a backplane which does not answer ends when running calls shall stop.
func TestPipelinedCutOff(t *testing.T) {
	outcomes := make(chan hub.Outcome, 1)
	b, s := pipes(t, hub.Options{Hooks: func(string, []string) hub.Hooks {
		return hub.Hooks{Invoked: func(_ string, o hub.Outcome, _ time.Duration) { outcomes <- o }}
	}})
	c := dial(t, serve(t, s)+"/chat")
	c.post("ToAll", "one")
	c.want(`M["one"]`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if o := <-outcomes; o != hub.OutcomeFailed {
		t.Errorf("outcome %q", o)
	}
	(<-b.answers)(nil) // too late, and harmless
}

// What one connection sends arrives in order, on every node, however much of it is under way.
func TestPipelinedOrder(t *testing.T) {
	server := redistest.Start(t)
	a, b := dial(t, redisNode(t, server.URL(), piper{})), dial(t, redisNode(t, server.URL(), piper{}))
	const many = 2000
	go func() {
		for i := range many {
			a.send(fmt.Sprintf(`{"type":1,"target":"ToAll","arguments":["%d"],"invocationId":"%d"}`, i, i))
		}
	}()
	for _, c := range []*client{a, b} {
		answered := c == b
		for next, left := 0, many; next < many || !answered; {
			switch m := c.next(); {
			case m.Type == 1:
				if want := fmt.Sprintf("M[%q]", fmt.Sprint(next)); m.String() != want {
					t.Fatalf("got %s, want %s", m, want)
				}
				next++
			case m.String() != "result: null":
				t.Fatalf("call %s: %s", m.InvocationID, m)
			default:
				left--
				answered = left == 0
			}
		}
	}
}

// The link to Redis breaks amid what one client sends. Each call hears what became of its message: what was confirmed was delivered, what
// surely was not sent was not, and nothing was delivered twice.
func TestPipelinedLinkLost(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	c := dial(t, redisNode(t, proxy.URL(), piper{}))
	sub := server.Client(t, nil).Subscribe(t.Context(), "hubfleet:MyApp.ChatHub:all")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	const many = 200
	cut := proxy.CutAfter("number 100")
	var calls strings.Builder
	for i := range many {
		fmt.Fprintf(&calls, `{"type":1,"target":"ToAll","arguments":["number %d"],"invocationId":"%d"}`+"\x1e", i, i)
	}
	c.send(strings.TrimSuffix(calls.String(), "\x1e"))
	answers := map[string]string{}
	for len(answers) < many {
		if m := c.next(); m.Type == 3 {
			answers[m.InvocationID] = m.String()
		}
	}
	<-cut
	server.Do(t, "PUBLISH", "hubfleet:MyApp.ChatHub:all", "end")
	delivered := map[string]int{}
	for {
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Payload == "end" {
			break
		}
		_, rest, _ := strings.Cut(m.Payload, `"number `)
		number, _, _ := strings.Cut(rest, `"`)
		delivered[number]++
	}
	confirmed, maybe, surely := 0, 0, 0
	for id, answer := range answers {
		n := delivered[id]
		switch {
		case answer == "result: null":
			confirmed++
			if n != 1 {
				t.Errorf("number %s is confirmed, and was delivered %d times", id, n)
			}
		case strings.Contains(answer, hub.ErrMaybeSent.Error()):
			maybe++
			if n > 1 {
				t.Errorf("number %s was delivered %d times", id, n)
			}
		case strings.Contains(answer, hub.ErrUnavailable.Error()):
			surely++
			if n != 0 {
				t.Errorf("number %s was not sent, and was delivered %d times", id, n)
			}
		default:
			t.Errorf("number %s: %s", id, answer)
		}
	}
	t.Logf("%d confirmed, %d perhaps sent, %d surely not", confirmed, maybe, surely)
	if maybe == 0 {
		t.Error("no call heard that its message may have been sent")
	}
}

package hub_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// streams is a hub of streams.
type streams struct {
	ended chan error // Count, Forever and Wait say here how their context ended
}

func (streams) Count(c *hub.Call, n int) <-chan int {
	ch := make(chan int)
	go func() {
		defer close(ch)
		for i := range n {
			select {
			case ch <- i:
			case <-c.Done():
				return
			}
		}
	}()
	return ch
}

func (streams) Letters(c *hub.Call, s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, r := range s {
			if !yield(string(r)) {
				return
			}
		}
	}
}

func (streams) Until(c *hub.Call, n int, how string) (iter.Seq2[int, error], error) {
	if n < 0 {
		return nil, hub.Errorf("less than nothing")
	}
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		switch how {
		case "told":
			yield(0, hub.Errorf("enough"))
		case "failed":
			yield(0, errors.New("secret"))
		case "panic":
			panic("boom")
		}
	}, nil
}

func (s streams) Forever(c *hub.Call) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
		s.ended <- context.Cause(c)
	}
}

func (s streams) Silent(c *hub.Call) <-chan int {
	go func() { <-c.Done(); s.ended <- context.Cause(c) }()
	return make(chan int)
}

func (streams) Nil(c *hub.Call) <-chan int { return nil }

func (streams) Sum(c *hub.Call, numbers <-chan float64) (float64, error) {
	sum := 0.0
	for n := range numbers {
		sum += n
	}
	if err := c.StreamErr(numbers); err != nil {
		return 0, hub.Errorf("after %v: %v", sum, err)
	}
	return sum, nil
}

func (streams) Zip(c *hub.Call, sep string, a, b <-chan string) string {
	out := ""
	for x := range a {
		out += x + sep + <-b + ";"
	}
	return out
}

func (streams) Double(c *hub.Call, in iter.Seq2[int, error]) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n, err := range in {
			if err != nil {
				yield(0, hub.Errorf("upstream: %v", err))
				return
			}
			if !yield(2*n, nil) {
				return
			}
		}
	}
}

func (s streams) Wait(c *hub.Call, in <-chan int) {
	for range in {
	}
	s.ended <- c.StreamErr(in)
}

func (streams) First(c *hub.Call, in <-chan int) int { return <-in }
func (streams) Ping(c *hub.Call) string              { return "pong" }

func startStreams(t *testing.T, l hub.Limits) (*client, streams) {
	h := streams{ended: make(chan error, 8)}
	s := hub.NewServer(hub.Options{Limits: l})
	if err := s.Map("/chat", h); err != nil {
		t.Fatal(err)
	}
	return dial(t, serve(t, s)+"/chat"), h
}

// stream starts a stream and returns what comes of it until its completion.
func (c *client) stream(method, args string) []string {
	c.t.Helper()
	c.send(`{"type":4,"invocationId":"s","target":"` + method + `","arguments":` + args + `}`)
	return c.untilCompletion("s")
}

func (c *client) untilCompletion(id string) []string {
	c.t.Helper()
	var got []string
	for {
		m := c.next()
		if m.InvocationID != id {
			c.t.Fatalf("got %v", m)
		}
		if m.Type == 2 {
			got = append(got, string(m.Item))
			continue
		}
		if m.Error != nil {
			return append(got, "error: "+*m.Error)
		}
		if m.Result != nil {
			return append(got, "result: "+string(m.Result))
		}
		return append(got, "end")
	}
}

func TestServerStreams(t *testing.T) {
	c, _ := startStreams(t, hub.Limits{})
	const broke = "error: An error occurred on the server while streaming results."
	tests := []struct {
		method, args string
		want         []string
	}{
		{"Count", "[3]", []string{"0", "1", "2", "end"}},
		{"count", "[0]", []string{"end"}},
		{"Letters", `["añ"]`, []string{`"a"`, `"ñ"`, "end"}},
		{"Until", `[2,""]`, []string{"0", "1", "end"}},
		{"Until", `[1,"told"]`, []string{"0", broke + " HubException: enough"}},
		{"Until", `[1,"failed"]`, []string{"0", broke}},
		{"Until", `[1,"panic"]`, []string{"0", broke}},
		{"Until", `[-1,""]`, []string{"error: An unexpected error occurred invoking 'Until' on the server. HubException: less than nothing"}},
		{"Nil", "[]", []string{"error: The value returned by the streaming method 'Nil' is not a ChannelReader<> or IAsyncEnumerable<>."}},
		{"Ping", "[]", []string{"error: The client attempted to invoke the non-streaming 'Ping' method with a streaming invocation."}},
		{"nosuch", "[]", []string{"error: Failed to invoke 'nosuch' due to an error on the server. HubException: Method does not exist."}},
		{"Count", `["x"]`, []string{"error: Failed to invoke 'Count' due to an error on the server."}},
	}
	for _, test := range tests {
		if got := c.stream(test.method, test.args); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s%s: got %v, want %v", test.method, test.args, got, test.want)
		}
	}
	c.wantCall("error: The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.", "Count", 3)
}

func TestCancelStream(t *testing.T) {
	c, h := startStreams(t, hub.Limits{})
	for _, method := range []string{"Forever", "Silent"} {
		c.send(`{"type":4,"invocationId":"s","target":"` + method + `","arguments":[]}`)
		c.send(`{"type":4,"invocationId":"s","target":"Count","arguments":[1]}`)
		c.send(`{"type":5,"invocationId":"other"}`)
		c.send(`{"type":5,"invocationId":"s"}`)
		ends := 0
		for ends < 2 {
			switch m := c.next(); {
			case m.Type == 2:
			case m.Error != nil && *m.Error == "Invocation ID 's' is already in use.":
				ends++
			case m.Type == 3 && m.Error == nil && m.Result == nil:
				ends++
			default:
				t.Fatalf("got %v", m)
			}
		}
		if err := <-h.ended; err == nil {
			t.Errorf("%s: the context has not ended", method)
		}
	}
	c.wantCall(`result: "pong"`, "Ping")
}

// Streams end with their connection, and hold up neither it nor each other.
func TestStreamsEndWithTheConnection(t *testing.T) {
	c, h := startStreams(t, hub.Limits{})
	c.send(`{"type":4,"invocationId":"1","target":"Silent","arguments":[]}`)
	c.send(`{"type":1,"invocationId":"2","target":"Wait","arguments":[],"streamIds":["3"]}`)
	c.send(`{"type":2,"invocationId":"3","item":1}`)
	c.wantCall(`result: "pong"`, "Ping")
	c.ws.CloseNow()
	for range 2 {
		if err := <-h.ended; err == nil {
			t.Error("a stream ended as if the client had wanted it")
		}
	}
}

func TestUploads(t *testing.T) {
	c, _ := startStreams(t, hub.Limits{})
	send := func(kind int, target, args, ids string) {
		c.send(fmt.Sprintf(`{"type":%d,"invocationId":"i","target":%q,"arguments":%s,"streamIds":%s}`, kind, target, args, ids))
	}
	want := func(want ...string) {
		t.Helper()
		if got := c.untilCompletion("i"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	item := func(id, v string) { c.send(`{"type":2,"invocationId":"` + id + `","item":` + v + `}`) }

	send(1, "Sum", "[]", `["u"]`)
	for i := range 100 {
		item("u", fmt.Sprint(i))
	}
	c.send(`{"type":3,"invocationId":"u"}`)
	want("result: 4950")

	send(1, "Sum", "[]", `["u"]`)
	item("u", "1")
	c.send(`{"type":3,"invocationId":"u","error":"broken"}`)
	want("error: An unexpected error occurred invoking 'Sum' on the server. HubException: after 1: broken")

	send(1, "Sum", "[]", `["u"]`)
	item("u", `"one"`)
	item("u", "1")
	if got := c.untilCompletion("i")[0]; got[:100] != "error: An unexpected error occurred invoking 'Sum' on the server. HubException: after 0: Failed to bind Stream message."[:100] {
		t.Errorf("got %s", got)
	}

	send(1, "Zip", `["-"]`, `["a","b"]`)
	for i := range 3 {
		item("a", fmt.Sprintf(`"a%d"`, i))
		item("b", fmt.Sprintf(`"b%d"`, i))
	}
	c.send(`{"type":3,"invocationId":"a"}`)
	want(`result: "a0-b0;a1-b1;a2-b2;"`)
	item("b", `"late"`) // is passed over

	send(4, "Double", "[]", `["u"]`)
	item("u", "1")
	item("u", "2")
	c.send(`{"type":3,"invocationId":"u"}`)
	want("2", "4", "end")
	send(4, "Double", "[]", `["u"]`)
	c.send(`{"type":3,"invocationId":"u","error":"oh"}`)
	want("error: An error occurred on the server while streaming results. HubException: upstream: oh")

	send(1, "Sum", "[]", `[]`)
	want("error: An unexpected error occurred invoking 'Sum' on the server. HubException: Client sent 0 stream(s), Hub method expects 1.")
	send(1, "Zip", `["-"]`, `["a","a"]`)
	want("error: Invocation ID 'a' is already in use.")

	// A method that reads no more does not hold up the client.
	send(1, "First", "[]", `["u"]`)
	for i := range 100 {
		item("u", fmt.Sprint(i))
	}
	want("result: 0")
	c.wantCall(`result: "pong"`, "Ping")
}

func TestStreamLimit(t *testing.T) {
	c, h := startStreams(t, hub.Limits{MaxStreams: 2})
	c.send(`{"type":4,"invocationId":"1","target":"Silent","arguments":[]}`)
	c.send(`{"type":1,"invocationId":"2","target":"Wait","arguments":[],"streamIds":["3"]}`)
	const full = "HubException: This connection has 2 streams open already, which is the limit."
	if got := c.stream("Silent", "[]"); got[0] != "error: An unexpected error occurred invoking 'Silent' on the server. "+full {
		t.Errorf("got %v", got)
	}
	c.send(`{"type":5,"invocationId":"1"}`)
	<-h.ended
	c.next()
	if got := c.stream("Count", "[1]"); fmt.Sprint(got) != "[0 end]" {
		t.Errorf("got %v", got)
	}
}

// asker asks clients for results.
type asker struct{}

func (asker) Ask(c *hub.Call, id string, n int) (string, error) {
	var answer string
	err := c.Clients().Client(id).Invoke(c, &answer, "Question", n)
	return answer, err
}

func (asker) AskMe(c *hub.Call) (string, error) {
	var answer string
	return answer, c.Clients().Caller().Invoke(c, &answer, "Question", 1)
}

func (asker) Ping(c *hub.Call) string { return "pong" }

func startAsker(t *testing.T, nodes int) (urls []string, servers []*hub.Server) {
	memory := backplane.NewMemory()
	for i := range max(nodes, 1) {
		o := hub.Options{NodeName: fmt.Sprint("node", i)}
		if nodes > 0 {
			o.Backplane = memory.Node()
		}
		s := hub.NewServer(o)
		if err := s.Map("/chat", asker{}); err != nil {
			t.Fatal(err)
		}
		urls, servers = append(urls, serve(t, s)+"/chat"), append(servers, s)
	}
	return urls, servers
}

func TestClientResults(t *testing.T) {
	for _, nodes := range []int{0, 2} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			urls, _ := startAsker(t, nodes)
			asks, answers := dial(t, urls[0]), dial(t, urls[len(urls)-1])
			const failed = "error: An unexpected error occurred invoking 'Ask' on the server."
			for reply, want := range map[string]string{
				`"result":"yes"`:    `result: "yes"`,
				`"result":5`:        failed + " HubException: Error trying to deserialize result to string.",
				`"error":"no"`:      failed + " HubException: no",
				`"headers":{}`:      failed + " HubException: Client didn't provide a result.",
				`"result":null`:     `result: ""`,
				`"result":"\u00e9"`: `result: "é"`,
			} {
				asks.post("Ask", answers.id, 7)
				q := answers.next()
				if q.String() != "Question[7]" || q.InvocationID == "" {
					t.Fatalf("asked %v", q)
				}
				answers.send(`{"type":3,"invocationId":"` + q.InvocationID + `",` + reply + `}`)
				if got := asks.next().String(); len(got) < len(want) || got[:len(want)] != want {
					t.Errorf("%s: got %s, want %s", reply, got, want)
				}
			}
			asks.wantCall(failed, "Ask", "0000000000000000000000", 1)
			asks.post("Ask", answers.id, 1)
			answers.next()
			answers.ws.CloseNow()
			if got := asks.next().String(); !strings.HasPrefix(got, failed) {
				t.Errorf("the client went away: %s", got)
			}
		})
	}
}

// While a method waits for its own client's answer, the client's other calls run.
func TestClientResultOfCaller(t *testing.T) {
	urls, _ := startAsker(t, 0)
	c := dial(t, urls[0])
	c.post("AskMe")
	q := c.next()
	c.wantCall(`result: "pong"`, "Ping")
	c.send(`{"type":3,"invocationId":"` + q.InvocationID + `","result":"me"}`)
	c.want(`result: "me"`)
}

// An answer from another client than the one that was asked ends that client's connection.
func TestClientResultFromAnother(t *testing.T) {
	urls, _ := startAsker(t, 0)
	asks, answers, liar := dial(t, urls[0]), dial(t, urls[0]), dial(t, urls[0])
	asks.post("Ask", answers.id, 1)
	q := answers.next()
	liar.send(`{"type":3,"invocationId":"` + q.InvocationID + `","result":"lie"}`)
	liar.want("close: Connection closed with an error. (reconnect true)")
	answers.send(`{"type":3,"invocationId":"` + q.InvocationID + `","result":"truth"}`)
	asks.want(`result: "truth"`)
}

func TestClientResultFromOutside(t *testing.T) {
	urls, servers := startAsker(t, 2)
	c := dial(t, urls[1])
	for _, s := range servers {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		answer := make(chan error, 1)
		target := s.Hub("/chat").Clients().Client(c.id)
		go func() { answer <- target.Invoke(ctx, nil, "Q") }()
		c.want("Q[]")
		cancel()
		if err := <-answer; !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "invocation canceled by the server: ") {
			t.Errorf("nobody answers: %v", err)
		}
		if err := target.Invoke(ctx, nil, "Q"); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "invocation canceled by the server: ") {
			t.Errorf("nobody waits: %v", err)
		}
		if err := s.Hub("/chat").Clients().All().Invoke(context.Background(), nil, "Q"); err == nil {
			t.Error("all clients could be asked")
		}
	}
}

// Whoever asks a client that leaves is told so, wherever it was; also when its whole node is gone, and says nothing.
func TestClientResultOfOneThatLeaves(t *testing.T) {
	leaves := map[string]func(c *client, node *backplane.MemoryNode){
		"the client goes":   func(c *client, _ *backplane.MemoryNode) { c.ws.CloseNow() },
		"its node vanishes": func(_ *client, node *backplane.MemoryNode) { node.Close() },
	}
	for name, leave := range leaves {
		for _, asks := range []string{"its own node", "another node"} {
			if asks == "its own node" && name == "its node vanishes" {
				continue
			}
			t.Run(asks+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := backplane.NewMemory()
					node := memory.Node()
					servers := map[string]*hub.Server{
						"its own node": newServer(t, &chat{}, hub.Options{Backplane: node}),
						"another node": newServer(t, &chat{}, hub.Options{Backplane: memory.Node()}),
					}
					http, _, stop := serveInMemory(servers["its own node"])
					defer stop()
					c := dial(t, there, over(http))
					defer c.ws.CloseNow()
					answer := make(chan error, 1)
					go func() {
						answer <- servers[asks].Hub("/chat").Clients().Client(c.id).Invoke(context.Background(), nil, "Q")
					}()
					c.want("Q[]")
					leave(c, node)
					began := time.Now()
					err := <-answer
					if want := "hub: no such connection: Connection '" + c.id + "' disconnected"; !errors.Is(err, hub.ErrNoConnection) || err.Error() != want {
						t.Errorf("got %v, want %s", err, want)
					}
					if took := time.Since(began); took > 3*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestInvoke(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		ctx := within(t)

		sum, err := client.Invoke[int](ctx, c, "Add", 1, 2)
		if sum != 3 || err != nil {
			t.Errorf("Add: %d, %v", sum, err)
		}
		var p point
		if err := c.Invoke(ctx, &p, "move", point{X: 1, Y: 2, Tags: []string{"<a>"}}, 10); err != nil {
			t.Error(err)
		}
		diff(t, "a struct", point{X: 11, Y: 12, Tags: []string{"<a>"}}, p)
		if err := c.Invoke(ctx, nil, "Nothing"); err != nil {
			t.Error(err)
		}
		if err := c.Send(ctx, "Nothing"); err != nil {
			t.Error(err)
		}
		id, err := client.Invoke[string](ctx, c, "ID")
		if id == "" || id != c.ConnectionID() || err != nil {
			t.Errorf("connection id %q, %q for the server, %v", c.ConnectionID(), id, err)
		}
		if got := c.Transport(); got != o.Transports[0] {
			t.Errorf("transport %q", got)
		}
	})
}

func TestInvokeErrors(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		ctx := within(t)
		for _, tt := range []struct {
			method string
			args   []any
			want   string
		}{
			{"Refuse", []any{"not today"}, "An unexpected error occurred invoking 'Refuse' on the server. HubException: not today"},
			{"Fail", nil, "An unexpected error occurred invoking 'Fail' on the server."},
			{"Missing", nil, "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist."},
			{"Add", []any{1}, "Failed to invoke 'Add' due to an error on the server."},
			{"Count", []any{1}, "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation."},
		} {
			var failed *client.HubError
			if err := c.Invoke(ctx, nil, tt.method, tt.args...); !errors.As(err, &failed) || failed.Message != tt.want {
				t.Errorf("%s: %v, want %s", tt.method, err, tt.want)
			}
		}
		if _, err := client.Invoke[int](ctx, c, "Repeat", "a", 1); err == nil || !strings.Contains(err.Error(), "the result of Repeat does not fit") {
			t.Errorf("a string for an int: %v", err)
		}
		if err := c.Invoke(ctx, nil, "Add", func() {}, 1); err == nil || !strings.Contains(err.Error(), "an argument of Add cannot be sent") {
			t.Errorf("a func for an argument: %v", err)
		}
		if sum, err := client.Invoke[int](ctx, c, "Add", 1, 2); sum != 3 || err != nil {
			t.Errorf("afterwards: %d, %v", sum, err)
		}
	})
}

func TestLargeMessages(t *testing.T) {
	const size = 120_000
	over(t, hub.Options{Limits: hub.Limits{MaxMessageSize: 2 * size}}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		text := strings.Repeat("äx", size/3)
		got, err := client.Invoke[string](within(t), c, "Repeat", text, 2)
		if err != nil || got != text+text {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	})
}

func TestHandlers(t *testing.T) {
	over(t, hub.Options{Authenticate: byToken}, func(t *testing.T, s *service, o client.Options) {
		heard := make(chan string, 16)
		as := func(name string) *client.Client {
			o := o
			o.AccessToken = func(context.Context) (string, error) { return name, nil }
			c := dial(t, s.url, o)
			c.On("said", func(ctx context.Context, user, text string) { heard <- name + " hears " + user + ": " + text })
			c.On("Told", func(args ...string) { heard <- fmt.Sprint(name, " is told ", args) })
			return c
		}
		ada, bob := as("ada"), as("bob")
		ctx := within(t)
		must := func(c *client.Client, method string, args ...any) {
			t.Helper()
			if err := c.Invoke(ctx, nil, method, args...); err != nil {
				t.Fatal(err)
			}
		}
		must(ada, "Say", "hello")
		got := []string{next(t, heard), next(t, heard)}
		slices.Sort(got)
		diff(t, "heard", []string{"ada hears ada: hello", "bob hears ada: hello"}, got)

		must(bob, "Join", "red")
		must(ada, "Tell", "red", "one")
		diff(t, "told", "bob is told [one]", next(t, heard))
		must(bob, "Leave", "red")
		must(ada, "Join", "red")
		must(bob, "Tell", "red", "two")
		diff(t, "told", "ada is told [two]", next(t, heard))
	})
}

func TestHandlerTakenBack(t *testing.T) {
	s := serve(t, hub.Options{}, nil)
	c := dial(t, s.url, client.Options{})
	heard := make(chan string, 4)
	off := c.On("Said", func(_, text string) { heard <- "first " + text })
	c.On("Said", func(_, text string) error { heard <- "second " + text; return errors.New("for the log") })
	for _, text := range []string{"a", "b"} {
		if err := c.Send(within(t), "Say", text); err != nil {
			t.Fatal(err)
		}
		if text == "a" {
			diff(t, "heard", "first a", next(t, heard))
			off()
		}
		diff(t, "heard", "second "+text, next(t, heard))
	}
}

func TestClientResults(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		ctx := within(t)
		ask := func() string {
			answer, err := client.Invoke[string](ctx, c, "Ask", "why?")
			if err != nil {
				_, text, _ := strings.Cut(err.Error(), "HubException: ")
				return "error: " + text
			}
			return answer
		}
		for _, tt := range []struct {
			want    string
			handler any
		}{
			{"because", func(string) string { return "because" }},
			{"why? indeed", func(_ context.Context, q string) (string, error) { return q + " indeed", nil }},
			{"3", func(string) (string, error) { // a handler may call, and wait
				n, err := client.Invoke[int](ctx, c, "Add", 1, 2)
				return fmt.Sprint(n), err
			}},
			{"error: none of your business", func(string) (string, error) { return "", errors.New("none of your business") }},
			{"error: Client didn't provide a result.", func(string) {}},
			{"error: Client failed to parse argument(s).", func(int) string { return "" }},
			{"error: Client failed to parse argument(s).", func() string { return "" }},
		} {
			off := c.On("Question", tt.handler)
			if got := ask(); got != tt.want {
				t.Errorf("%T: %q, want %q", tt.handler, got, tt.want)
			}
			off()
		}
		diff(t, "no handler", "error: Client didn't provide a result.", ask())
		c.On("Question", func(string) string { return "a" })
		c.On("Question", func(string) string { return "b" })
		diff(t, "two handlers", "error: Client provided multiple results.", ask())
	})
}

// While the client thinks about an answer, messages and other questions get through; Stop waits for the thinking.
func TestSlowAnswers(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		o.ParallelAnswers = 2
		c, asking := dial(t, s.url, o), dial(t, s.url, o)
		thinking, decided, heard := make(chan string, 10), make(chan string), make(chan string, 10)
		c.On("Question", func(_ context.Context, q string) (string, error) {
			thinking <- q
			return <-decided, nil
		})
		c.On("Said", func(_, text string) { heard <- text })
		ctx, answers := within(t), make(chan string, 3)
		ask := func(q string) {
			go func() {
				text, err := client.Invoke[string](ctx, asking, "AskOf", c.ConnectionID(), q)
				if err != nil {
					text = err.Error()
				}
				answers <- text
			}()
		}
		say := func(text string) {
			t.Helper()
			if err := asking.Send(ctx, "Say", text); err != nil {
				t.Fatal(err)
			}
		}
		ask("a")
		diff(t, "the first question", "a", next(t, thinking))
		say("while it thinks")
		diff(t, "heard", "while it thinks", next(t, heard))
		ask("b")
		diff(t, "the second question", "b", next(t, thinking))
		say("while it thinks twice")
		diff(t, "heard", "while it thinks twice", next(t, heard))

		ask("c") // is one too many, and waits in line
		decided <- "yes"
		diff(t, "the first answer", "yes", next(t, answers))
		diff(t, "the third question", "c", next(t, thinking))
		say("and thinks on")
		diff(t, "heard", "and thinks on", next(t, heard))
		stopped := make(chan error, 1)
		go func() { stopped <- c.Stop(ctx) }()
		for range 2 { // whoever asked is told that the client has gone, but it thinks on
			if text := next(t, answers); !strings.HasSuffix(text, "disconnected") {
				t.Errorf("who asked is told %q", text)
			}
		}
		select {
		case err := <-stopped:
			t.Errorf("Stop did not wait: %v", err)
		default:
		}
		decided <- "too late"
		decided <- "too late"
		if err := next(t, stopped); err != nil {
			t.Error(err)
		}
	})
}

func TestOnPanics(t *testing.T) {
	c, err := client.New("http://127.0.0.1/", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []any{nil, 7, (func())(nil), func() (int, int) { return 0, 0 }, func() (string, int) { return "", 0 }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T is taken", wrong)
				}
			}()
			c.On("Method", wrong)
		}()
	}
}

func TestStream(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		ctx := within(t)

		collect := func(seq iter.Seq2[int, error]) (items []int, failed error) {
			for n, err := range seq {
				if err != nil {
					return items, err
				}
				items = append(items, n)
			}
			return items, nil
		}
		items, err := collect(client.Stream[int](ctx, c, "Count", 5))
		if err != nil {
			t.Error(err)
		}
		diff(t, "items", []int{0, 1, 2, 3, 4}, items)

		items, err = collect(client.Stream[int](ctx, c, "CountAndFail", 2))
		var failed *client.HubError
		if !errors.As(err, &failed) || failed.Message != "An error occurred on the server while streaming results. HubException: no more than 2" {
			t.Errorf("the stream ended with %v", err)
		}
		diff(t, "items before the error", []int{0, 1}, items)

		if _, err = collect(client.Stream[int](ctx, c, "Add", 1, 2)); !errors.As(err, &failed) {
			t.Errorf("a method that does not stream: %v", err)
		}
		for _, err = range client.Stream[bool](ctx, c, "Count", 1) {
		}
		if err == nil || !strings.Contains(err.Error(), "an item of the stream Count does not fit") {
			t.Errorf("a number for a bool: %v", err)
		}
	})
}

func TestStreamCancel(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)

		for n, err := range client.Stream[int](within(t), c, "Forever") {
			if err != nil {
				t.Fatal(err)
			}
			if n == 3 {
				break
			}
		}
		next(t, s.lab.ended)

		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		var last error
		for n, err := range client.Stream[int](ctx, c, "Forever") {
			if n == 3 {
				cancel()
			}
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("the stream ended with %v", last)
		}
		next(t, s.lab.ended)
	})
}

// The loop over a stream may call, although more items than there is room for lie between the call and its answer.
func TestCallInsideStream(t *testing.T) {
	s := serve(t, hub.Options{}, nil)
	c := dial(t, s.url, client.Options{ReceiveBuffer: 1000})
	ctx := within(t)
	var items int
	for n, err := range client.Stream[int](ctx, c, "Count", 200) {
		if err != nil {
			t.Fatal(err)
		}
		if n%50 == 0 {
			if sum, err := client.Invoke[int](ctx, c, "Add", n, 1); sum != n+1 || err != nil {
				t.Fatalf("%d, %v", sum, err)
			}
		}
		items++
	}
	diff(t, "items", 200, items)
}

func TestUpload(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		c := dial(t, s.url, o)
		ctx := within(t)
		numbers := make(chan int)
		go func() {
			defer close(numbers)
			for n := range 101 {
				numbers <- n
			}
		}()
		if sum, err := client.Invoke[int](ctx, c, "Sum", numbers); sum != 5050 || err != nil {
			t.Errorf("a channel: %d, %v", sum, err)
		}
		if sum, err := client.Invoke[int](ctx, c, "Sum", slices.Values([]int{1, 2, 3})); sum != 6 || err != nil {
			t.Errorf("a sequence: %d, %v", sum, err)
		}
		failing := func(yield func(int, error) bool) { _ = yield(7, nil) && yield(0, errors.New("worn out")) }
		mixed, err := client.Invoke[string](ctx, c, "Mix", iter.Seq2[int, error](failing), "m", slices.Values([]int{1, 2}))
		if err != nil {
			t.Error(err)
		}
		if mixed != "7m worn out, 3m whole" {
			t.Errorf("two streams beside a value: %q", mixed)
		}
		var doubled []int
		for n, err := range client.Stream[int](ctx, c, "Double", slices.Values([]int{1, 2, 3})) {
			if err != nil {
				t.Fatal(err)
			}
			doubled = append(doubled, n)
		}
		diff(t, "streams both ways", []int{2, 4, 6}, doubled)
		if err := c.Send(ctx, "Swallow", slices.Values([]int{1, 2, 3})); err != nil {
			t.Error(err)
		}
		if err := next(t, s.lab.ended); err != nil {
			t.Errorf("the server saw the stream end with %v", err)
		}
	})
}

func TestUploadEndsWithItsCall(t *testing.T) {
	s := serve(t, hub.Options{}, nil)
	c := dial(t, s.url, client.Options{})
	endless := make(chan int, 1)
	endless <- 7
	if n, err := client.Invoke[int](within(t), c, "FirstOf", endless); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}

	ctx, cancel := context.WithCancel(within(t))
	sent := make(chan error)
	go func() { sent <- c.Send(ctx, "Swallow", endless) }()
	endless <- 8
	cancel()
	if err := next(t, sent); !errors.Is(err, context.Canceled) {
		t.Errorf("Send: %v", err)
	}
	if err := next(t, s.lab.ended); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("the server saw the stream end with %v", err)
	}

	unsendable := func(yield func(any) bool) { yield(func() {}) }
	if err := c.Invoke(within(t), nil, "Sum", iter.Seq[any](unsendable)); err == nil || !strings.Contains(err.Error(), "argument 1 cannot be sent") {
		t.Errorf("a func in a stream: %v", err)
	}
}

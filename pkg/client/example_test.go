package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// Chat is the hub of the examples. They run it in the same program; any SignalR server will do.
type Chat struct{}

func (Chat) SendMessage(c *hub.Call, user, text string) error {
	return c.Clients().All().Send(c, "ReceiveMessage", user, text)
}

func (Chat) Add(_ *hub.Call, a, b int) (int, error) {
	if a < 0 || b < 0 {
		return 0, hub.Errorf("only what is positive")
	}
	return a + b, nil
}

func (Chat) Countdown(c *hub.Call, from int) <-chan int {
	ch := make(chan int)
	go func() {
		defer close(ch)
		for n := from; n >= 0; n-- {
			select {
			case ch <- n:
			case <-c.Done():
				return
			}
		}
	}()
	return ch
}

func (Chat) Longest(_ *hub.Call, words <-chan string) string {
	var longest string
	for w := range words {
		if len(w) > len(longest) {
			longest = w
		}
	}
	return longest
}

func (Chat) Guess(c *hub.Call) (string, error) {
	var n int
	if err := c.Clients().Caller().Invoke(c, &n, "ThinkOfANumber", 10); err != nil {
		return "", err
	}
	return fmt.Sprint("It is ", n, "!"), nil
}

// listen serves the examples' hub.
func listen() (url string, stop func()) {
	srv := hub.NewServer(hub.Options{})
	srv.Map("/chat", Chat{})
	web := httptest.NewServer(srv)
	return web.URL + "/chat", func() {
		cutOff(srv)
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	}
}

func Example() {
	url, stop := listen()
	defer stop()
	ctx := context.Background()

	c, err := client.New(url, client.Options{Reconnect: client.DefaultReconnect})
	if err != nil {
		fmt.Println(err)
		return
	}
	received := make(chan string)
	c.On("ReceiveMessage", func(user, text string) { received <- user + ": " + text })
	if err := c.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer c.Stop(ctx)
	if err := c.Send(ctx, "SendMessage", "ada", "hello"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-received)
	// Output: ada: hello
}

// connect starts a client for an example.
func connect(url string, o client.Options) *client.Client {
	c, err := client.New(url, o)
	if err != nil {
		panic(err)
	}
	if err := c.Start(context.Background()); err != nil {
		panic(err)
	}
	return c
}

func ExampleInvoke() {
	url, stop := listen()
	defer stop()
	ctx := context.Background()
	c := connect(url, client.Options{})
	defer c.Stop(ctx)

	sum, err := client.Invoke[int](ctx, c, "Add", 40, 2)
	fmt.Println(sum, err)

	_, err = client.Invoke[int](ctx, c, "Add", 40, -2)
	var refused *client.HubError
	fmt.Println(errors.As(err, &refused), err)
	// Output:
	// 42 <nil>
	// true An unexpected error occurred invoking 'Add' on the server. HubException: only what is positive
}

// Leaving the loop ends the stream on the server.
func ExampleStream() {
	url, stop := listen()
	defer stop()
	ctx := context.Background()
	c := connect(url, client.Options{})
	defer c.Stop(ctx)

	for n, err := range client.Stream[int](ctx, c, "Countdown", 1000) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n)
		if n == 998 {
			break
		}
	}
	// Output:
	// 1000
	// 999
	// 998
}

// A receive channel works as well, and so does an iter.Seq2 with errors.
func ExampleClient_Invoke_upload() {
	url, stop := listen()
	defer stop()
	ctx := context.Background()
	c := connect(url, client.Options{})
	defer c.Stop(ctx)

	var longest string
	err := c.Invoke(ctx, &longest, "Longest", slices.Values([]string{"to", "be", "or", "not", "to", "be"}))
	fmt.Println(longest, err)
	// Output: not <nil>
}

// What a handler returns is the answer, if the server asks for one.
func ExampleClient_On() {
	url, stop := listen()
	defer stop()
	ctx := context.Background()
	c := connect(url, client.Options{})
	defer c.Stop(ctx)

	c.On("ThinkOfANumber", func(below int) (int, error) {
		if below < 1 {
			return 0, errors.New("there is none")
		}
		return below - 3, nil
	})
	fmt.Println(client.Invoke[string](ctx, c, "Guess"))
	// Output: It is 7! <nil>
}

// Groups belong to a connection: the hook is the place to join them again.
func ExampleOptions_reconnect() {
	var c *client.Client
	o := client.Options{
		StatefulReconnect: true,                                                 // nothing is lost when a connection breaks for a moment
		Reconnect:         client.ReconnectForever(time.Second, 30*time.Second), // and if it is lost, there will be another
		AccessToken: func(ctx context.Context) (string, error) {
			return "a token that is still valid", nil
		},
		Hooks: client.Hooks{
			Reconnected: func(string) {
				if err := c.Invoke(context.Background(), nil, "Join", "room"); err != nil {
					fmt.Println(err)
				}
			},
		},
	}
	c, err := client.New("https://example.com/chat", o)
	fmt.Println(c.State(), err)
	// Output: disconnected <nil>
}

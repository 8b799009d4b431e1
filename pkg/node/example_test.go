package node_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/node"
)

// Chat is a hub.
type Chat struct{}

// SendMessage sends to everyone on every node.
func (Chat) SendMessage(c *hub.Call, user, message string) error {
	return c.Clients().All().Send(c, "ReceiveMessage", user, message)
}

// A whole node: a hub, a page beside it, and the operator's listener. With Config.Redis it is one of many.
func Example() {
	n, err := node.New(node.Config{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Map("/chat", Chat{}); err != nil {
		log.Fatal(err)
	}
	n.Handle("GET /hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	if err := n.Listen(); err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background()) // in a program: signal.NotifyContext
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	get(n.Addr().String() + "/hello")
	get(n.AdminAddr().String() + "/readyz")
	stop()
	fmt.Println("stopped:", <-done)
	// Output:
	// hello
	// ok
	// stopped: <nil>
}

// get prints what an address answers.
func get(address string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
}

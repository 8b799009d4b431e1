package publisher_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/node"
	"github.com/hubfleet/hubfleet/pkg/publisher"
)

// A program that is no node tells a user something, and asks who is online. It knows nothing but where Redis is.
func Example() {
	redis, stop := cluster() // a Redis, a node, and the client of a user called ada
	defer stop()

	ctx := context.Background()
	p, err := publisher.Connect(ctx, publisher.Options{Redis: redis})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	chat := p.Hub("Chat")
	if err := chat.Clients().User("ada").Send(ctx, "ReceiveMessage", "ops", "Your export is ready."); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	online, err := chat.Presence().Online(ctx, "ada", "bob")
	fmt.Println(online, err)
	joined, err := chat.Groups().AddUser(ctx, "ada", "exports")
	fmt.Println(joined.Connections, joined.Complete(), err)
	// Output:
	// ops: Your export is ready.
	// [true false] <nil>
	// 1 true <nil>
}

// Chat is the hub that a node serves.
type Chat struct{}

// heard is what the client of ada has received.
var heard = make(chan string, 10)

// cluster starts a Redis, a node with the hub, and a client. In a program they run elsewhere.
func cluster() (redis string, stop func()) {
	t := &exampleTB{}
	redis = redistest.Start(t).URL()
	url := startNode(t, redis)
	connect(t, url, "ada", heard)
	return redis, t.end
}

// exampleTB lets an example use what is made for tests.
type exampleTB struct {
	testing.TB
	ends []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Cleanup(f func())          { t.ends = append(t.ends, f) }
func (t *exampleTB) Fatal(args ...any)         { log.Panic(args...) }
func (t *exampleTB) Fatalf(f string, a ...any) { log.Panicf(f, a...) }
func (t *exampleTB) end() {
	for i := len(t.ends) - 1; i >= 0; i-- {
		t.ends[i]()
	}
}

// startNode runs a node with the hub Chat at /chat until the test ends, and returns the hub's URL.
func startNode(t testing.TB, redis string) string {
	t.Helper()
	n, err := node.New(node.Config{
		Listen: "127.0.0.1:0", AdminListen: node.Off, PeerListen: "127.0.0.1:0", Redis: redis, DrainTimeout: 2 * time.Second,
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			return hub.Identity{UserID: r.URL.Query().Get("user")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Map("/chat", Chat{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return "http://" + n.Addr().String() + "/chat"
}

// connect connects a client as a user; it passes on what it hears.
func connect(t testing.TB, address, user string, heard chan<- string) *client.Client {
	t.Helper()
	c, err := client.New(address+"?user="+url.QueryEscape(user), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.On("ReceiveMessage", func(user, text string) { heard <- user + ": " + text })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for { // negotiate says 503 until the node has met Redis
		if err = c.Start(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Cleanup(func() { _ = c.Stop(context.Background()) })
	return c
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

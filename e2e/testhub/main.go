// Command testhub is a node whose hub has what the tests with real clients need and the sample hub lacks: every target,
// questions to clients, streams that say how they ended. It takes the flags of cmd/node that a development cluster gives
// to its nodes. It believes everyone: ?user=NAME is the user id.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/node"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

// run serves until a signal comes.
func run(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	n, err := node.New(parse(log))
	if err != nil {
		return err
	}
	if err := n.Map("/test", newTestHub(n.Name())); err != nil {
		return err
	}
	return n.Run(ctx)
}

// parse reads the flags.
func parse(log *slog.Logger) node.Config {
	c := node.Config{
		RedisPrefix:  "testhub:", // shares a Redis with the nodes of the sample hub, and nothing else
		Authenticate: believe,
		DrainTimeout: 10 * time.Second,
		DrainDelay:   -1,
		Logger:       log,
	}
	flag.StringVar(&c.NodeName, "node-name", "", "the node's name")
	flag.StringVar(&c.Listen, "listen", "", "where clients connect")
	flag.StringVar(&c.AdminListen, "admin-listen", "", "where the operator connects")
	flag.StringVar(&c.PeerListen, "peer-listen", "", "where other nodes forward requests to")
	flag.StringVar(&c.Advertise, "advertise", "", "the URL of that")
	flag.StringVar(&c.Redis, "redis", "", "URL of the Redis that joins the nodes")
	flag.Bool("demo", false, "taken and ignored: there is no demo page")
	flag.String("log-format", "text", "taken and ignored: the log is text")
	flag.Parse()
	return c
}

// believe takes the user id that a client claims to have.
func believe(r *http.Request) (hub.Identity, error) {
	return hub.Identity{UserID: r.URL.Query().Get("user")}, nil
}

package presence_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// childURL is the environment variable with which the test's binary runs as a node, for tests that kill and stop processes.
const childURL = "HUBFLEET_TEST_PRESENCE_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		child(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// child is a node, with times as in production, that has one connection of each user in its arguments. It says "ready" when Redis knows them,
// and ends with SIGTERM.
func child(url string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	id := cluster.NewNodeID("child")
	c, err := cluster.NewRedis(cluster.RedisOptions{URL: url, Prefix: "x:", NodeID: id})
	fatal(err)
	r, err := presence.NewRedis(presence.RedisOptions{URL: url, Prefix: "x:", Lease: c})
	fatal(err)
	ended := make(chan error, 2)
	go func() { ended <- c.Run(ctx) }()
	go func() { ended <- r.Run(ctx) }()
	users := strings.Split(os.Getenv(childURL+"_USERS"), ",")
	for _, user := range users {
		r.Add(presence.Connection{ID: id + user, User: user})
	}
	for known := 0; known < len(users); time.Sleep(time.Millisecond) {
		known = 0
		for _, user := range users {
			list, err := r.Connections(ctx, user)
			for _, c := range list {
				if err == nil && c.Node == id {
					known++
				}
			}
		}
	}
	fmt.Println("ready")
	fatal(<-ended)
	fatal(<-ended)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

package rediscontainer

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const image = "redis:7.4-alpine"

func TestRedisContract(t *testing.T) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		notRun(t, "redis-server is installed ("+path+"), and the same suite runs against it in pkg/backplane")
	}
	url := container(t)
	backplanetest.Run(t, backplanetest.Traits{}, func(t testing.TB) backplanetest.Join {
		prefix := redistest.Prefix(t)
		return func(t testing.TB, deliver func(string, []byte), flush func()) backplanetest.Backplane {
			return join(t, backplane.RedisOptions{URL: url, Prefix: prefix}, deliver, flush)
		}
	})
}

// notRun skips the test, and says so where a summary of a run shows it.
func notRun(t *testing.T, reason string) {
	t.Helper()
	fmt.Printf("NOT RUN: %s: %s\n", t.Name(), reason)
	t.Skip(reason)
}

// container starts a Redis and gives its URL. Without a Docker engine the test is not run.
func container(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // an image may have to be fetched
	defer cancel()
	if err := engine(ctx); err != nil {
		notRun(t, fmt.Sprintf("no Docker engine answers: %v", err))
	}
	c, err := testcontainers.Run(ctx, image,
		testcontainers.WithExposedPorts("6379/tcp"),
		testcontainers.WithWaitStrategy(wait.ForLog("Ready to accept connections")),
	)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("starting %s: %v", image, err)
	}
	url, err := c.PortEndpoint(ctx, "6379/tcp", "redis")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// engine says why there is no Docker engine, if there is none.
func engine(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil { // testcontainers panics when it finds no way to an engine
			err = fmt.Errorf("%v", r)
		}
	}()
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	defer provider.Close()
	return provider.Health(ctx)
}

func join(t testing.TB, o backplane.RedisOptions, deliver func(string, []byte), flush func()) *backplane.Redis {
	t.Helper()
	r, err := backplane.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Attach(deliver, flush)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for deadline := time.Now().Add(backplanetest.Patience); r.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(r.Ready())
		}
	}
	return r
}

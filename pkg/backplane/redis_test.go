package backplane

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
)

// start runs a Redis backplane and waits until it is ready. It ends with the test.
func start(t testing.TB, o RedisOptions, deliver func(string, []byte), flush func()) *Redis {
	t.Helper()
	r, stop := run(t, o, deliver, flush)
	t.Cleanup(stop)
	waitReady(t, r)
	return r
}

// run starts a Redis backplane without waiting. stop ends it.
func run(t testing.TB, o RedisOptions, deliver func(string, []byte), flush func()) (r *Redis, stop func()) {
	t.Helper()
	r, err := NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Attach(deliver, flush)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return r, func() {
		cancel()
		running.Wait()
	}
}

func waitReady(t testing.TB, r *Redis) {
	t.Helper()
	eventually(t, "ready", func() bool { return r.Ready() == nil }, func() any { return r.Ready() })
}

// eventually polls for a state that has no event.
func eventually(t testing.TB, what string, ok func() bool, state func() any) {
	t.Helper()
	for deadline := time.Now().Add(backplanetest.Patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never %s: %v", what, state())
		}
		time.Sleep(time.Millisecond)
	}
}

func contract(t *testing.T, options func(t testing.TB) RedisOptions) {
	backplanetest.Run(t, func(t testing.TB) backplanetest.Join {
		o := options(t)
		o.Prefix = redistest.Prefix(t)
		return func(t testing.TB, deliver func(string, []byte), flush func()) backplanetest.Backplane {
			return start(t, o, deliver, flush)
		}
	})
}

func TestRedisContractTCP(t *testing.T) {
	url := redistest.URL(t)
	contract(t, func(testing.TB) RedisOptions { return RedisOptions{URL: url} })
}

func TestRedisContractSocket(t *testing.T) {
	s := redistest.Start(t)
	contract(t, func(testing.TB) RedisOptions { return RedisOptions{URL: "unix://" + s.Socket(), Lanes: 1} })
}

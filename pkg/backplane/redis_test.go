package backplane

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/redis/go-redis/v9"
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
	contractWith(t, backplanetest.Traits{}, options)
}

func contractWith(t *testing.T, traits backplanetest.Traits, options func(t testing.TB) RedisOptions) {
	backplanetest.Run(t, traits, func(t testing.TB) backplanetest.Join {
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

// All of it speaks RESP 3, unless the URL says otherwise or the server knows nothing else, with a password as well.
func TestRedisContractProtocols(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, query, resp string
		args              []string
	}{
		{name: "3", resp: "resp=3"}, // the contract is that of TestRedisContractTCP
		{name: "2, as asked for", query: "?protocol=2", resp: "resp=2"},
		{name: "2, before Redis 6", resp: "resp=2", args: []string{"--rename-command", "HELLO", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, append([]string{"--requirepass", "secret"}, c.args...)...)
			url := "redis://:secret@" + s.Addr() + c.query
			r := start(t, RedisOptions{URL: url, SubscribeConnections: 2}, nil, nil)
			if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
				t.Fatal(err)
			}
			admin := s.Client(t, func(o *redis.Options) { o.Password = "secret" })
			list := admin.ClientList(t.Context()).Val()
			links := 0
			for line := range strings.Lines(list) {
				if strings.Contains(line, "cmd=ping ") || strings.Contains(line, "cmd=subscribe ") {
					links++
					if !strings.Contains(line, c.resp) {
						t.Errorf("want %s: %s", c.resp, line)
					}
				}
			}
			if links != DefaultLanes+2 {
				t.Errorf("%d links:\n%s", links, list)
			}
			if c.resp == "resp=2" {
				contract(t, func(testing.TB) RedisOptions { return RedisOptions{URL: url} })
			}
		})
	}
}

func TestRedisContractConnections(t *testing.T) {
	s := redistest.Start(t)
	contractWith(t, backplanetest.Traits{Parallel: true}, func(testing.TB) RedisOptions {
		return RedisOptions{URL: s.URL(), SubscribeConnections: 4}
	})
}

func TestRedisContractSentinel(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	contract(t, func(testing.TB) RedisOptions { return RedisOptions{URL: s.URL()} })
}

func TestRedisContractCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, false)
	t.Run("ordinary", func(t *testing.T) {
		contractWith(t, backplanetest.Traits{Uncounted: true}, func(testing.TB) RedisOptions { return RedisOptions{URL: c.URL()} })
	})
	t.Run("sharded", func(t *testing.T) {
		contractWith(t, backplanetest.Traits{Parallel: true}, func(testing.TB) RedisOptions {
			return RedisOptions{URL: c.URL(), Sharded: true}
		})
	})
}

// quick stands for the pauses that would be a second or more.
const quick = 10 * time.Millisecond

func checkKind(t testing.TB, err, kind error, maybe bool) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.MaybeSent() != maybe || !errors.Is(err, kind) {
		t.Errorf("error %v; want %v, maybe sent %v", err, kind, maybe)
	}
}

// observer counts what hooks tell.
type observer struct {
	gaps, ups, downs atomic.Int32
	lastGap          atomic.Int64
}

func (o *observer) hooks() Hooks {
	return Hooks{
		Gap: func(d time.Duration) { o.lastGap.Store(int64(d)); o.gaps.Add(1) },
		State: func(up bool) {
			if up {
				o.ups.Add(1)
			} else {
				o.downs.Add(1)
			}
		},
	}
}

// waitGap waits until n gaps have been reported.
func (o *observer) waitGap(t testing.TB, n int32) {
	t.Helper()
	eventually(t, "reported the gap", func() bool { return o.gaps.Load() >= n }, func() any { return o.gaps.Load() })
}

// quickly is options with which faults are noticed fast.
func quickly(url string, seen *observer) RedisOptions {
	return RedisOptions{URL: url, RetryMin: quick, RetryMax: 5 * quick, Silence: 20 * quick, ReplyTimeout: 300 * quick, Hooks: seen.hooks()}
}

// On the wire there is the prefix and the channel, and the payload, and nothing else.
func TestRedisWire(t *testing.T) {
	s := redistest.Start(t)
	rec := backplanetest.NewRecorder()
	r := start(t, RedisOptions{URL: s.URL(), Prefix: "pre:fix"}, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	raw := s.Client(t, nil)
	watch := raw.Subscribe(ctx, "pre:fixHub:all")
	defer watch.Close()
	if _, err := watch.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	payload := "\x92\x90\x81\xa4json\xc4\x02{}\x00"
	if n, err := r.Publish(ctx, []byte(payload), "Hub:all"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	m, err := watch.ReceiveMessage(ctx)
	if err != nil || m.Channel != "pre:fixHub:all" || m.Payload != payload {
		t.Errorf("on the wire: %v, %v", m, err)
	}
	if err := r.Subscribe(ctx, "Hub:group:*"); err != nil {
		t.Fatal(err)
	}
	got, err := raw.PubSubChannels(ctx, "*").Result()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"pre:fixHub:all", "pre:fixHub:group:*"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if n, err := raw.PubSubNumPat(ctx).Result(); n != 0 || err != nil {
		t.Errorf("%d pattern subscriptions, %v", n, err)
	}
	if err := raw.Publish(ctx, "pre:fixHub:group:*", payload).Err(); err != nil {
		t.Fatal(err)
	}
	rec.WaitFor(t, "Hub:group:*", payload)
}

// When Run ends, all that waits fails, and everything afterwards.
func TestRedisStop(t *testing.T) {
	s := redistest.Start(t)
	inFlight := make(chan int, 1)
	o := RedisOptions{URL: s.URL(), Lanes: 1, Queue: 1, ReplyTimeout: time.Minute, Silence: time.Minute}
	o.Hooks.Pipelined = func(n int) { inFlight <- n }
	r, stop := run(t, o, nil, nil)
	waitReady(t, r)
	s.Pause()
	errs := make(chan error)
	ctx := backplanetest.Context(t)
	publish := func() {
		_, err := r.Publish(ctx, nil, "x")
		errs <- err
	}
	go publish()
	if n := <-inFlight; n != 1 {
		t.Fatal(n)
	}
	for range 9 {
		go publish()
	}
	go func() { errs <- r.Subscribe(ctx, "x") }()
	eventually(t, "queued", func() bool { return len(r.lanes[0].queue) == 1 && r.State().Subscriptions == 1 }, func() any { return nil })
	stop()
	s.Resume()
	maybe := 0
	for range 11 {
		err := <-errs
		if e := (*Error)(nil); !errors.As(err, &e) {
			t.Errorf("error %v", err)
		} else if e.MaybeSent() {
			maybe++
		}
	}
	if maybe != 1 {
		t.Errorf("%d may have been sent, want 1", maybe)
	}
	_, err := r.Publish(ctx, nil, "x")
	checkUnavailable(t, err)
	checkUnavailable(t, r.Subscribe(ctx, "x"))
	if err := r.Run(ctx); err == nil {
		t.Error("Run ran twice")
	}
	if r.Ready() == nil {
		t.Error("ready after the end")
	}
}

func TestRedisOptions(t *testing.T) {
	const url = "redis://127.0.0.1"
	for want, o := range map[string]RedisOptions{
		"URL is empty":                        {},
		"use rediss://":                       {URL: url, TLS: &tls.Config{}},
		"Lanes is negative":                   {URL: url, Lanes: -1},
		"Lanes is 65; at most 64":             {URL: url, Lanes: 65},
		"SubscribeConnections is negative":    {URL: url, SubscribeConnections: -1},
		"SubscribeConnections is 65":          {URL: url, SubscribeConnections: 65},
		"Sharded is for Redis Cluster":        {URL: url, Sharded: true},
		"Prefix must not contain {":           {URL: url + "?cluster=true", Sharded: true, Prefix: "a{b}"},
		"Queue is negative":                   {URL: url, Queue: -1},
		"ReplyTimeout is negative":            {URL: url, ReplyTimeout: -1},
		"RetryMax (1s) is less than RetryMin": {URL: url, RetryMin: time.Minute, RetryMax: time.Second},
	} {
		if _, err := NewRedis(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{50 * time.Millisecond, 2 * time.Second}
	for failures, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 6: 1600 * time.Millisecond, 7: 2 * time.Second,
		40: 2 * time.Second, 1 << 40: 2 * time.Second,
	} {
		for range 100 {
			if got := b.pause(failures); got < want/2 || got > want {
				t.Fatalf("after %d failures: %v, want %v to %v", failures, got, want/2, want)
			}
		}
	}
}

package backplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	return RedisOptions{URL: url, RetryMin: quick, RetryMax: 5 * quick, Silence: 5 * quick, ReplyTimeout: 50 * quick, Hooks: seen.hooks()}
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

// After a crash and a restart of Redis all of very many channels are back, and the gap has been reported.
func TestRedisRestart(t *testing.T) {
	const channels = 20_000
	s := redistest.Start(t)
	var seen observer
	var log syncBuffer
	rec := backplanetest.NewRecorder()
	o := quickly("unix://"+s.Socket(), &seen)
	o.Logger = log.logger()
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	names := make([]string, channels)
	for i := range names {
		names[i] = fmt.Sprint("channel ", i)
	}
	if err := r.Subscribe(ctx, names...); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	eventually(t, "down", func() bool { return r.Ready() != nil }, func() any { return r.State() })
	checkUnavailable(t, r.Subscribe(ctx, "new while down", "given up"))
	r.Unsubscribe("given up", names[0])
	eventually(t, "failing", func() bool {
		_, err := r.Publish(ctx, nil, "x")
		return errors.Is(err, ErrUnavailable)
	}, func() any { return nil })
	s.Restart()
	seen.waitGap(t, 1)
	waitReady(t, r)
	got := s.Do(t, "PUBSUB", "CHANNELS").([]any)
	if len(got) != channels || slices.Contains(got, any(names[0])) || !slices.Contains(got, any("new while down")) {
		t.Errorf("%d channels after the restart, want %d", len(got), channels)
	}
	if n, err := r.Publish(ctx, []byte("back"), names[channels-1], "new while down"); n != 2 || err != nil {
		t.Error(n, err)
	}
	rec.WaitFor(t, "new while down", "back")
	st := r.State()
	if !st.Up || !st.EverUp || st.Subscriptions != channels {
		t.Errorf("state %+v", st)
	}
	if seen.gaps.Load() != 1 || seen.downs.Load() != 1 || seen.ups.Load() != 2 || seen.lastGap.Load() <= 0 {
		t.Errorf("%d gaps (%v), %d times down, %d times up", seen.gaps.Load(), time.Duration(seen.lastGap.Load()), seen.downs.Load(), seen.ups.Load())
	}
	for line, n := range map[string]int{"lost Redis": 1, "Redis is back": 1, "was interrupted": 1, "connected to Redis": 1} {
		if got := strings.Count(log.String(), line); got != n && (line != "lost Redis" || got > 3) { // once for each reason
			t.Errorf("%q is logged %d times, want %d:\n%s", line, got, n, log.String())
		}
	}
}

// A subscription link that Redis closes is noticed and replaced, also when nothing else tells: nobody publishes or subscribes.
func TestRedisSubscriberKilled(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	rec := backplanetest.NewRecorder()
	r := start(t, quickly(s.URL(), &seen), rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	for round := range int32(3) {
		s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
		seen.waitGap(t, round+1)
		if n, err := r.Publish(ctx, fmt.Append(nil, round), "x"); n != 1 || err != nil {
			t.Error(n, err)
		}
		rec.WaitFor(t, "x", fmt.Sprint(round))
	}
}

// A link that breaks while others subscribe must not be mended behind our back: in go-redis a Subscribe reconnects by itself,
// and the reader would never hear of the gap.
func TestRedisKilledWhileSubscribing(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	r := start(t, quickly(s.URL(), &seen), nil, nil)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "standing"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = r.Subscribe(ctx, fmt.Sprint(i%50))
				r.Unsubscribe(fmt.Sprint((i + 25) % 50))
			}
		}
	})
	const rounds = 10
	for round := range int32(rounds) {
		s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
		seen.waitGap(t, round+1)
	}
	close(stop)
	busy.Wait()
	if got := seen.gaps.Load(); got != rounds {
		t.Errorf("%d gaps reported, want %d", got, rounds)
	}
	waitReady(t, r)
	if n, err := r.Publish(ctx, nil, "standing"); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// A confirmation that nobody asked for is the other sign of a reconnect, and of a stream that is not what we think it is.
func TestRedisUnexpectedConfirmation(t *testing.T) {
	for name, wire := range map[string]string{
		"subscribed again": "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
		"unsubscribed":     "*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			p := redistest.NewProxy(t, s.Addr())
			var seen observer
			o := quickly(p.URL(), &seen)
			o.Silence = time.Hour // quiet
			r := start(t, o, nil, nil)
			if err := r.Subscribe(backplanetest.Context(t), "x"); err != nil {
				t.Fatal(err)
			}
			p.Inject(wire)
			seen.waitGap(t, 1)
			waitReady(t, r)
		})
	}
}

// A server that holds its connections but says nothing (a stopped process, a pulled cable) is noticed by the pings alone.
func TestRedisSilence(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(s.URL(), &seen)
	o.ConnectTimeout = 20 * quick
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	began := time.Now()
	eventually(t, "noticed", func() bool { return r.Ready() != nil }, func() any { return r.State() })
	if err := r.Ready(); !strings.Contains(err.Error(), "sign of life") && !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("the reason given is %v", err)
	}
	s.Resume()
	seen.waitGap(t, 1)
	if gap := time.Duration(seen.lastGap.Load()); gap > time.Since(began)+o.Silence || gap < 3*o.Silence {
		t.Errorf("a gap of %v is reported, in a test of %v", gap, time.Since(began))
	}
	waitReady(t, r)
	if n, err := r.Publish(ctx, []byte("p"), "x"); n != 1 || err != nil {
		t.Error(n, err)
	}
	rec.WaitFor(t, "x", "p")
}

// A link that is merely quiet is none to give up: pings keep it, and no gap is reported.
func TestRedisQuiet(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	r := start(t, quickly(s.URL(), &seen), nil, nil)
	if err := r.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	pings := func() bool {
		text := fmt.Sprint(s.Do(t, "INFO", "commandstats"))
		_, stat, _ := strings.Cut(text, "cmdstat_ping:calls=")
		var n int
		_, _ = fmt.Sscanf(stat, "%d", &n)
		return n > 5+3*silentRounds // the handshakes have one each
	}
	eventually(t, "pinged", pings, func() any { return nil })
	if seen.gaps.Load() > 0 || seen.downs.Load() > 0 {
		t.Error("a quiet link was given up")
	}
}

// A message that arrives in two halves, with more than Silence between them, is one message: a read timeout inside it must
// not make the second half the beginning of the next one.
func TestRedisSlowMessage(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(p.URL(), &seen)
	o.Silence = 20 * quick
	r := start(t, o, rec.Deliver, rec.Flush)
	if err := r.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	p.Inject("*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$10\r\nfirst")
	sleep(t.Context(), o.Silence*2) // the pongs that come meanwhile belong to the payload, as far as anyone can tell
	got := rec.Messages()
	if len(got) > 0 && got[0].Payload[:5] != "first" {
		t.Errorf("messages %q", got)
	}
	eventually(t, "delivered", func() bool { m := rec.Messages(); return len(m) > 0 && strings.HasPrefix(m[0].Payload, "first") },
		func() any { return rec.Messages() })
}

// The reply to a PUBLISH is lost: the message was delivered once, the caller hears "may have been sent", and nobody sends
// it again.
func TestRedisLostReply(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	rec := backplanetest.NewRecorder()
	watch := start(t, RedisOptions{URL: s.URL()}, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := watch.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	var seen observer
	o := quickly(p.URL(), &seen)
	o.Lanes = 1
	r := start(t, o, nil, nil)
	for i := range 5 {
		lost := fmt.Sprint("lost ", i)
		cut := p.CutAfter(lost)
		_, err := r.Publish(ctx, []byte(lost), "x")
		checkKind(t, err, ErrMaybeSent, true)
		<-cut
		waitReady(t, r)
		if _, err := r.Publish(ctx, fmt.Append(nil, "end ", i), "x"); err != nil {
			t.Fatal(err)
		}
		rec.WaitFor(t, "x", fmt.Sprint("end ", i))
	}
	got := rec.On("x")
	if len(got) != 10 {
		t.Errorf("%q; want each once", got)
	}
}

// Replies that came before the connection broke count: those messages were sent.
func TestRedisPartialPipeline(t *testing.T) {
	d := &dialer{}
	p := newCall(opPublish, nil, []string{"a", "b", "c"})
	cmds := []*command{newCommand(&p.parts[0], ""), newCommand(&p.parts[1], ""), newCommand(&p.parts[2], "")}
	conn := &laneConn{dead: make(chan struct{}), cause: errNoReply}
	close(conn.dead)
	conn.wrote.Store(true)
	cmds[0].SetErr(nil)
	cmds[1].SetErr(replyError("NOPERM no"))
	for _, c := range cmds {
		c.SetErr(context.DeadlineExceeded) // the fate of the whole pipeline
	}
	l := &lane{dialer: d}
	batch := []*part{&p.parts[0], &p.parts[1], &p.parts[2]}
	for _, part := range batch {
		part.take()
	}
	if err := l.settle(conn, batch, cmds); !errors.Is(err, errNoReply) {
		t.Error(err)
	}
	type outcome struct{ OK, Maybe bool }
	var got []outcome
	for _, part := range batch {
		got = append(got, outcome{part.err == nil, part.maybe})
	}
	if diff := cmp.Diff([]outcome{{true, false}, {false, false}, {false, true}}, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range cmds {
		if !c.NoRetry() {
			t.Error("go-redis may repeat it")
		}
	}
}

type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

var _ redis.Error = replyError("")

// A caller's context ends its wait whatever Redis does. What was sent may have been sent; what still waited is never sent.
func TestRedisPublishGivesUp(t *testing.T) {
	s := redistest.Start(t)
	rec := backplanetest.NewRecorder()
	o := RedisOptions{URL: s.URL(), Lanes: 1, Queue: 1, ReplyTimeout: time.Minute, Silence: time.Minute}
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	brief := func(payload string) error {
		ctx, cancel := context.WithTimeout(ctx, 5*quick)
		defer cancel()
		began := time.Now()
		_, err := r.Publish(ctx, []byte(payload), "x")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", payload, took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", payload, err)
		}
		return err
	}
	checkKind(t, brief("in flight"), ErrMaybeSent, true)
	checkUnavailable(t, brief("queued"))
	checkUnavailable(t, brief("queue full"))
	s.Resume()
	if _, err := r.Publish(ctx, []byte("end"), "x"); err != nil {
		t.Fatal(err)
	}
	rec.WaitFor(t, "x", "end")
	if diff := cmp.Diff([]string{"in flight", "end"}, rec.On("x")); diff != "" {
		t.Error(diff)
	}
}

// While Redis is away every send fails at once, and the attempts to reach it are few, however many send.
func TestRedisFailFast(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr())
	var seen observer
	o := quickly(p.URL(), &seen)
	o.Lanes = 8
	r := start(t, o, nil, nil)
	s.Stop()
	eventually(t, "down", func() bool {
		for _, l := range r.lanes {
			if l.down.Load() == nil {
				return false
			}
		}
		return r.Ready() != nil
	}, func() any { return r.State() })
	before, began := p.Dials(), time.Now()
	for i := range 20_000 {
		if _, err := r.Publish(context.Background(), nil, fmt.Sprint(i)); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	// One prober for the lanes and one for the subscriptions, each at most once per RetryMin/2.
	if dials, most := p.Dials()-before, 4+int(2*took/(o.RetryMin/2)); dials > most {
		t.Errorf("%d attempts within %v, want at most %d", dials, took, most)
	}
	s.Restart()
	waitReady(t, r)
	if _, err := r.Publish(t.Context(), nil, "x"); err != nil {
		t.Error(err)
	}
}

// The loss of an idle publishing connection is known before the next publish, which therefore just works.
func TestRedisIdlePublisherKilled(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	r := start(t, quickly(s.URL(), &seen), nil, nil)
	s.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	eventually(t, "back", func() bool { return seen.ups.Load() == 2 }, func() any { return r.State() })
	for i := range 100 {
		if _, err := r.Publish(t.Context(), nil, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
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

package backplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
)

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
		"subscribed again": ">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
		"unsubscribed":     ">3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n",
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

// A link that is merely quiet is none to give up: pings keep it, and no gap is reported. Over TLS, too, a read deadline that
// strikes costs nothing.
func TestRedisQuiet(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		s := redistest.Start(t)
		quiet(t, s, RedisOptions{URL: s.URL()})
	})
	t.Run("TLS", func(t *testing.T) {
		s, pool := redistest.StartTLS(t)
		quiet(t, s, RedisOptions{URL: "rediss://" + s.Addr(), TLS: &tls.Config{RootCAs: pool}})
	})
}

func quiet(t *testing.T, s *redistest.Server, o RedisOptions) {
	var seen observer
	rec := backplanetest.NewRecorder()
	o.Silence, o.Hooks = 10*quick, seen.hooks()
	r := start(t, o, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	pings := func() (n int) {
		_, stat, _ := strings.Cut(fmt.Sprint(s.Do(t, "INFO", "commandstats")), "cmdstat_ping:calls=")
		_, _ = fmt.Sscanf(stat, "%d", &n)
		return n
	}
	before := pings()
	eventually(t, "pinged", func() bool { return pings() > before+2*silentRounds }, func() any { return pings() })
	if _, err := r.Publish(ctx, []byte("p"), "x"); err != nil {
		t.Error(err)
	}
	rec.WaitFor(t, "x", "p")
	if seen.gaps.Load() > 0 || seen.downs.Load() > 0 {
		t.Error("a quiet link was given up")
	}
}

// A message that arrives in two halves, with more than Silence between them, is one message: a read timeout inside it must
// not make the second half the beginning of the next one.
func TestRedisSlowMessage(t *testing.T) {
	for protocol, kind := range map[int]string{2: "*", 3: ">"} {
		t.Run(fmt.Sprint("RESP ", protocol), func(t *testing.T) {
			s := redistest.Start(t)
			p := redistest.NewProxy(t, s.Addr())
			slowMessage(t, p, fmt.Sprint(p.URL(), "?protocol=", protocol), kind)
		})
	}
}

func slowMessage(t *testing.T, p *redistest.Proxy, url, kind string) {
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(url, &seen)
	o.Silence = 20 * quick
	r := start(t, o, rec.Deliver, rec.Flush)
	if err := r.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	p.Inject(kind + "3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$10\r\nfirst")
	sleep(t.Context(), o.Silence*2) // the pongs that come meanwhile belong to the payload, as far as anyone can tell
	got := rec.Messages()
	if len(got) > 0 && got[0].Payload[:5] != "first" {
		t.Errorf("messages %q", got)
	}
	eventually(t, "delivered", func() bool { m := rec.Messages(); return len(m) > 0 && strings.HasPrefix(m[0].Payload, "first") },
		func() any { return rec.Messages() })
}

// deadConn is silent, and counts who listens.
type deadConn struct {
	net.Conn
	reads int
}

func (c *deadConn) SetReadDeadline(time.Time) error { return nil }

func (c *deadConn) Read([]byte) (int, error) {
	c.reads++
	return 0, os.ErrDeadlineExceeded
}

// A link that was given up stays so, though go-redis, which looks ahead with RESP 3, reads again.
func TestFeedFailsForGood(t *testing.T) {
	conn := &deadConn{}
	f := &feed{Conn: conn, idle: func() {}, pings: make(chan struct{}, 1), live: true}
	for range 3 {
		if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errSilent) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if conn.reads != silentRounds+1 {
		t.Errorf("%d rounds of silence, want %d", conn.reads, silentRounds+1)
	}
}

// A link dials once. go-redis would dial again, subscribe to everything, and tell nobody that messages were missed.
func TestDialerDialsOnce(t *testing.T) {
	s := redistest.Start(t)
	o := RedisOptions{URL: s.URL()}
	parsed, err := o.check()
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(parsed, o)
	f, err := d.feed(t.Context(), anySlot, time.Second, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.pubsub.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	_ = f.Conn.Close()
	for {
		if _, err = f.pubsub.Receive(t.Context()); err != nil {
			break
		}
	}
	if err := f.pubsub.Subscribe(t.Context(), "y"); !errors.Is(err, errOneLink) {
		t.Errorf("Subscribe on a broken link: %v", err)
	}
	if _, err = f.pubsub.Receive(t.Context()); !errors.Is(err, errOneLink) {
		t.Errorf("Receive on a broken link: %v", err)
	}
}

// A loss that happens while the reader is busy delivering, and that the writer runs into first, is noticed all the same.
func TestRedisKilledWhileDelivering(t *testing.T) {
	s := redistest.Start(t)
	var seen observer
	entered, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := start(t, quickly(s.URL(), &seen), func(string, []byte) {
		once.Do(func() {
			close(entered)
			<-goOn
		})
	}, nil)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(ctx, nil, "x"); err != nil {
		t.Fatal(err)
	}
	<-entered
	s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	for i := range 20 { // the first write to a closed connection succeeds
		ctx, cancel := context.WithTimeout(ctx, quick)
		if err := r.Subscribe(ctx, fmt.Sprint(i)); err == nil {
			t.Error("a Subscribe was confirmed that nobody read the confirmation of")
		}
		cancel()
	}
	close(goOn)
	seen.waitGap(t, 1)
	waitReady(t, r)
	if n, err := r.Publish(ctx, nil, "x", "19"); n != 2 || err != nil {
		t.Error(n, err)
	}
}

package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

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
	p.done = make(chan struct{})
	cmds := []*command{newCommand(&p.parts[0], "", false), newCommand(&p.parts[1], "", false), newCommand(&p.parts[2], "", false)}
	conn := &laneConn{dead: make(chan struct{}), cause: errNoReply}
	close(conn.dead)
	conn.wrote.Store(true)
	cmds[0].SetErr(nil)
	cmds[1].SetErr(replyError("NOPERM no"))
	for _, c := range cmds {
		c.SetErr(context.DeadlineExceeded) // the fate of the whole pipeline
	}
	l := &lane{dialer: d, health: newHealth(RedisOptions{Logger: slog.New(slog.DiscardHandler)}, "", 1)}
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

func (replyError) RedisError() {}

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

// What waits behind a batch that is lost was not sent, and its callers hear so at once, while Redis is still away.
func TestRedisQueuedWhenLost(t *testing.T) {
	s := redistest.Start(t)
	inFlight := make(chan int, 1)
	o := RedisOptions{URL: s.URL(), Lanes: 1, ReplyTimeout: time.Minute, Silence: time.Minute}
	o.Hooks.Pipelined = func(n int) { inFlight <- n }
	r := start(t, o, nil, nil)
	s.Pause()
	ctx := backplanetest.Context(t)
	publish := func(errs chan<- error) {
		_, err := r.Publish(ctx, nil, "x")
		errs <- err
	}
	sent, queued := make(chan error, 1), make(chan error, 10)
	go publish(sent)
	<-inFlight
	for range 10 {
		go publish(queued)
	}
	eventually(t, "queued", func() bool { return len(r.lanes[0].queue) == 10 }, func() any { return len(r.lanes[0].queue) })
	s.Stop()
	checkKind(t, <-sent, ErrMaybeSent, true)
	for range 10 {
		err := <-queued
		checkUnavailable(t, err)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("it waited to the end")
		}
	}
}

// A server that takes a message and never answers costs the sender no more than ReplyTimeout.
func TestRedisNoReply(t *testing.T) {
	s := redistest.Start(t)
	o := RedisOptions{URL: s.URL(), Silence: time.Minute, ReplyTimeout: 20 * quick}
	r := start(t, o, nil, nil)
	s.Pause()
	began := time.Now()
	_, err := r.Publish(backplanetest.Context(t), nil, "x")
	checkKind(t, err, ErrMaybeSent, true)
	if took := time.Since(began); took < o.ReplyTimeout || !errors.Is(err, errNoReply) {
		t.Errorf("after %v: %v", took, err)
	}
	s.Resume()
	waitReady(t, r)
	if _, err := r.Publish(backplanetest.Context(t), nil, "x"); err != nil {
		t.Error(err)
	}
}

// A reply that has come counts, though its time has passed before anybody had a turn to read it; one that has not come ends the
// connection, and nothing does while none is waited for.
func TestLaneConnLooksAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c := &laneConn{Conn: raw, chunks: make(chan []byte), taken: make(chan struct{}, 1), dead: make(chan struct{})}
	if _, err := server.Write([]byte(":1\r\n")); err != nil {
		t.Fatal(err)
	}
	c.expect(1)
	sleep(t.Context(), quick)
	if n, err := raw.Read(make([]byte, 9)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v: this test is about a deadline that hides what has come", n, err)
	}
	c.reader.Go(c.read) // it has its turn at last
	defer c.reader.Wait()
	defer c.end(net.ErrClosed)
	buf := make([]byte, 9)
	if n, err := c.Read(buf); string(buf[:n]) != ":1\r\n" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	c.expect(0)
	sleep(t.Context(), 2*lookAgain) // what is tested is that nothing happens
	if _, err := server.Write([]byte(":2\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(buf); string(buf[:n]) != ":2\r\n" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	c.expect(quick)
	if n, err := c.Read(buf); n != 0 || !errors.Is(err, errNoReply) {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// Replies that trickle do not keep a connection alive: what has not come when it was looked once more is late.
func TestLaneConnTrickle(t *testing.T) {
	t.Parallel()
	raw, server := net.Pipe()
	defer server.Close()
	c := &laneConn{Conn: raw, chunks: make(chan []byte), taken: make(chan struct{}, 1), dead: make(chan struct{})}
	const within = 5 * quick
	c.expect(within)
	began := time.Now()
	c.reader.Go(c.read)
	defer c.reader.Wait()
	var trickle sync.WaitGroup
	defer trickle.Wait()
	defer c.end(net.ErrClosed)
	trickle.Go(func() {
		for range 300 { // for 30 times as long as it is waited for a byte
			if _, err := server.Write([]byte("+")); err != nil {
				return
			}
			sleep(t.Context(), lookAgain/10)
		}
	})
	for buf := make([]byte, 9); ; {
		if _, err := c.Read(buf); err != nil {
			if !errors.Is(err, errNoReply) {
				t.Error(err)
			}
			break
		}
	}
	if took := time.Since(began); took > within+20*lookAgain { // a trickle without an end takes 30
		t.Errorf("it waited for %v", took)
	}
}

package backplane

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxKept is the largest buffer for a payload that is kept for the next one.
const maxKept = 1 << 20

// subscriber owns the subscription link. One goroutine makes a link, reads it to its end, and only then makes the next one,
// so that no message of an old link can come after one of a new link; a second one writes the commands.
type subscriber struct {
	number  int // of its link in health
	dialer  *dialer
	health  *health
	gaps    *gaps // shared with the other links
	table   *table
	total   func() int // channels wanted on all links
	log     *slog.Logger
	hooks   Hooks
	prefix  string
	slot    int  // whose server it subscribes at
	sharded bool // with SSUBSCRIBE
	silence time.Duration
	backoff backoff

	deliver func(channel string, payload []byte)
	flush   func()

	// Owned by the reading goroutine.
	payload  []byte // the buffer that deliver sees
	messages int    // delivered since the last flush
	bytes    int

	mu      sync.Mutex
	ever    bool // it was whole once
	missing bool // it is not whole now
}

func newSubscriber(link int, o RedisOptions, d *dialer, h *health, g *gaps, total func() int) *subscriber {
	return &subscriber{
		number: link, dialer: d, health: h, gaps: g, table: newTable(), total: total, log: o.Logger, hooks: o.Hooks, prefix: o.Prefix,
		slot: anySlot, silence: o.Silence, backoff: backoff{o.RetryMin, o.RetryMax}, missing: true,
	}
}

func (s *subscriber) attach(deliver func(string, []byte), flush func()) {
	s.deliver, s.flush = deliver, flush
}

// want makes channels wanted. The waiter, if there is one, must be waited for.
func (s *subscriber) want(names []string) (*waiter, error) {
	w, changed, err := s.table.want(names)
	if changed {
		s.counted()
	}
	return w, err
}

// wait waits until Redis has confirmed the channels.
func (s *subscriber) wait(ctx context.Context, w *waiter, names []string) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		s.table.leave(w, names)
		return &Error{Op: opSubscribe, Channel: names[0], Err: context.Cause(ctx)}
	}
}

func (s *subscriber) unsubscribe(names []string) {
	changed, whole := s.table.forget(names)
	if whole {
		s.whole()
	}
	if changed {
		s.counted()
	}
}

func (s *subscriber) counted() {
	if s.hooks.Subscriptions != nil {
		s.hooks.Subscriptions(s.total())
	}
}

// run makes one link after the other until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	failures := 0
	for sleep(ctx, s.backoff.pause(failures)) {
		lived, err := s.link(ctx)
		if ctx.Err() != nil {
			break
		}
		err = s.dialer.explain(err)
		s.table.end(err)
		s.health.down(s.number, err)
		if failures++; lived >= s.backoff.highest {
			failures = 0 // it was a good link: the first attempt is made at once
		}
	}
	s.table.end(errStopped)
	s.health.down(s.number, errStopped)
}

// link makes a link, reads it to its end, and says how long it lived and why it ended.
func (s *subscriber) link(ctx context.Context) (lived time.Duration, err error) {
	start := time.Now()
	f, err := s.dialer.feed(ctx, s.slot, s.silence, s.idle)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, f.close)
	defer stop()
	writing, stopWriting := context.WithCancel(ctx)
	var writer sync.WaitGroup
	if s.table.begin() {
		s.whole()
	}
	writer.Go(func() { s.write(writing, f) })
	err = s.read(f)
	f.close()
	stopWriting()
	writer.Wait()
	s.idle()
	until, err := f.ended(err)
	s.broken(until)
	return time.Since(start), err
}

// write sends what the table wants changed, and the pings that the reader asks for.
func (s *subscriber) write(ctx context.Context, f *feed) {
	for {
		for cmd := s.table.next(); cmd != nil; cmd = s.table.next() {
			if err := s.send(ctx, f, cmd); err != nil {
				f.close() // the reader says why
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.table.wake:
		case <-f.pings:
			if err := f.pubsub.Ping(ctx); err != nil {
				f.close()
				return
			}
		}
	}
}

func (s *subscriber) send(ctx context.Context, f *feed, cmd *change) error {
	names := make([]string, len(cmd.channels))
	for i, c := range cmd.channels {
		names[i] = s.prefix + c.name
	}
	switch {
	case cmd.subscribe && s.sharded:
		return f.pubsub.SSubscribe(ctx, names...)
	case cmd.subscribe:
		return f.pubsub.Subscribe(ctx, names...)
	case s.sharded:
		return f.pubsub.SUnsubscribe(ctx, names...)
	}
	return f.pubsub.Unsubscribe(ctx, names...)
}

// read takes what the link brings until it ends, and says why it did.
func (s *subscriber) read(f *feed) error {
	for {
		event, err := f.pubsub.Receive(context.Background())
		reply := redis.Error(nil)
		switch {
		case errors.As(err, &reply):
			if err = s.refused(err); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		switch event := event.(type) {
		case *redis.Message:
			s.message(event)
		case *redis.Subscription:
			subscribed := event.Kind == "subscribe" || event.Kind == "ssubscribe"
			whole, err := s.table.confirm(subscribed, s.strip(event.Channel))
			if err != nil {
				if s.sharded && !subscribed {
					return errMoved // this is all that Redis says when a slot goes elsewhere
				}
				return err
			}
			if whole {
				s.whole()
			}
		}
	}
}

// refused handles an error reply. It gives the error back if it ends the link.
func (s *subscriber) refused(reply error) error {
	if misplaced(reply) {
		return reply
	}
	known, whole := s.table.refuse(s.dialer.explain(reply))
	if !known {
		return reply
	}
	if err := s.table.refusal(); err != nil {
		s.log.Warn("Redis refuses a subscription", "redis", s.dialer.name, "error", err)
	}
	if whole {
		s.whole()
	}
	return nil
}

func (s *subscriber) message(m *redis.Message) {
	s.messages++
	s.bytes += len(m.Payload)
	if s.deliver == nil {
		return
	}
	s.payload = append(s.payload[:0], m.Payload...)
	s.deliver(s.strip(m.Channel), s.payload)
	if cap(s.payload) > maxKept {
		s.payload = nil
	}
}

// idle is called when all that was read has been delivered.
func (s *subscriber) idle() {
	if s.messages == 0 {
		return
	}
	if s.flush != nil {
		s.flush()
	}
	if s.hooks.Received != nil {
		s.hooks.Received(s.messages, s.bytes)
	}
	s.messages, s.bytes = 0, 0
}

// strip takes the prefix off a channel that Redis named. Only what was asked for comes, so that it has one.
func (s *subscriber) strip(channel string) string { return channel[min(len(s.prefix), len(channel)):] }

// whole notes that every standing channel is confirmed on the present link, and reports the gap if there was one.
func (s *subscriber) whole() {
	s.mu.Lock()
	mended := s.missing && s.ever
	s.missing, s.ever = false, true
	s.mu.Unlock()
	if mended {
		if gap, over := s.gaps.end(); over {
			s.log.Warn("the subscription link to Redis was interrupted; messages of that time may be missing",
				"redis", s.dialer.name, "gap", gap.Round(time.Millisecond), "channels", s.total())
			if s.hooks.Gap != nil {
				s.hooks.Gap(gap)
			}
		}
	}
	s.health.up(s.number)
}

// broken notes that the link has ended, and brought everything until then if it was whole.
func (s *subscriber) broken(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.missing {
		s.missing = true
		s.gaps.begin(until)
	}
}

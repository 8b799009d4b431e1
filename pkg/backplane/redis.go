package backplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
	"github.com/redis/go-redis/v9"
)

// Defaults of RedisOptions.
const (
	DefaultLanes          = 4
	MaxLanes              = 64
	DefaultQueue          = 1024
	DefaultConnectTimeout = 5 * time.Second
	DefaultReplyTimeout   = 3 * time.Second
	DefaultSilence        = time.Second
	DefaultRetryMin       = 50 * time.Millisecond
	DefaultRetryMax       = 2 * time.Second
)

// RedisOptions says where Redis is and how to use it. Only URL is required.
type RedisOptions struct {
	// URL of one server: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path for a socket.
	URL string
	// TLS replaces the TLS settings that a rediss:// URL implies (system roots, the URL's host as server name). It is an
	// error with a URL that has no TLS.
	TLS *tls.Config
	// Prefix is put verbatim in front of every channel. Empty means none.
	Prefix string
	// Lanes is how many connections publish; a channel always takes the same one. Zero means DefaultLanes.
	Lanes int
	// Queue is how many messages may wait in each lane; the next caller waits for room. Zero means DefaultQueue.
	Queue int
	// ConnectTimeout bounds one attempt to connect, with TLS and authentication. Zero means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// ReplyTimeout is how long a lane waits for the replies to what it sent before it gives the connection up; those
	// messages may have been sent. It bounds writing as well. Zero means DefaultReplyTimeout.
	ReplyTimeout time.Duration
	// Silence is how long the subscription link may be silent before it is pinged; after three more times of silence it
	// is given up and opened again. Zero means DefaultSilence.
	Silence time.Duration
	// RetryMin and RetryMax bound the pause between attempts to connect, which doubles each time and is varied at random
	// by a half. The first attempt after a loss is made at once. Zero means DefaultRetryMin and DefaultRetryMax.
	RetryMin, RetryMax time.Duration
	// Logger hears of losses, gaps and recoveries, once each. Nil discards.
	Logger *slog.Logger
	// Hooks tell of the same and more, for metrics.
	Hooks Hooks
}

// check fills in the defaults and gives an error that names the field that cannot be.
func (o *RedisOptions) check() (*redis.Options, error) {
	target, err := redisurl.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	if target.Kind != redisurl.Standalone {
		return nil, errors.New("the backplane supports the URL of one server only, redis://host:6379")
	}
	if o.TLS != nil {
		if target, err = target.WithTLS(o.TLS); err != nil {
			return nil, err
		}
	}
	opt := &target.Options
	if o.Lanes > MaxLanes {
		return nil, fmt.Errorf("option Lanes is %d; at most %d", o.Lanes, MaxLanes)
	}
	for _, f := range []struct {
		name  string
		field *int
		value int
	}{{"Lanes", &o.Lanes, DefaultLanes}, {"Queue", &o.Queue, DefaultQueue}} {
		if *f.field < 0 {
			return nil, fmt.Errorf("%s is negative", f.name)
		} else if *f.field == 0 {
			*f.field = f.value
		}
	}
	for _, f := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"ConnectTimeout", &o.ConnectTimeout, DefaultConnectTimeout},
		{"ReplyTimeout", &o.ReplyTimeout, DefaultReplyTimeout},
		{"Silence", &o.Silence, DefaultSilence},
		{"RetryMin", &o.RetryMin, DefaultRetryMin},
		{"RetryMax", &o.RetryMax, max(DefaultRetryMax, o.RetryMin)},
	} {
		if *f.field < 0 {
			return nil, fmt.Errorf("%s is negative", f.name)
		} else if *f.field == 0 {
			*f.field = f.value
		}
	}
	if o.RetryMax < o.RetryMin {
		return nil, fmt.Errorf("RetryMax (%v) is less than RetryMin (%v)", o.RetryMax, o.RetryMin)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return opt, nil
}

// Redis is a backplane over Redis Pub/Sub. All methods may be called concurrently.
//
// Nothing happens before Run: until Redis has been reached, Publish and Subscribe fail at once.
type Redis struct {
	opt    RedisOptions
	health *health
	sub    *subscriber
	lanes  []*lane
	prober *prober

	ran     atomic.Bool
	stopped chan struct{} // closed when Run has returned
}

// NewRedis checks the options and makes a backplane. It starts nothing and connects to nothing: Run does.
// Errors name the option at fault, and never repeat a password.
func NewRedis(o RedisOptions) (*Redis, error) {
	dial, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("backplane: %w", err)
	}
	return newRedis(o, newDialer(dial, o)), nil
}

func newRedis(o RedisOptions, d *dialer) *Redis {
	r := &Redis{opt: o, stopped: make(chan struct{})}
	r.health = newHealth(o, d.name, 1+o.Lanes)
	r.prober = newProber(o)
	r.sub = newSubscriber(o, d, r.health)
	for i := range o.Lanes {
		r.lanes = append(r.lanes, newLane(1+i, o, d, r.prober, r.health))
	}
	return r
}

// Attach says where to hand what comes in. It is called at most once, before Run; without it, messages are dropped.
//
// deliver gets one message. It is called by one goroutine at a time, in the order in which Redis sent them; it must never
// block and must not keep payload, which is reused. After Unsubscribe, messages of the channel may still come for a moment.
// flush is called by the same goroutine after the last message that one read brought.
func (r *Redis) Attach(deliver func(channel string, payload []byte), flush func()) {
	r.sub.attach(deliver, flush)
}

// Run connects and keeps connected until ctx ends; then it closes all connections, waits for all that it started, and
// returns nil. What is still waiting then fails with ErrUnavailable. It can run once; a second call is an error.
func (r *Redis) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return errors.New("backplane: Run was called twice")
	}
	defer close(r.stopped)
	var parts sync.WaitGroup
	parts.Go(func() { r.sub.run(ctx) })
	for _, l := range r.lanes {
		parts.Go(func() { l.run(ctx) })
	}
	parts.Wait()
	return nil
}

// Subscribe makes channels wanted, and returns when Redis has confirmed all of them. When it fails (ErrUnavailable when the
// link is down, Redis refuses, or ctx ends) they stay wanted and are subscribed as soon as the link is back; Unsubscribe
// gives up. A channel is wanted or not, however often it was subscribed.
func (r *Redis) Subscribe(ctx context.Context, channels ...string) error {
	return r.sub.subscribe(ctx, channels)
}

// Unsubscribe makes channels unwanted. It does not wait. A Subscribe that still waits for one of them fails.
func (r *Redis) Unsubscribe(channels ...string) { r.sub.unsubscribe(channels) }

// Ready is nil while the backplane is whole: every link to Redis works and all standing subscriptions are confirmed.
func (r *Redis) Ready() error { return r.State().Err }

// State tells whether the backplane is whole, since when, and if not, why.
func (r *Redis) State() State {
	s := r.health.state()
	s.Subscriptions = r.sub.table.count()
	if s.Err == nil {
		s.Err = r.sub.table.refusal()
	}
	return s
}

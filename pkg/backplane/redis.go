package backplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
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
	// URL of Redis: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path for a socket; several addresses,
	// h1:6379,h2:6379, for Redis Cluster; redis+sentinel://h1:26379,h2:26379/name for Sentinel.
	URL string
	// TLS replaces the TLS settings that a rediss:// URL implies (system roots, the URL's host as server name). It is an
	// error with a URL that has no TLS.
	TLS *tls.Config
	// Prefix is put verbatim in front of every channel. Empty means none.
	Prefix string
	// Lanes is how many connections publish; a channel always takes the same one. Zero means DefaultLanes. On a cluster each
	// belongs to one of its servers, and all nodes must have the same number, or receivers may see what different nodes
	// send to one channel in different orders.
	Lanes int
	// SubscribeConnections is how many connections bring messages, when one core cannot read them all; a channel always takes
	// the same one. Zero means 1; at most MaxLanes.
	SubscribeConnections int
	// Sharded uses the sharded Pub/Sub of a cluster (Redis 7.0 and newer), so that its servers share the load; ordinary
	// messages go through all of them. It must be the same on all nodes, and those of ASP.NET Core cannot take part.
	// Lanes and SubscribeConnections mean nothing then: there are 16 of each.
	Sharded bool
	// Queue is how many messages may wait in each lane; the next caller waits for room. Zero means DefaultQueue.
	Queue int
	// ConnectTimeout bounds one attempt to connect, with TLS and authentication. Zero means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// ReplyTimeout is how long a lane waits for the replies to what it sent before it looks once more and gives the connection up;
	// those messages may have been sent. It bounds writing as well. Zero means DefaultReplyTimeout.
	ReplyTimeout time.Duration
	// Silence is how long the subscription link may be silent before it is pinged; after three more times of silence it
	// is given up and opened again. A lane that had nothing to send is pinged as well, once in that time, and given up when
	// ReplyTimeout passes without an answer. Zero means DefaultSilence.
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
func (o *RedisOptions) check() (*redisurl.Target, error) {
	target, err := redisurl.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Sharded {
		if target.Kind != redisurl.Cluster {
			return nil, errors.New("Sharded is for Redis Cluster, whose URL has several addresses, or ?cluster=true")
		}
		if strings.Contains(o.Prefix, "{") {
			return nil, errors.New("with Sharded, Prefix must not contain {: Redis would put all channels on one server")
		}
		o.Lanes, o.SubscribeConnections = shards, shards
	}
	if o.TLS != nil {
		if target, err = target.WithTLS(o.TLS); err != nil {
			return nil, err
		}
	}
	if o.Lanes > MaxLanes {
		return nil, fmt.Errorf("option Lanes is %d; at most %d", o.Lanes, MaxLanes)
	}
	if o.SubscribeConnections > MaxLanes {
		return nil, fmt.Errorf("option SubscribeConnections is %d; at most %d", o.SubscribeConnections, MaxLanes)
	}
	for _, f := range []struct {
		name  string
		field *int
		value int
	}{{"Lanes", &o.Lanes, DefaultLanes}, {"Queue", &o.Queue, DefaultQueue}, {"SubscribeConnections", &o.SubscribeConnections, 1}} {
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
	return target, nil
}

// Redis is a backplane over Redis Pub/Sub. All methods may be called concurrently.
//
// Nothing happens before Run: until Redis has been reached, Publish and Subscribe fail at once.
type Redis struct {
	opt       RedisOptions
	dialer    *dialer
	health    *health
	subs      []*subscriber
	lanes     []*lane
	scattered bool // the servers of a cluster have subscribers each, and nobody counts them all

	ran     atomic.Bool
	stopped chan struct{} // closed when Run has returned
}

// NewRedis checks the options and makes a backplane. It starts nothing and connects to nothing: Run does.
// Errors name the option at fault, and never repeat a password.
func NewRedis(o RedisOptions) (*Redis, error) {
	target, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("backplane: %w", err)
	}
	return newRedis(o, target), nil
}

func newRedis(o RedisOptions, target *redisurl.Target) *Redis {
	clustered := target.Kind == redisurl.Cluster
	d := newDialer(target, o)
	r := &Redis{opt: o, dialer: d, stopped: make(chan struct{}), scattered: clustered && !o.Sharded}
	r.health = newHealth(o, d.name, o.SubscribeConnections+o.Lanes)
	missed := new(gaps)
	for i := range o.SubscribeConnections {
		s := newSubscriber(i, o, d, r.health, missed, r.subscriptions)
		if o.Sharded {
			s.sharded, s.slot, s.prefix = true, shardTable[i].slot, o.Prefix+shardTable[i].tag
		}
		r.subs = append(r.subs, s)
	}
	one := newProber(o)
	for i := range o.Lanes {
		p := one
		if clustered {
			p = newProber(o) // the servers come and go one by one
		}
		l := newLane(o.SubscribeConnections+i, o, d, p, r.health)
		switch {
		case o.Sharded:
			l.sharded, l.slot, l.prefix = true, shardTable[i].slot, o.Prefix+shardTable[i].tag
		case clustered:
			l.slot = (2*i + 1) * slots / (2 * o.Lanes) // evenly over all servers
		}
		r.lanes = append(r.lanes, l)
	}
	return r
}

// subscriptions is how many channels are wanted.
func (r *Redis) subscriptions() (n int) {
	for _, s := range r.subs {
		n += s.table.count()
	}
	return n
}

// by gives each subscription link its share of the channels.
func (r *Redis) by(channels []string, do func(s *subscriber, channels []string)) {
	if len(channels) == 0 {
		return
	}
	if len(r.subs) == 1 {
		do(r.subs[0], channels)
		return
	}
	shares := make([][]string, len(r.subs))
	for _, channel := range channels {
		i := share(channel, len(r.subs))
		shares[i] = append(shares[i], channel)
	}
	for i, channels := range shares {
		if len(channels) > 0 {
			do(r.subs[i], channels)
		}
	}
}

// Attach says where to hand what comes in. It is called at most once, before Run; without it, messages are dropped.
//
// deliver gets one message. It is called in the order in which Redis sent them, by one goroutine at a time for each connection
// that subscribes, and so for each channel; it must never block and must not keep payload, which is reused. After Unsubscribe,
// messages of the channel may still come for a moment. flush is called by the same goroutine after the last message that one
// read brought.
func (r *Redis) Attach(deliver func(channel string, payload []byte), flush func()) {
	for _, s := range r.subs {
		s.attach(deliver, flush)
	}
}

// Run connects and keeps connected until ctx ends; then it closes all connections, waits for all that it started, and
// returns nil. What is still waiting then fails with ErrUnavailable. It can run once; a second call is an error.
func (r *Redis) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return errors.New("backplane: Run was called twice")
	}
	defer func() {
		close(r.stopped)
		for _, l := range r.lanes {
			l.empty(errStopped) // what came while the lanes ended
		}
	}()
	var parts sync.WaitGroup
	parts.Go(func() { r.dialer.topology.run(ctx) })
	for _, s := range r.subs {
		parts.Go(func() { s.run(ctx) })
	}
	for _, l := range r.lanes {
		parts.Go(func() { l.run(ctx) })
	}
	parts.Wait()
	r.dialer.topology.close()
	return nil
}

// Subscribe makes channels wanted, and returns when Redis has confirmed all of them. When it fails (ErrUnavailable when the
// link is down, Redis refuses, or ctx ends) they stay wanted and are subscribed as soon as the link is back; Unsubscribe
// gives up. A channel is wanted or not, however often it was subscribed.
func (r *Redis) Subscribe(ctx context.Context, channels ...string) error {
	type waiting struct {
		*subscriber
		waiter *waiter
		names  []string
	}
	var all []waiting
	var failed error
	r.by(channels, func(s *subscriber, names []string) {
		w, err := s.want(names)
		if w != nil {
			all = append(all, waiting{s, w, names})
		}
		failed = cmp.Or(failed, err)
	})
	for _, w := range all {
		failed = cmp.Or(failed, w.wait(ctx, w.waiter, w.names))
	}
	return failed
}

// Unsubscribe makes channels unwanted. It does not wait. A Subscribe that still waits for one of them fails.
func (r *Redis) Unsubscribe(channels ...string) { r.by(channels, (*subscriber).unsubscribe) }

// Ready is nil while the backplane is whole: every link to Redis works and all standing subscriptions are confirmed.
func (r *Redis) Ready() error { return r.State().Err }

// State tells whether the backplane is whole, since when, and if not, why.
func (r *Redis) State() State {
	s := r.health.state()
	s.Subscriptions = r.subscriptions()
	for _, sub := range r.subs {
		if s.Err == nil {
			s.Err = sub.table.refusal()
		}
	}
	return s
}

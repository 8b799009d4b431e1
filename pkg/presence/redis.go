package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redisurl"
)

// The defaults of RedisOptions.
const (
	DefaultTimeout   = 2 * time.Second
	DefaultInterval  = 1500 * time.Millisecond
	DefaultLeaseLife = 5 * time.Second
	DefaultFarewell  = 2 * time.Second
)

// Lease is this node's place in the cluster, which says for how long Redis may count on what it was told. *cluster.Redis is one.
type Lease interface {
	// Lease is the incarnation of the lease that the node holds, and since when; ok is false while it holds none. An incarnation is
	// the node's id, "#" and a number that grows from lease to lease. One that was lost never comes back.
	Lease() (incarnation string, since time.Time, ok bool)
	// LeaseChanged is closed when what Lease says will have changed.
	LeaseChanged() <-chan struct{}
	// Renounce gives an incarnation up, so that the node gets another.
	Renounce(incarnation string)
	// Live says which incarnations, of any nodes, hold their lease.
	Live(ctx context.Context, incarnations ...string) ([]bool, error)
}

// RedisOptions says where Redis is and who this node is. Only URL is required.
type RedisOptions struct {
	// URL of Redis: redis://user:password@host:6379/0, rediss:// for TLS; several addresses, h1:6379,h2:6379, for Redis Cluster;
	// redis+sentinel://h1:26379,h2:26379/name for Sentinel.
	URL string
	// Prefix is put verbatim in front of every key.
	Prefix string
	// Lease is this node's. Nil means that there is no node: nothing can be added, only asked and watched.
	Lease Lease
	// Grace is how long a user stays online after its last connection has left. Zero means DefaultGrace, negative not at all. Each
	// node applies its own to the connections that leave it.
	Grace time.Duration
	// LeaseLife is how long a lease lasts without being renewed, the same on all nodes. Zero means DefaultLeaseLife.
	LeaseLife time.Duration
	// Interval is the longest time between two looks at Redis. It must be at most a third of LeaseLife. Zero means DefaultInterval.
	Interval time.Duration
	// Timeout bounds one question to Redis. Zero means DefaultTimeout.
	Timeout time.Duration
	// Farewell bounds how long Run takes to end once its context has, which is when it tells Redis that the node's connections are gone.
	// What is not said by then, the other nodes find out. Zero means DefaultFarewell.
	Farewell time.Duration
	// Logger hears when Redis goes and comes, and when something is begun anew. Nil discards.
	Logger *slog.Logger
	// Hooks tell of the same and more, for metrics.
	Hooks Hooks
}

// State is the condition of the link to Redis at one moment.
type State struct {
	// Up says that the last question was answered.
	Up bool
	// EverUp says that this was so at least once.
	EverUp bool
	// Since is when Up last changed; when the tracker was made, if it never did.
	Since time.Time
	// Err is why it is not up. Nil when it is up, and before the first attempt.
	Err error
}

// Redis is the Tracker of a node whose cluster meets in Redis. Add, Remove and SetMetadata work without Redis, too: it is told when it
// is back. Questions fail then, with errors that wrap ErrUnavailable.
//
// docs/presence.md describes what it keeps there.
type Redis struct {
	client   redis.UniversalClient
	links    redisurl.Links // of client
	single   bool           // all keys are in one place, and can be read together
	meta     string
	scripts  scripts
	keys     [partitions]keys
	lease    Lease // nil without a node
	grace    time.Duration
	life     time.Duration
	pace     time.Duration
	timeout  time.Duration
	farewell time.Duration
	log      *slog.Logger
	hooks    Hooks
	name     string // of Redis, for logs: no password

	feed   feed
	tail   tail
	toSend chan struct{} // holds a token when the writer has something to do
	toTick chan struct{} // holds a token when the keeper shall look now
	toReap chan struct{} // holds a token when the keeper shall look when to look

	mu          sync.Mutex // guards what follows
	members     map[string]*member
	ledgers     [partitions]ledger
	incarnation string // that of the ledgers
	cause       Cause  // why the next one is begun
	givenUp     string // the incarnation that was given up last
	trusts      [partitions]trust
	reaps       [partitions]reap
	state       State
	ran, ended  bool
}

// NewRedis checks the options. It connects to nothing; Run does, and questions.
func NewRedis(o RedisOptions) (*Redis, error) {
	target, err := redisurl.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.LeaseLife, DefaultLeaseLife}, {&o.Interval, DefaultInterval}, {&o.Timeout, DefaultTimeout}, {&o.Farewell, DefaultFarewell}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if 3*o.Interval > o.LeaseLife {
		return nil, errors.New("presence: Interval must be at most a third of LeaseLife, or an outage that ends leases could pass unseen")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Redis{
		single: target.Kind != redisurl.Cluster,
		meta:   o.Prefix + "meta", scripts: newScripts(clockSource),
		lease: o.Lease, grace: grace(o.Grace), life: o.LeaseLife, pace: o.Interval, timeout: o.Timeout, farewell: o.Farewell,
		log: o.Logger, hooks: o.Hooks, name: target.Name,
		toSend: make(chan struct{}, 1), toTick: make(chan struct{}, 1), toReap: make(chan struct{}, 1),
		members: make(map[string]*member), cause: Started, state: State{Since: time.Now()},
	}
	r.feed.hooks = &r.hooks
	r.tail.begun = make(chan struct{})
	for k := range r.keys {
		r.keys[k] = newKeys(o.Prefix, k)
		r.ledgers[k].keys = r.keys[k]
	}
	r.client = target.Client(redisurl.Tuning{Timeout: o.Timeout, PoolSize: 8 + r.tails(), Links: &r.links})
	return r, nil
}

// tails is how many connections watching takes.
func (r *Redis) tails() int {
	if r.single {
		return 1
	}
	return partitions
}

// Run tells Redis of this node's connections, looks after what others left behind, and follows the log while somebody watches, until
// ctx ends. Then it takes the node's connections out, within RedisOptions.Farewell, and ends all watchers. It may be called once, and returns
// nil. The lease must outlive it.
func (r *Redis) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.ran {
		r.mu.Unlock()
		return errors.New("presence: Run was called twice")
	}
	r.ran = true
	r.mu.Unlock()
	defer r.links.CutAfter(ctx, r.farewell)()
	var parts sync.WaitGroup
	if r.lease != nil {
		parts.Go(func() { r.write(ctx) })
	}
	parts.Go(func() { r.keep(ctx) })
	for i := range r.tails() {
		group := []int{i}
		if r.single {
			group = group[:0]
			for k := range partitions {
				group = append(group, k)
			}
		}
		parts.Go(func() { r.follow(ctx, group) })
	}
	parts.Wait()
	r.depart()
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.feed.close()
	return r.client.Close()
}

// Close releases the connections of a tracker that is not run. Run does so itself.
func (r *Redis) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ran {
		return nil
	}
	r.ended = true
	return r.client.Close()
}

// State is how the link to Redis is now.
func (r *Redis) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// note records the outcome of a contact, and logs when it differs from the last.
func (r *Redis) note(err error) {
	r.mu.Lock()
	was := r.state
	r.state = State{Up: err == nil, EverUp: was.EverUp || err == nil, Since: was.Since, Err: err}
	if r.state.Up != was.Up {
		r.state.Since = time.Now()
	}
	r.mu.Unlock()
	switch first := was.Err == nil && !was.Up; {
	case err != nil && (was.Up || first):
		r.log.Warn("presence: Redis cannot be reached; trying again until it can", "redis", r.name, "error", err)
	case err == nil && !was.Up:
		r.log.Info("presence: in touch with Redis", "redis", r.name, "after", time.Since(was.Since).Round(time.Millisecond))
	}
}

// Add says that a connection is on this node; see [Tracker].
func (r *Redis) Add(c Connection) {
	if c.Since.IsZero() {
		c.Since = time.Now()
	}
	c.Metadata = slices.Clone(c.Metadata)
	if checkMetadata(c.Metadata) != nil {
		c.Metadata = nil
	}
	m := &member{Connection: c}
	r.tell(func() (change, bool) {
		r.members[c.ID] = m
		return change{m, true}, r.lease != nil
	})
}

// Settle waits until Redis has been told of a connection of this node, which Add does not. One that has left, or was never there, needs
// no waiting. The error is ctx's, or wraps ErrUnavailable when Redis is known to be away: then there is no waiting either.
func (r *Redis) Settle(ctx context.Context, id string) error {
	r.mu.Lock()
	m := r.members[id]
	switch {
	case m == nil || m.known:
		r.mu.Unlock()
		return nil
	case r.state.Err != nil:
		defer r.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrUnavailable, r.state.Err)
	case m.told == nil:
		m.told = make(chan struct{})
	}
	told := m.told
	r.mu.Unlock()
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Remove says that a connection of this node has left; see [Tracker].
func (r *Redis) Remove(id string) {
	r.tell(func() (change, bool) {
		m := r.members[id]
		if m == nil {
			return change{}, false
		}
		delete(r.members, id)
		m.left = true
		return change{m, false}, true
	})
}

// SetMetadata replaces the metadata of a connection of this node; see [Tracker].
func (r *Redis) SetMetadata(id string, metadata []byte) error {
	if err := checkMetadata(metadata); err != nil {
		return err
	}
	metadata = slices.Clone(metadata)
	err := fmt.Errorf("%w on this node: %q", ErrNoConnection, id)
	r.tell(func() (change, bool) {
		m := r.members[id]
		if m == nil {
			return change{}, false
		}
		m.Metadata, err = metadata, nil
		return change{m, true}, true
	})
	return err
}

// tell makes a change, and queues it for Redis.
func (r *Redis) tell(make func() (change, bool)) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	c, made := make()
	if !made {
		r.mu.Unlock()
		return
	}
	fits := r.ledgers[partitionOf(c.member.User, c.member.ID)].tell(c)
	incarnation := r.incarnation
	r.mu.Unlock()
	if !fits {
		r.giveUp(incarnation, Overflow)
	}
	signal(r.toSend)
}

// giveUp ends an incarnation. The next one announces everything anew.
func (r *Redis) giveUp(incarnation string, cause Cause) {
	r.mu.Lock()
	if incarnation == "" || r.givenUp == incarnation {
		r.mu.Unlock()
		return
	}
	r.givenUp, r.cause = incarnation, cause
	r.mu.Unlock()
	r.log.Warn("presence: all connections of this node are announced anew", "cause", string(cause), "incarnation", incarnation)
	r.lease.Renounce(incarnation)
}

// signal leaves a token, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

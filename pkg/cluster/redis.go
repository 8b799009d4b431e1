package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redisurl"
)

// The defaults of RedisOptions.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultInterval = 1500 * time.Millisecond
	DefaultFarewell = time.Second
)

// ErrUnavailable is wrapped by every error that means that Redis could not be asked.
var ErrUnavailable = errors.New("cluster: Redis is unavailable")

// RedisOptions says where Redis is. URL and NodeID are required.
type RedisOptions struct {
	// URL of Redis: redis://user:password@host:6379/0, rediss:// for TLS; several addresses, h1:6379,h2:6379, for Redis Cluster;
	// redis+sentinel://h1:26379,h2:26379/name for Sentinel.
	URL string
	// Prefix is put verbatim in front of every key.
	Prefix string
	// NodeID names this process; no other process ever has the same. NewNodeID makes one.
	NodeID string
	// Secret is the cluster's secret, at least MinSecret bytes, the same on all nodes. Nil means that it is made once by
	// whichever node comes first, and kept in Redis.
	Secret []byte
	// Timeout bounds one question to Redis, retries included. Zero means DefaultTimeout.
	Timeout time.Duration
	// Farewell bounds how long Run takes to end once its context has, which is when the node takes itself out of the directory. That is
	// a courtesy: its entry would end by itself. Zero means DefaultFarewell.
	Farewell time.Duration
	// Interval is the longest time between two contacts with Redis, at which the secret is offered again and the lease renewed.
	// Zero means DefaultInterval.
	Interval time.Duration
	// Lease is how long this node counts as alive after it has renewed its lease: at least twice the Interval. Zero means
	// DefaultLease.
	Lease time.Duration
	// Connections counts this node's connections, for the directory. Nil means that it says 0.
	Connections func() int
	// Logger is told when Redis or the lease goes and comes. Nil discards it.
	Logger *slog.Logger
	// Hooks tell of lost leases.
	Hooks Hooks
}

// State is the condition of the link to Redis at one moment.
type State struct {
	// Up says that the last question was answered, and that the secret is known.
	Up bool
	// EverUp says that this was so at least once.
	EverUp bool
	// Since is when Up last changed; when the cluster was made, if it never did.
	Since time.Time
	// Err is why it is not up. Nil when it is up, and before the first attempt.
	Err error
}

// Redis is a node's share in a cluster that meets in Redis. It is safe for concurrent use.
//
// Four things are kept there: the secret under Prefix + "secret", without an end, unless it was given; a mark of the secret in use
// under Prefix + "secret:mark", by which nodes with different ones are found; used connection ids under
// Prefix + "tok:" + id, for a minute; and the leases of nodes, with what the directory says of them, under Prefix + "node:" + id, for
// 5 s after their last renewal. Prefix + "nodes" lists the ids of the last.
type Redis struct {
	client    redis.UniversalClient
	links     redisurl.Links // of client
	address   string         // for logs: no password
	prefix    string
	nodeID    string
	given     bool   // the secret came with the options and is not kept in Redis
	candidate []byte // offered as the secret until one is known
	timeout   time.Duration
	farewell  time.Duration
	interval  time.Duration
	log       *slog.Logger
	kick      chan struct{} // asks Run for an attempt now
	directory directory
	lease     lease
	agreement agreement

	connections func() int // may be nil

	mu        sync.Mutex // guards what follows, together: whoever sees Up must find the secret
	secret    []byte
	state     State
	announced NodeInfo // for this node's entry in the directory
	leaving   bool
}

// NewRedis checks the options. It connects to nothing; Run does.
func NewRedis(o RedisOptions) (*Redis, error) {
	target, err := redisurl.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if o.NodeID == "" {
		return nil, errors.New("cluster: NodeID is empty; NewNodeID makes one")
	}
	if o.Secret != nil && len(o.Secret) < MinSecret {
		return nil, fmt.Errorf("cluster: the secret has %d bytes; at least %d are needed", len(o.Secret), MinSecret)
	}
	c := &Redis{
		address:   target.Name,
		prefix:    o.Prefix,
		nodeID:    o.NodeID,
		given:     o.Secret != nil,
		candidate: newSecret(),
		timeout:   o.Timeout,
		farewell:  o.Farewell,
		interval:  o.Interval,
		log:       o.Logger,
		kick:      make(chan struct{}, 1),
		secret:    o.Secret,
		state:     State{Since: time.Now()},

		connections: o.Connections,
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.farewell <= 0 {
		c.farewell = DefaultFarewell
	}
	if c.interval <= 0 {
		c.interval = DefaultInterval
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if err := checkLease(o.Lease, c.interval); err != nil {
		return nil, err
	}
	c.lease = lease{nodeID: o.NodeID, life: o.Lease, log: c.log, hooks: o.Hooks, changed: make(chan struct{})}
	c.client = target.Client(redisurl.Tuning{Timeout: c.timeout, Links: &c.links}) // repeats nothing: what is repeated is decided here
	return c, nil
}

// Run keeps in touch with Redis until ctx ends: it learns the secret, and offers it again when Redis has come back
// empty; it takes a lease and renews it. It may be called once. It returns nil.
//
// In the end the node gives its lease up and takes itself out of the directory.
func (c *Redis) Run(ctx context.Context) error {
	defer c.links.CutAfter(ctx, c.farewell)()
	defer c.client.Close()
	defer c.depart()
	for failures := 0; ; {
		err := c.contact(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.note(err)
		if err == nil {
			failures = 0
		} else {
			failures++
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.pause(failures)):
			c.Lease() // notes when it has run out
		case <-c.kick:
		}
	}
}

// Close releases the connections of a node's share that is not run, for a process that only asks. Run does so itself.
func (c *Redis) Close() error { return c.client.Close() }

// pause is how long to wait before the next contact. All nodes lose Redis at the same moment; chance spreads their return.
func (c *Redis) pause(failures int) time.Duration {
	d := c.interval
	if failures > 0 {
		d = min(c.interval, 50*time.Millisecond<<min(failures, 10))
	}
	return d/2 + rand.N(d/2+1)
}

// contact makes sure that Redis answers, holds the cluster's secret and knows this node, and adopts the secret that it holds.
// Any part of it may be repeated: offering is SET NX, and so is a renewal, as the numbers of leases only grow.
func (c *Redis) contact(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	pipe := c.client.Pipeline()
	var held *redis.StringCmd
	if c.given {
		pipe.Ping(ctx)
	} else {
		pipe.SetNX(ctx, c.secretKey(), c.offer(), 0)
		held = pipe.Get(ctx, c.secretKey())
	}
	renewed := c.lease.ask(ctx, pipe, c.leaseKeys(), c.announcement())
	agreed := func(time.Time) {}
	if secret, err := c.Secret(); err == nil {
		agreed = c.agreement.ask(ctx, pipe, c.prefix+"secret:mark", mark(secret), c.lease.life)
	}
	sent := time.Now()
	if err := exec(ctx, pipe); err != nil {
		return err
	}
	agreed(sent)
	c.agree()
	if held != nil {
		if err := c.learn(held); err != nil {
			return err
		}
	}
	return renewed(sent)
}

// exec runs a pipeline. That a key does not exist is no error.
func exec(ctx context.Context, pipe redis.Pipeliner) error {
	commands, err := pipe.Exec(ctx)
	for _, command := range commands {
		if e := command.Err(); e != nil && !errors.Is(e, redis.Nil) {
			return e
		}
	}
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (c *Redis) secretKey() string { return c.prefix + "secret" }

// offer is the secret to write if Redis holds none.
func (c *Redis) offer() []byte {
	if known, err := c.Secret(); err == nil {
		return known
	}
	return c.candidate
}

// learn adopts the secret that Redis holds.
func (c *Redis) learn(held *redis.StringCmd) error {
	secret, err := held.Bytes()
	if err != nil {
		return err
	}
	if len(secret) < MinSecret {
		return fmt.Errorf("the key %s holds %d bytes, and a secret has at least %d; delete the key, or start all nodes with the same --cluster-secret", c.secretKey(), len(secret), MinSecret)
	}
	c.adopt(secret)
	return nil
}

// adopt takes over the secret that Redis holds. It can differ from the one in use when Redis came back empty and a node
// that has just started was the first to offer: one secret for all counts for more than which.
func (c *Redis) adopt(secret []byte) {
	c.mu.Lock()
	old := c.secret
	c.secret = secret
	c.mu.Unlock()
	if old != nil && string(old) != string(secret) {
		c.log.Warn("the cluster has another secret now; connection tokens of the old one are no longer valid")
	}
}

// contactNow makes Run contact Redis without waiting for the next time.
func (c *Redis) contactNow() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// note records the outcome of a contact, and logs when it differs from the last.
func (c *Redis) note(err error) {
	c.mu.Lock()
	was := c.state
	now := State{Up: err == nil, EverUp: was.EverUp || err == nil, Since: was.Since, Err: err}
	if now.Up != was.Up {
		now.Since = time.Now()
	}
	c.state = now
	c.mu.Unlock()

	switch first := was.Err == nil && !was.Up; {
	case err != nil && (was.Up || first):
		c.log.Warn("cluster: Redis cannot be reached; trying again until it can", "redis", c.address, "error", err)
	case err == nil && !was.Up:
		c.log.Info("cluster: in touch with Redis", "redis", c.address, "after", time.Since(was.Since).Round(time.Millisecond))
	}
}

// State is how the link to Redis is now.
func (c *Redis) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// NodeID names this process; no other ever has the same.
func (c *Redis) NodeID() string { return c.nodeID }

// Secret is the cluster's secret. The error wraps ErrUnavailable while it is not known.
func (c *Redis) Secret() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secret == nil {
		return nil, fmt.Errorf("%w: the cluster's secret is not known yet", ErrUnavailable)
	}
	return c.secret, nil
}

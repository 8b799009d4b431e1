package redisurl

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Tuning is what differs between the packages that ask Redis.
type Tuning struct {
	// Timeout bounds each wait: for a connection, for a free one of the pool, for a reply.
	Timeout time.Duration
	// PoolSize is how many connections there may be to a server. Zero means 8: a question takes less than a millisecond.
	PoolSize int
	// Links, if not nil, are those of the client.
	Links *Links
}

// Client makes a client for commands, which follows a failover of Sentinel and the slots of a cluster. It speaks RESP 3 unless
// the URL says ?protocol=2, and never sends a command again after its reply was lost: that is for the caller to decide. Only
// what a server surely did not carry out (MOVED, ASK) goes to the one that it names. It connects to nothing before the first
// command. Close ends it.
//
// On a cluster, the keys of one command must lie in one slot; those of a pipeline need not, and what goes to different slots is
// then neither atomic nor in order.
func (t *Target) Client(n Tuning) redis.UniversalClient {
	opt := t.Options
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.DialTimeout = n.Timeout
	opt.ReadTimeout = n.Timeout
	opt.WriteTimeout = n.Timeout
	opt.PoolTimeout = n.Timeout
	if opt.PoolSize = n.PoolSize; opt.PoolSize == 0 {
		opt.PoolSize = 8
	}
	opt.PipelinePoolSize = -1 // pipelines take the same connections
	opt.ContextTimeoutEnabled = true
	if n.Links != nil {
		opt.Dialer = n.Links.through(redis.NewDialer(&opt))
	}
	opt.DisableIdentity = true // a command for each connection that older servers refuse, and ACLs
	switch t.Kind {
	case Cluster:
		c := redis.NewClusterClient(t.cluster(&opt))
		c.AddHook(once{c})
		return c
	case Sentinel:
		return redis.NewFailoverClient(t.failover(&opt))
	}
	opt.MaintNotificationsConfig = noMaintenance()
	return redis.NewClient(&opt)
}

func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (t *Target) cluster(o *redis.Options) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: t.Addrs, Dialer: o.Dialer, ClientName: o.ClientName, Protocol: o.Protocol, Username: o.Username, Password: o.Password,
		MaxRetries: o.MaxRetries, DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries,
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime,
		PipelinePoolSize: o.PipelinePoolSize, TLSConfig: o.TLSConfig, MaintNotificationsConfig: noMaintenance(),
		DisableIdentity: o.DisableIdentity,
		// Without policies a command goes to the server of its key and to nobody else.
		DisableRoutingPolicies: true,
	}
}

func (t *Target) failover(o *redis.Options) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: t.Master, SentinelAddrs: t.Addrs, SentinelUsername: t.SentinelUsername, SentinelPassword: t.SentinelPassword,
		Dialer: o.Dialer, ClientName: o.ClientName, Protocol: o.Protocol, Username: o.Username, Password: o.Password, DB: o.DB,
		MaxRetries: o.MaxRetries, DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries,
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime,
		PipelinePoolSize: o.PipelinePoolSize, TLSConfig: o.TLSConfig,
		DisableIdentity: o.DisableIdentity,
	}
}

// once keeps a cluster client from repeating commands: there, redirects and repetitions have one limit. A server that cannot be
// reached is a reason to look at the slots anew, which the client would do only with the repetition.
type once struct{ client *redis.ClusterClient }

func (once) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o once) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, single{cmd})
		o.look(ctx, err)
		return err
	}
}

func (o once) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		wrapped := make([]redis.Cmder, len(cmds))
		for i, cmd := range cmds {
			wrapped[i] = single{cmd}
		}
		err := next(ctx, wrapped)
		o.look(ctx, err)
		return err
	}
}

func (o once) look(ctx context.Context, err error) {
	if failed := net.Error(nil); errors.As(err, &failed) {
		o.client.ReloadState(ctx) // in the background
	}
}

// single is a command that is sent once.
type single struct{ redis.Cmder }

func (single) NoRetry() bool { return true }

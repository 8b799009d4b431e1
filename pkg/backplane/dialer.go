package backplane

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialer makes links: one network connection each, with a redis.Client that owns it and can never get another.
//
// go-redis likes to dial again by itself, which hides that messages were missed and which publishes were lost. Here a link
// that broke is over; who owns it says so, and makes a new one.
type dialer struct {
	opt            redis.Options
	topology       *topology
	name           string // for logs and errors: host and port, or a socket's path; several of them, and the primary's name
	connectTimeout time.Duration
}

func newDialer(target *redisurl.Target, o RedisOptions) *dialer {
	d := &dialer{opt: target.Options, topology: newTopology(target), name: strings.Join(target.Addrs, ","), connectTimeout: o.ConnectTimeout}
	if target.Kind == redisurl.Sentinel {
		d.name += "/" + target.Master
	}
	d.opt.MaxRetries = -1
	d.opt.DialerRetries = 1
	d.opt.ContextTimeoutEnabled = true
	d.opt.ReadTimeout = o.ConnectTimeout // for the handshake only: afterwards the links have their own rules
	d.opt.WriteTimeout = o.ReplyTimeout
	d.opt.PoolSize = 1
	d.opt.MinIdleConns = 0
	d.opt.PipelinePoolSize = -1 // pipelines take the one connection too
	d.opt.ConnMaxIdleTime = -1
	d.opt.ConnMaxLifetime = 0
	d.opt.DisableIdentity = true // a command per connection that older servers refuse
	d.opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return d
}

// dial opens the network connection to the server for a slot, TLS included.
func (d *dialer) dial(ctx context.Context, slot int) (net.Conn, spot, error) {
	s, err := d.topology.locate(ctx, slot)
	if err != nil {
		return nil, s, err
	}
	network := "tcp"
	if d.opt.Network != "" {
		network = d.opt.Network
	}
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, network, s.addr)
	if err != nil || d.opt.TLSConfig == nil {
		return conn, s, err
	}
	config := d.opt.TLSConfig
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(s.addr)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, s, err
	}
	return secure, s, nil
}

// client makes a redis.Client that uses conn, and only conn.
func (d *dialer) client(conn net.Conn) *redis.Client {
	opt := d.opt
	var used atomic.Bool
	opt.Dialer = func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errOneLink
		}
		return conn, nil
	}
	return redis.NewClient(&opt)
}

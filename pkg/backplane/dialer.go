package backplane

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialer makes links: one network connection each, with a redis.Client that owns it and can never get another.
//
// go-redis likes to dial again by itself, which hides that messages were missed and which publishes were lost. Here a link
// that broke is over; who owns it says so, and makes a new one.
type dialer struct {
	opt            redis.Options
	name           string // the server, for logs and errors: host and port, or a socket's path
	connectTimeout time.Duration
}

func newDialer(opt *redis.Options, o RedisOptions) *dialer {
	d := &dialer{opt: *opt, name: opt.Addr, connectTimeout: o.ConnectTimeout}
	d.opt.Protocol = 2 // pushes of RESP 3 (maintenance, tracking) have no use here, and cost a peek per message
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

// dial opens the network connection, TLS included.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, d.opt.Network, d.opt.Addr)
	if err != nil || d.opt.TLSConfig == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.opt.TLSConfig)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
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

// Package redisurl reads the URL that says where Redis is and how it is run, and makes clients for it.
package redisurl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Kind is how Redis is run.
type Kind int

// The kinds of Redis.
const (
	Standalone Kind = iota // one server
	Cluster                // slots spread over several
	Sentinel               // one primary at a time, which sentinels appoint
)

// Forms are the URLs that Parse reads, for the texts of settings.
const Forms = "redis://user:password@host:6379, rediss:// for TLS; several addresses (h1:6379,h2:6379) for Redis Cluster; " +
	"redis+sentinel://h1:26379,h2:26379/NAME for Sentinel"

// Target is where Redis is, as a URL says it. It is not changed once made.
type Target struct {
	Kind Kind
	// Addrs are host:port of the server, of some nodes of the cluster, or of the sentinels; or the path of a socket.
	Addrs []string
	// Master is what the sentinels call the primary; empty for the other kinds.
	Master string
	// Options are those of a connection to any server: credentials, database, TLS, timeouts. Network and Addr are set only
	// for Standalone. A TLS configuration without a server name takes the host that is dialled.
	Options redis.Options
	// SentinelUsername and SentinelPassword are for the sentinels themselves, which often have none.
	SentinelUsername, SentinelPassword string
	// Name is the URL without secrets.
	Name string
}

// Parse reads a URL of Redis:
//
//	redis://[user[:password]@]host[:port][/database]       one server
//	rediss://…                                             the same with TLS
//	unix://[user[:password]@]/path/to/socket[?db=N]        a socket on this host
//	redis://[user[:password]@]host[:port],host[:port],…    Redis Cluster; one address needs ?cluster=true
//	redis+sentinel://[user[:password]@]host[:port],…/name[/database]
//	                                                       Sentinel; rediss+sentinel:// for TLS, to the sentinels too
//
// The port defaults to 6379, a sentinel's to 26379. User and password are those of the servers; sentinels that want some get
// ?sentinel_username= and ?sentinel_password=. With TLS, ?ca_file= names the certificates to trust instead of the system's,
// ?cert_file= and ?key_file= the client's own, ?server_name= the name to expect, and ?skip_verify=true accepts anything.
// ?protocol=2 is for what stands between and does not understand RESP 3; a Redis that does not is spoken to as it can. The
// query parameters of go-redis (dial_timeout, read_timeout, …) are accepted, unknown ones are not. Errors say what to change
// and never repeat the user name or the password.
func Parse(raw string) (*Target, error) {
	p, err := cut(raw)
	if err != nil {
		return nil, err
	}
	t := &Target{Name: Redact(raw)}
	failed := func(format string, args ...any) (*Target, error) {
		return nil, fmt.Errorf("the Redis URL "+t.Name+": "+format, args...)
	}
	query, err := url.ParseQuery(p.url.RawQuery)
	if err != nil {
		return nil, errUnreadable
	}
	own, err := takeOwn(query)
	if err != nil {
		return failed("%v", err)
	}
	if t.Kind = p.kind; own.cluster {
		if t.Kind == Sentinel || p.scheme == "unix" {
			return failed("cluster=true goes with redis:// and rediss:// only")
		}
		t.Kind = Cluster
	}
	one := *p.url // the URL of one server, as go-redis reads it
	one.RawQuery = query.Encode()
	if t.Kind == Sentinel {
		one.Scheme = strings.TrimSuffix(one.Scheme, "+sentinel")
		t.Master, one.Path, _ = strings.Cut(strings.TrimPrefix(one.Path, "/"), "/")
		if one.RawPath = ""; t.Master == "" {
			return failed("the name of the primary is missing; write redis+sentinel://host:26379/NAME, as in the sentinels' configuration (often mymaster)")
		}
		if one.Path != "" {
			one.Path = "/" + one.Path
		}
	} else if own.username+own.password != "" {
		return failed("sentinel_username and sentinel_password go with redis+sentinel:// only")
	}
	t.SentinelUsername, t.SentinelPassword = own.username, own.password
	opt, err := redis.ParseURL(one.String())
	if err != nil {
		return failed("%s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	if opt.DB < 0 {
		return failed("the database number is negative")
	}
	if t.Kind == Cluster && opt.DB != 0 {
		return failed("a cluster has no numbered databases; remove the number at the end")
	}
	switch opt.Protocol {
	case 0:
		opt.Protocol = 3
	case 2, 3:
	default:
		return failed("protocol must be 2 or 3")
	}
	if err := own.secure(opt, t.Kind); err != nil {
		return failed("%v", err)
	}
	t.Options = *opt
	if t.Kind == Standalone {
		t.Addrs = []string{opt.Addr}
		return t, nil
	}
	t.Options.Network, t.Options.Addr = "", ""
	port := "6379"
	if t.Kind == Sentinel {
		port = "26379"
	}
	for _, host := range p.hosts {
		t.Addrs = append(t.Addrs, withPort(host, port))
	}
	return t, nil
}

// withPort gives host:port for an address that may have no port.
func withPort(address, port string) string {
	u := url.URL{Host: address}
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// WithTLS is the target with other TLS settings. It is an error if the URL has no TLS.
func (t *Target) WithTLS(config *tls.Config) (*Target, error) {
	if t.Options.TLSConfig == nil {
		return nil, errors.New("TLS is set, but the URL has no TLS; use rediss://")
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = t.Options.TLSConfig.ServerName
	}
	changed := *t
	changed.Options.TLSConfig = config
	return &changed, nil
}

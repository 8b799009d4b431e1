package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// The defaults of Config.
const (
	DefaultListen       = ":8080"
	DefaultAdminListen  = "127.0.0.1:9090"
	DefaultPeerListen   = ":8081"
	DefaultRedisPrefix  = "hubfleet:"
	DefaultDrainTimeout = 30 * time.Second
	DefaultDrainDelay   = 5 * time.Second
)

// Off in place of Config.AdminListen or Config.PeerListen opens no such listener.
const Off = "off"

// MaxRedisConnections is the most that Config.RedisConnections may be.
const MaxRedisConnections = backplane.MaxLanes

// NoPrefix in place of Config.RedisPrefix means none at all, as ASP.NET Core has it unless told otherwise.
const NoPrefix = "\x00"

// Config is everything about a node. The zero value is a node on its own that lets everyone in.
type Config struct {
	// Limits are those of hub.Options, for all hubs of the node.
	hub.Limits

	// Listen is the address for clients. Empty means DefaultListen.
	Listen string
	// AdminListen is the address for the operator. Empty means DefaultAdminListen; Off, none.
	AdminListen string
	// AdminToken is what a request to the admin listener must bring, unless that is on loopback or the request is for /metrics,
	// /healthz or /readyz. Empty means that there is nothing but these three when it is not on loopback.
	AdminToken string

	// PeerListen is the address for requests that other nodes forward, because the connection that they belong to is here. Empty means
	// DefaultPeerListen; Off, none: clients that use other transports than WebSockets then need sticky sessions. It is opened only with Redis.
	PeerListen string
	// Advertise is the URL at which other nodes reach that, http://HOST:PORT. Empty means the first address of this host that
	// others can reach, or the one in PeerListen, and the port in PeerListen.
	Advertise string

	// Redis is the URL of the Redis that joins this node to others: redis://user:password@host:6379, rediss:// for
	// TLS; several addresses, h1:6379,h2:6379, for Redis Cluster; redis+sentinel://h1:26379,h2:26379/name for Sentinel.
	// Empty means that this process is the whole cluster.
	Redis string
	// RedisConnections is how many connections bring messages, when one core cannot read them all. Zero means 1.
	RedisConnections int
	// RedisSharded uses the sharded Pub/Sub of Redis Cluster. It must be the same on all nodes, and keeps those of ASP.NET
	// Core out.
	RedisSharded bool
	// RedisPrefix is put in front of every channel and key. Empty means DefaultRedisPrefix; NoPrefix, none.
	RedisPrefix string
	// NodeName names this process in logs and to clients. Empty means the host's name and something random.
	NodeName string
	// ClusterSecret signs connection tokens and forwarded requests; the same on all nodes, at least 32 bytes. Nil means that it is made once and
	// kept in Redis, or in this process if there is no Redis.
	ClusterSecret []byte

	// AllowedOrigins are the origins, besides the node's own, whose pages may connect; "*" allows any.
	AllowedOrigins []string
	// JWT says which bearer tokens are valid. With a Secret, one is required; without, everyone is anonymous.
	JWT auth.Options
	// Authenticate, if not nil, says who sent a request, in place of JWT; see hub.Options.
	Authenticate func(r *http.Request) (hub.Identity, error)

	// PresenceGrace is how long a user stays online after the last connection has left. Zero means presence.DefaultGrace, 5 s; negative,
	// not at all.
	PresenceGrace time.Duration

	// DrainTimeout bounds the whole time that Run takes to stop. Zero means DefaultDrainTimeout. A quarter of it, at most 2 s, is for what comes
	// after the clients; below a second that is not much on a busy machine, and what cannot be said to Redis in it ends with its lease.
	DrainTimeout time.Duration
	// DrainDelay is the first part of that, in which the node is not ready and serves on, so that balancers learn of it before clients
	// do; at most half of DrainTimeout, and nothing when no other node lives. Zero means DefaultDrainDelay; negative, none.
	DrainDelay time.Duration
	// Logger receives what happens. Nil discards it. The Redis client has its own; see the package.
	Logger *slog.Logger
	// Version is what the metric build_info says. Empty means the main module's version.
	Version string
	// Revision is what else it says. Empty means the commit that the toolchain noted.
	Revision string
}

// withDefaults fills the zero fields.
func (c Config) withDefaults() Config {
	pick := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	pick(&c.Listen, DefaultListen)
	pick(&c.AdminListen, DefaultAdminListen)
	pick(&c.PeerListen, DefaultPeerListen)
	pick(&c.RedisPrefix, DefaultRedisPrefix)
	if c.RedisPrefix == NoPrefix {
		c.RedisPrefix = ""
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.DrainDelay == 0 {
		c.DrainDelay = DefaultDrainDelay
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// check says what is wrong with the fields that no other package checks.
func (c Config) check() error {
	var errs []error
	if c.DrainTimeout < 0 {
		errs = append(errs, fmt.Errorf("node: DrainTimeout is %v; it must be positive", c.DrainTimeout))
	}
	if len(c.ClusterSecret) > 0 && len(c.ClusterSecret) < cluster.MinSecret {
		errs = append(errs, fmt.Errorf("node: ClusterSecret has %d bytes; at least %d are needed", len(c.ClusterSecret), cluster.MinSecret))
	}
	if err := CheckName(c.NodeName); c.NodeName != "" && err != nil {
		errs = append(errs, fmt.Errorf("node: NodeName %q: %w", c.NodeName, err))
	}
	if err := CheckAddress(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("node: Listen %q: %w", c.Listen, err))
	}
	if err := CheckAddress(c.AdminListen); c.AdminListen != Off && err != nil {
		errs = append(errs, fmt.Errorf("node: AdminListen %q: %w", c.AdminListen, err))
	}
	if err := CheckAddress(c.PeerListen); c.PeerListen != Off && err != nil {
		errs = append(errs, fmt.Errorf("node: PeerListen %q: %w", c.PeerListen, err))
	}
	if err := CheckAdvertise(c.Advertise); c.Advertise != "" && err != nil {
		errs = append(errs, fmt.Errorf("node: Advertise %q: %w", c.Advertise, err))
	}
	for _, origin := range c.AllowedOrigins {
		if err := transport.CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("node: AllowedOrigins: %w", err))
		}
	}
	return errors.Join(errs...)
}

// maxName keeps connection tokens, in which the name stands, short.
const maxName = 100

// CheckName says why a text cannot be a node's name.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }):
		return errors.New("a name has no spaces, and no characters that cannot be printed")
	}
	return nil
}

// CheckAddress says why a text cannot be an address to listen on.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return errors.New("use HOST:PORT, or :PORT for all interfaces")
	}
	return nil
}

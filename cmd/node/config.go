package main

import (
	"log/slog"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
	"github.com/hubfleet/hubfleet/internal/settings"
	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/node"
	"github.com/hubfleet/hubfleet/pkg/presence"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// envPrefix begins the name of every variable.
const envPrefix = "HUBFLEET_"

// The log formats.
const (
	formatText = "text"
	formatJSON = "json"
)

// config is every setting of the command. Its table is the one place that says what there is.
type config struct {
	table *settings.Table

	listen, adminListen   string
	peerListen, advertise string
	adminToken            []byte
	drainTimeout          time.Duration
	drainDelay            time.Duration

	redis, redisPrefix, nodeName string
	redisConnections             int
	redisSharded                 bool
	presenceGrace                time.Duration
	clusterSecret                []byte

	allowedOrigins         []string
	jwtSecret              []byte
	jwtIssuer, jwtAudience string

	handshakeTimeout, keepAlive, clientTimeout time.Duration
	maxMessageSize                             int64
	statefulReconnect, detailedErrors          bool

	demo, version       bool
	logLevel, logFormat string
	file                string
}

// newConfig makes the table. terminal is whether a person reads the log.
func newConfig(terminal bool) *config {
	c := &config{logFormat: formatJSON}
	if terminal {
		c.logFormat = formatText
	}
	c.table = &settings.Table{
		Command: "node",
		About:   "node runs one node of a Hubfleet cluster: SignalR hubs behind any load balancer, joined by Redis. With no flags at all it serves a chat on http://localhost:8080 and needs nothing else. \"node healthcheck\" asks a node that runs with the same settings whether it is ready.",
		Prefix:  envPrefix,
		Ignore:  []string{envPrefix + "TEST_"}, // for the tests of the project
		Config:  "config",
	}
	c.table.Settings = append(c.table.Settings, c.listeners()...)
	c.table.Settings = append(c.table.Settings, c.cluster()...)
	c.table.Settings = append(c.table.Settings, c.security()...)
	c.table.Settings = append(c.table.Settings, c.limits()...)
	c.table.Settings = append(c.table.Settings, c.rest()...)
	return c
}

func (c *config) listeners() []settings.Setting {
	const group = "Listening and stopping"
	return []settings.Setting{
		{Name: "listen", Group: group, Value: settings.StringFunc(&c.listen, "address", node.CheckAddress), Default: node.DefaultListen,
			Usage: "Where clients connect: the hub at " + hubPath + ", and with --demo / and /demo/"},
		{Name: "admin-listen", Group: group, Value: settings.StringFunc(&c.adminListen, "address", orOff(node.CheckAddress)), Default: node.DefaultAdminListen,
			Usage: `/metrics, /healthz, /readyz, /debug/pprof and /drain; "off" for none. When the address is not loopback, all but the first three need --admin-token, and do not exist without one`},
		{Name: "admin-token", Group: group, Value: settings.Bytes(&c.adminToken, 16), Secret: true, DefaultText: "none",
			Usage: "What requests to the admin listener bring in Authorization: Bearer"},
		{Name: "drain-timeout", Group: group, Value: settings.Duration(&c.drainTimeout), Default: node.DefaultDrainTimeout.String(),
			Usage: "The whole time from SIGTERM to exit; less when nothing is left to wait for"},
		{Name: "drain-delay", Group: group, Value: settings.DurationOrZero(&c.drainDelay), Default: node.DefaultDrainDelay.String(),
			Usage: "The first part of it, in which the node is not ready and still serves, so that balancers learn of it; at most half of it, and nothing when no other node lives"},
	}
}

func (c *config) cluster() []settings.Setting {
	const group = "Cluster"
	return []settings.Setting{
		{Name: "redis", Group: group, Value: settings.StringFunc(&c.redis, "url", orEmpty(checkRedis)), File: true, Mask: redisurl.Redact, DefaultText: "none, this node is on its own",
			Usage: "The Redis that joins the nodes: " + redisurl.Forms},
		{Name: "peer-listen", Group: group, Value: settings.StringFunc(&c.peerListen, "address", orOff(node.CheckAddress)), Default: node.DefaultPeerListen,
			Usage: `Where other nodes forward requests to, when the connection that they belong to is here; opened only with --redis. "off" for none: clients without WebSockets then need sticky sessions`},
		{Name: "advertise", Group: group, Value: settings.StringFunc(&c.advertise, "url", orEmpty(node.CheckAdvertise)), DefaultText: "this host's address and the peer port",
			Usage: "The URL at which other nodes reach --peer-listen: http://HOST:PORT"},
		{Name: "redis-prefix", Group: group, Value: settings.String(&c.redisPrefix), Default: node.DefaultRedisPrefix,
			Usage: "Put in front of every channel and key"},
		{Name: "redis-connections", Group: group, Value: settings.Int(&c.redisConnections, 1, node.MaxRedisConnections), Default: "1",
			Usage: "How many connections to Redis bring messages; more than one when a core is not enough to read them all"},
		{Name: "redis-sharded", Group: group, Value: settings.Bool(&c.redisSharded), DefaultText: "off",
			Usage: "Spread messages over the servers of a Redis Cluster (7.0 and newer) with sharded Pub/Sub; the same on all nodes. Nodes of ASP.NET Core cannot take part then"},
		{Name: "node-name", Group: group, Value: settings.StringFunc(&c.nodeName, "name", node.CheckName), DefaultText: "the host's name and something random",
			Usage: "What this process is called in logs; no two at a time may share a name"},
		{Name: "presence-grace", Group: group, Value: settings.Duration(&c.presenceGrace), Default: presence.DefaultGrace.String(),
			Usage: "How long a user stays online after the last connection has left"},
		{Name: "cluster-secret", Group: group, Value: settings.Bytes(&c.clusterSecret, cluster.MinSecret), Secret: true, DefaultText: "made once and kept in Redis",
			Usage: "Signs connection tokens and forwarded requests; the same on all nodes, at least 32 bytes"},
	}
}

func (c *config) security() []settings.Setting {
	const group = "Who may connect"
	return []settings.Setting{
		{Name: "allowed-origins", Group: group, Value: settings.List(&c.allowedOrigins, transport.CheckOrigin), DefaultText: "the node's own",
			Usage: "Origins whose pages may connect, separated by commas, such as https://app.example.com; * for any"},
		{Name: "auth-jwt-secret", Group: group, Value: settings.Bytes(&c.jwtSecret, auth.MinSecret), Secret: true, DefaultText: "none, everyone is anonymous",
			Usage: "HS256 secret, at least 32 bytes. A valid bearer token (header, or access_token in the query) is then required; its sub is the user id, and it must have an exp"},
		{Name: "auth-jwt-issuer", Group: group, Value: settings.String(&c.jwtIssuer), DefaultText: "any",
			Usage: "The iss that tokens must have"},
		{Name: "auth-jwt-audience", Group: group, Value: settings.String(&c.jwtAudience), DefaultText: "any",
			Usage: "The aud that tokens must have"},
	}
}

func (c *config) limits() []settings.Setting {
	const group = "Connections"
	return []settings.Setting{
		{Name: "handshake-timeout", Group: group, Value: settings.Duration(&c.handshakeTimeout), Default: hub.DefaultHandshakeTimeout.String(),
			Usage: "How long a client may take to say which protocol it speaks"},
		{Name: "keep-alive", Group: group, Value: settings.Duration(&c.keepAlive), Default: hub.DefaultKeepAlive.String(),
			Usage: "The time between pings to a client. Clients give up after twice as long by default"},
		{Name: "client-timeout", Group: group, Value: settings.Duration(&c.clientTimeout), Default: hub.DefaultClientTimeout.String(),
			Usage: "How long a client that pings may be silent. Clients ping every 15s by default"},
		{Name: "max-message-size", Group: group, Value: settings.Size(&c.maxMessageSize), Default: "32KiB",
			Usage: `The largest message that a client may send; "none" for no limit`},
		{Name: "stateful-reconnect", Group: group, Value: settings.Bool(&c.statefulReconnect), Default: "on",
			Usage: "Let clients keep their connection when their socket breaks, if they ask for it"},
		{Name: "detailed-errors", Group: group, Value: settings.Bool(&c.detailedErrors), DefaultText: "off",
			Usage: "Send the text of every error to clients. Not for production"},
	}
}

func (c *config) rest() []settings.Setting {
	const group = "Everything else"
	return []settings.Setting{
		{Name: "demo", Group: group, Value: settings.Bool(&c.demo), DefaultText: "on when neither Redis nor auth is set, else off",
			Usage: "Serve the demo page at /. Without auth, ?user=NAME on the hub's URL is then taken as the user id, unverified; with auth, /demo/token?user=NAME gives a token to anyone"},
		{Name: "log-level", Group: group, Value: settings.OneOf(&c.logLevel, "debug", "info", "warn", "error"), Default: "info",
			Usage: "What to log"},
		{Name: "log-format", Group: group, Value: settings.OneOf(&c.logFormat, formatText, formatJSON), DefaultText: "text on a terminal, else json",
			Usage: "How to log, on standard error"},
		{Name: "config", Group: group, Value: settings.String(&c.file), NotInFile: true, DefaultText: "none",
			Usage: "A YAML file with settings, named like the flags"},
		{Name: "version", Group: group, Value: settings.Bool(&c.version), FlagOnly: true,
			Usage: "Print the version and exit"},
	}
}

// orOff also accepts the word that turns a listener off.
func orOff(check func(string) error) func(string) error {
	return func(text string) error {
		if text == node.Off {
			return nil
		}
		return check(text)
	}
}

// orEmpty also accepts nothing, given to overrule the environment or the file.
func orEmpty(check func(string) error) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return check(text)
	}
}

func checkRedis(text string) error {
	_, err := redisurl.Parse(text)
	return err
}

// load reads the settings and checks those that depend on each other. The error is a settings.Problems.
func (c *config) load(args, environ []string) error {
	if err := c.table.Load(args, environ); err != nil {
		return err
	}
	if !c.table.Given("demo") {
		c.demo = c.redis == "" && c.jwtSecret == nil
	}
	var problems settings.Problems
	for _, name := range []string{"auth-jwt-issuer", "auth-jwt-audience"} {
		if c.table.Given(name) && c.jwtSecret == nil {
			problems = append(problems, c.table.Problem(name, "means nothing without --auth-jwt-secret; give one, or leave this out"))
		}
	}
	if c.redisSharded {
		if target, err := redisurl.Parse(c.redis); err != nil || target.Kind != redisurl.Cluster {
			problems = append(problems, c.table.Problem("redis-sharded", "needs a Redis Cluster in --redis: several addresses, or ?cluster=true"))
		}
	}
	if c.jwtIssuer == auth.DemoIssuer {
		problems = append(problems, c.table.Problem("auth-jwt-issuer", "is reserved for the demo; use another"))
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// node is the settings as pkg/node wants them.
func (c *config) node(log *slog.Logger) node.Config {
	replay := hub.DefaultReplayBuffer
	if !c.statefulReconnect {
		replay = -1
	}
	nc := node.Config{
		Limits: hub.Limits{
			HandshakeTimeout: c.handshakeTimeout,
			KeepAlive:        c.keepAlive,
			ClientTimeout:    c.clientTimeout,
			MaxMessageSize:   c.maxMessageSize,
			DetailedErrors:   c.detailedErrors,
			ReplayBuffer:     replay,
		},
		Listen:         c.listen,
		AdminListen:    c.adminListen,
		AdminToken:     string(c.adminToken),
		PeerListen:     c.peerListen,
		Advertise:      c.advertise,
		Redis:          c.redis,
		RedisPrefix:    c.redisPrefix,
		NodeName:       c.nodeName,
		ClusterSecret:  c.clusterSecret,
		AllowedOrigins: c.allowedOrigins,
		JWT:            c.jwt(),
		PresenceGrace:  c.presenceGrace,
		DrainTimeout:   c.drainTimeout,
		DrainDelay:     c.drainDelay,
		Logger:         log,
		Version:        version(),
		Revision:       revision,
	}
	nc.RedisConnections, nc.RedisSharded = c.redisConnections, c.redisSharded
	if c.drainDelay == 0 {
		nc.DrainDelay = -1
	}
	if c.redisPrefix == "" {
		nc.RedisPrefix = node.NoPrefix
	}
	if c.demo && c.jwtSecret == nil {
		nc.Authenticate = unverifiedUser
	}
	return nc
}

// jwt is which tokens are valid.
func (c *config) jwt() auth.Options {
	return auth.Options{Secret: c.jwtSecret, Issuer: c.jwtIssuer, Audience: c.jwtAudience, Demo: c.demo}
}

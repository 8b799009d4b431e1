package archtest

// A rule says what one package may reach. Everything reached counts, directly or through others, in the package itself
// and not in its tests.
type rule struct {
	// why is what the package is for: the reason why whatever is not in may is barred.
	why string
	// may lists the packages of this module that it may reach, by their paths inside the module.
	may []string
	// never lists paths that it must not reach, with the reason for each. A path bars what is below it, too.
	never map[string]string
}

const (
	redis      = "github.com/redis/go-redis"
	prometheus = "github.com/prometheus"
)

// rules has one row for each package of the module, so that a new package cannot come without somebody deciding where
// it stands.
var rules = map[string]rule{
	"pkg/protocol": {
		why: "it turns bytes into messages and messages into bytes, and knows nobody",
		may: []string{"internal/jsonfields"},
		never: map[string]string{
			"net":      "a codec has no business on the network",
			redis:      "an envelope is bytes, whoever carries it",
			prometheus: "who wants to count wraps it",
		},
	},
	"pkg/transport": {
		why: "it moves bytes between HTTP clients and whoever accepts the connection; it must work without hubs, whatever the bytes mean",
		never: map[string]string{
			redis:      "whether an id is used for the first time is asked through a function, not of a broker",
			prometheus: "it tells its hooks; they count",
		},
	},
	"pkg/hub": {
		why: "it says in small interfaces what it needs of a cluster; pkg/node wires, so that a hub can be used and tested alone",
		may: []string{"pkg/protocol", "internal/jsonfields", "pkg/transport"},
		never: map[string]string{
			redis:      "a process without Redis must not carry its client; the backplane is an interface",
			prometheus: "it tells its hooks; pkg/metrics counts",
		},
	},
	"pkg/client": {
		why: "it talks to any server that speaks the hub protocol, from programs that run none",
		may: []string{"pkg/protocol", "internal/jsonfields"},
		never: map[string]string{
			redis:      "a client knows servers, not what is behind them",
			prometheus: "it tells its logger and its hooks; the program counts",
		},
	},
	"pkg/backplane": {
		why:   "it carries opaque bytes on channels, not invocations, and knows no hub",
		may:   []string{"internal/redisurl"},
		never: map[string]string{prometheus: "it tells its hooks; pkg/metrics counts"},
	},
	"pkg/cluster": {
		why:   "it holds this node's identity and the cluster's secret; what is done with them is the business of others",
		may:   []string{"internal/redisurl"},
		never: map[string]string{prometheus: "it tells its hooks; pkg/metrics counts"},
	},
	"pkg/presence": {
		why:   "it says who is where and until when; how people are connected, and what for, is the business of others",
		may:   []string{"internal/redisurl"},
		never: map[string]string{prometheus: "it tells its hooks; pkg/metrics counts"},
	},
	"pkg/peer": {
		why: "it carries requests to a node that it is told, and is told where that is; what they ask for is the business of both ends",
		never: map[string]string{
			redis:      "where a node is, is asked through a function",
			prometheus: "it tells its hooks; pkg/metrics counts",
		},
	},
	"pkg/auth": {
		why: "it turns a request into a user and claims, and knows no hub",
		never: map[string]string{
			redis:      "a token is checked with a key, not with a database",
			prometheus: "a refusal is counted by whoever refuses",
		},
	},
	"pkg/metrics": {
		why:   "it is the edge where what happens becomes numbers; nothing looks back through it",
		may:   []string{"pkg/hub", "pkg/backplane", "pkg/cluster", "pkg/peer", "pkg/presence", "pkg/protocol", "internal/jsonfields", "pkg/transport", "internal/redisurl"},
		never: nil,
	},
	"pkg/node": {
		why: "it wires the packages into a running node; flags and files are the command's",
		may: []string{
			"pkg/auth", "pkg/backplane", "pkg/cluster", "pkg/hub", "pkg/metrics", "pkg/peer", "pkg/presence", "pkg/protocol", "internal/jsonfields", "pkg/transport",
			"internal/hubpresence", "internal/redisurl",
		},
	},
	"pkg/publisher": {
		why:   "it joins a program that is no node to the hubs of a cluster; it must listen to nobody, and carry none of what nodes need for that",
		may:   []string{"pkg/backplane", "pkg/cluster", "pkg/hub", "pkg/presence", "pkg/protocol", "pkg/transport", "internal/hubpresence", "internal/jsonfields", "internal/redisurl"},
		never: map[string]string{prometheus: "the program that publishes counts what it likes"},
	},
	"cmd/node": {
		why: "it reads settings, maps the sample hub and serves the demo page; all else is pkg/node's",
		may: []string{
			"pkg/auth", "pkg/backplane", "pkg/cluster", "pkg/hub", "pkg/metrics", "pkg/node", "pkg/peer", "pkg/presence", "pkg/protocol", "internal/jsonfields", "pkg/transport",
			"internal/hubpresence", "internal/redisurl", "internal/settings",
		},
	},

	"cmd/hubgen": {
		why: "it reads a command line; what it writes is internal/hubgen's",
		may: []string{"internal/hubgen", "internal/jsonfields"},
	},

	"loadtest": {
		why: "it loads any server that speaks the hub protocol, and measures ours by what it does, so it shares no code with it",
		may: []string{"pkg/protocol", "internal/jsonfields", "internal/redisurl", "internal/settings"},
		never: map[string]string{
			prometheus: "it measures from outside",
		},
	},

	"e2e/goclient": {
		why: "it runs the Go client for tests that are written in another language, as any program would",
		may: []string{"pkg/client", "pkg/protocol", "internal/jsonfields"},
	},
	"e2e/rolling": {
		why: "it holds many clients, as any program would",
		may: []string{"pkg/client", "pkg/protocol", "internal/jsonfields"},
	},
	"e2e/testhub": {
		why: "it is a node like cmd/node, with another hub, so that tests can ask what the sample hub has no methods for",
		may: []string{
			"pkg/auth", "pkg/backplane", "pkg/cluster", "pkg/hub", "pkg/metrics", "pkg/node", "pkg/peer", "pkg/presence", "pkg/protocol", "internal/jsonfields", "pkg/transport",
			"internal/hubpresence", "internal/redisurl",
		},
	},

	"internal/archtest":   {why: "it only looks"},
	"internal/readme":     {why: "it only looks"},
	"internal/hubgen":     {why: "it reads the source of hubs; what it knows of ours it knows by name, so that it works for any version", may: []string{"internal/jsonfields"}},
	"internal/jsonfields": {why: "it is a rule of encoding/json, for whoever goes through structs"},
	"internal/hubpresence": {
		why: "it turns one package's words into the other's, so that neither need know the other",
		may: []string{"pkg/hub", "pkg/presence", "pkg/protocol", "internal/jsonfields", "pkg/transport", "internal/redisurl"},
	},
	"internal/clustertest":   {why: "it runs nodes as separate programs and asks them as clients do; the rest is tests"},
	"internal/freeze":        {why: "it stops any process, whatever that runs"},
	"internal/redistest":     {why: "it starts a Redis for tests of any package, so it must depend on none of them", may: []string{"internal/freeze"}},
	"internal/backplanetest": {why: "its suite is for every backplane, so it must depend on none"},
	"internal/presencetest": {
		why: "its suite is for every tracker, and speaks their language",
		may: []string{"pkg/presence", "internal/redisurl"},
	},
	"internal/redisurl":   {why: "it reads a URL; backplane, cluster and presence stand on it"},
	"internal/roundrobin": {why: "it copies bytes between sockets, so that any server can stand behind it"},
	"internal/settings":   {why: "it reads flags, environment and files into any struct"},
	"internal/devcluster": {
		why: "it runs the node as a separate program, as an operator would, and shares no code with it",
		may: []string{"internal/roundrobin"},
	},
}

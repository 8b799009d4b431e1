package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
	"github.com/hubfleet/hubfleet/internal/settings"
)

// config is the command line.
type config struct {
	table *settings.Table
	plan  plan

	workers     int
	rounds      int
	targets     []string
	bare        bool
	redis       string
	pids        []string
	tokens      string
	secret      []byte
	allowRemote bool
	quiet       bool
	json, html  string

	// Of the bare server by itself.
	listen string
	join   bool

	// Of the benchmark.
	node string
	rows []string
	idle time.Duration
	pin  bool
}

// The commands.
const (
	commandRun     = ""
	commandCompare = "compare"
	commandBench   = "bench"
	commandBare    = "bare"
	commandWorker  = "worker" // started by us
)

// The most of everything: a run ends by itself, and does not ask for what no machine has.
const (
	maxConnections = 500_000
	maxDuration    = time.Hour
	maxRate        = 1_000_000
)

func newConfig(command string) *config {
	c := &config{}
	c.table = &settings.Table{
		Command: strings.TrimSpace("loadtest " + command),
		Prefix:  "LOADTEST_",
	}
	switch command {
	case commandBare:
		c.table.About = "loadtest bare serves what loadtest needs of a SignalR server, in the least that can do it."
		c.table.Settings = c.bareServer()
	case commandBench:
		c.table.About = "loadtest bench prints what nodes cost beside the bare server: server CPU time per delivered message, servers on one core, the client on the other."
		c.table.Settings = slices.Concat(c.benchmark(), c.output()[:1], c.output()[2:])
	case commandCompare:
		c.table.About = "loadtest compare puts the same load on several targets in turns, and prints medians and ratios to the first."
		c.table.Settings = slices.Concat(c.comparison(), c.load(), c.connecting(), c.methods(), c.output())
	default:
		c.table.About = "loadtest puts load on a SignalR server, checks that every message arrives once and in order, and says how long it took and what it cost. The other commands are compare, bench and bare; each has a --help."
		c.table.Settings = slices.Concat(c.target(), c.load(), c.connecting(), c.methods(), c.output())
	}
	return c
}

func (c *config) target() []settings.Setting {
	const group = "What to load"
	return append([]settings.Setting{
		{Name: "url", Group: group, Value: settings.List(&c.plan.URLs, checkURL), DefaultText: "http://127.0.0.1:8080/chat, unless --bare is given",
			Usage: "Where the hub is; several, separated by commas, are used in turns"},
		{Name: "sender-url", Group: group, Value: settings.List(&c.plan.SenderURLs, checkURL), DefaultText: "those of --url",
			Usage: "Where senders connect, when not where receivers do"},
		{Name: "pid", Group: group, Value: settings.List(&c.pids, checkPID), DefaultText: "none",
			Usage: "Processes whose CPU time and memory to report"},
	}, c.bareFlags(group)...)
}

func (c *config) bareFlags(group string) []settings.Setting {
	return []settings.Setting{
		{Name: "bare", Group: group, Value: settings.Bool(&c.bare), DefaultText: "off",
			Usage: "Run the built-in bare server too, once writing each message by itself and once joining what waits"},
		{Name: "redis", Group: group, Value: settings.StringFunc(&c.redis, "url", checkRedis), File: true, Mask: redisurl.Redact, DefaultText: "none",
			Usage: "With --bare: two bare servers, joined by this Redis"},
		{Name: "allow-remote", Group: group, Value: settings.Bool(&c.allowRemote), DefaultText: "off",
			Usage: "Let targets be elsewhere than on this machine. Load is for servers that are yours"},
	}
}

func (c *config) comparison() []settings.Setting {
	const group = "What to compare"
	return append([]settings.Setting{
		{Name: "target", Group: group, Value: settings.StringFunc(new(string), "name=url", func(text string) error {
			_, err := parseTarget(text)
			c.targets = append(c.targets, text)
			return err
		}), FlagOnly: true, DefaultText: "none",
			Usage: "A target, such as two=http://127.0.0.1:8081/chat,http://127.0.0.1:8082/chat;pid=17,18. Give the flag once for each; ;sender=URL is for senders"},
		{Name: "rounds", Group: group, Value: number(&c.rounds, 1, 99), Default: "3",
			Usage: "How often each target has its turn"},
	}, c.bareFlags(group)...)
}

func (c *config) load() []settings.Setting {
	const group = "The load"
	p := &c.plan
	return []settings.Setting{
		{Name: "scenario", Group: group, Value: settings.OneOf(&p.Scenario, scenarios...), Default: scenarioBroadcast,
			Usage: "What connections do"},
		{Name: "protocol", Group: group, Value: settings.OneOf(&p.Protocol, "json", "messagepack"), Default: "json",
			Usage: "The hub protocol"},
		{Name: "connections", Group: group, Value: number(&p.Connections, 1, maxConnections), Default: "1000",
			Usage: "How many connections receive or call"},
		{Name: "senders", Group: group, Value: number(&p.Senders, 1, 10_000), Default: "1",
			Usage: "How many further connections send, in broadcast, groups and users"},
		{Name: "group-size", Group: group, Value: number(&p.GroupSize, 1, maxConnections), Default: "10",
			Usage: "How many connections are in one group"},
		{Name: "user-connections", Group: group, Value: number(&p.UserConnections, 1, maxConnections), Default: "1",
			Usage: "How many connections one user has, in users"},
		{Name: "in-flight", Group: group, Value: number(&p.InFlight, 1, 10_000), Default: "1",
			Usage: "Closed loop: how many messages of a sender, or calls of a connection, are under way at once"},
		{Name: "rate", Group: group, Value: number(&p.Rate, 0, maxRate), DefaultText: "none: a closed loop",
			Usage: "Open loop: how many messages all senders send in a second, or calls all connections make, whatever has arrived"},
		{Name: "payload", Group: group, Value: number(&p.Payload, stampSize, 1<<20), Default: "100",
			Usage: "How many bytes one message has"},
		{Name: "duration", Group: group, Value: bounded(&p.Duration, 100*time.Millisecond, maxDuration), Default: "10s",
			Usage: "How long to measure"},
		{Name: "warmup", Group: group, Value: bounded(&p.Warmup, 0, maxDuration), Default: "1s",
			Usage: "How long to do the same before, unmeasured"},
		{Name: "stream-items", Group: group, Value: number(&p.StreamItems, 1, 1_000_000), Default: "100",
			Usage: "How many items a stream has"},
		{Name: "stream-delay", Group: group, Value: bounded(&p.StreamDelay, 0, time.Minute), DefaultText: "none",
			Usage: "How long the server waits between items"},
		{Name: "storms", Group: group, Value: number(&p.Storms, 1, 1000), Default: "3",
			Usage: "How often connections are cut, in reconnect-storm"},
		{Name: "fraction", Group: group, Value: number(&p.Fraction, 1, 100), Default: "100",
			Usage: "How many percent of them"},
	}
}

func (c *config) connecting() []settings.Setting {
	const group = "Connecting"
	p := &c.plan
	return []settings.Setting{
		{Name: "workers", Group: group, Value: number(&c.workers, 1, 64), DefaultText: "1, or as many as the limit on open files asks for",
			Usage: "How many processes make the connections"},
		{Name: "ramp", Group: group, Value: bounded(&p.Ramp, 0, maxDuration), DefaultText: "as fast as it goes",
			Usage: "Over how long a time connections are opened"},
		{Name: "connecting", Group: group, Value: number(&p.Connecting, 1, 10_000), Default: "64",
			Usage: "How many handshakes of one worker are under way at once"},
		{Name: "timeout", Group: group, Value: bounded(&p.Timeout, 100*time.Millisecond, 10*time.Minute), Default: "10s",
			Usage: "How long a handshake may take, and what was sent may take to arrive"},
		{Name: "keep-alive", Group: group, Value: bounded(&p.KeepAlive, 0, maxDuration), Default: "15s",
			Usage: "How often a connection pings the server"},
		{Name: "negotiate", Group: group, Value: settings.Bool(&p.Negotiate), Default: "on",
			Usage: "Negotiate before the WebSocket, as clients do"},
		{Name: "source-addresses", Group: group, Value: number(&p.Sources, 1, 200), DefaultText: "as many as the ports of one ask for",
			Usage: "From how many addresses 127.0.0.x to connect"},
		{Name: "user-prefix", Group: group, Value: settings.String(&p.UserPrefix), Default: "user-",
			Usage: "What the names of users begin with. They are sent as ?user=NAME, and as the subject of tokens made with --token-secret"},
		{Name: "token", Group: group, Value: settings.String(&c.tokens), Secret: true, DefaultText: "none",
			Usage: "Bearer tokens, separated by commas or lines, which connections use in turns"},
		{Name: "token-secret", Group: group, Value: settings.Bytes(&c.secret, 32), Secret: true, DefaultText: "none",
			Usage: "Make a token for every user, with this HS256 secret"},
		{Name: "insecure", Group: group, Value: settings.Bool(&p.Insecure), DefaultText: "off",
			Usage: "Take any certificate of the server"},
	}
}

func (c *config) methods() []settings.Setting {
	const group = "The hub's methods"
	p := &c.plan
	method := func(name string, to *string, standard, usage string) settings.Setting {
		return settings.Setting{Name: name, Group: group, Value: settings.String(to), Default: standard, Usage: usage}
	}
	return []settings.Setting{
		method("send-method", &p.Send, "SendMessage", "(user, message): to all"),
		method("group-method", &p.SendToGroup, "SendToRoom", "(group, user, message): to a group"),
		method("user-method", &p.SendToUser, "SendToUser", "(user id, user, message): to a user"),
		method("join-method", &p.JoinGroup, "JoinRoom", "(group): joins it"),
		method("echo-method", &p.Echo, "Echo", "(value): gives it back"),
		method("stream-method", &p.Stream, "Counter", "(count, milliseconds): streams the numbers from 0, with pauses"),
	}
}

func (c *config) output() []settings.Setting {
	const group = "What comes out"
	return []settings.Setting{
		{Name: "json", Group: group, Value: settings.String(&c.json), DefaultText: "none", Usage: "Write everything to this file as JSON"},
		{Name: "html", Group: group, Value: settings.String(&c.html), DefaultText: "none", Usage: "Write a report with charts to this file"},
		{Name: "quiet", Group: group, Value: settings.Bool(&c.quiet), DefaultText: "off", Usage: "Print no progress"},
	}
}

func (c *config) bareServer() []settings.Setting {
	const group = "The bare server"
	return []settings.Setting{
		{Name: "listen", Group: group, Value: settings.StringFunc(&c.listen, "address", checkListen), Default: "127.0.0.1:0",
			Usage: "Where to listen. The address is the first line of the output"},
		{Name: "join", Group: group, Value: settings.Bool(&c.join), DefaultText: "off",
			Usage: "Join what waits for a connection into one write"},
		{Name: "redis", Group: group, Value: settings.StringFunc(&c.redis, "url", checkRedis), File: true, Mask: redisurl.Redact, DefaultText: "none",
			Usage: "Relay through this Redis"},
	}
}

func (c *config) benchmark() []settings.Setting {
	const group = "The benchmark"
	return []settings.Setting{
		{Name: "node", Group: group, Value: settings.String(&c.node), Default: "bin/node",
			Usage: "The node's binary"},
		{Name: "rows", Group: group, Value: settings.List(&c.rows, checkRow), DefaultText: "all",
			Usage: "Which rows to measure: " + strings.Join(rowNames(), ", ")},
		{Name: "rounds", Group: group, Value: number(&c.rounds, 1, 99), Default: "3",
			Usage: "How often each target has its turn in a row"},
		{Name: "duration", Group: group, Value: bounded(&c.plan.Duration, 100*time.Millisecond, maxDuration), Default: "4s",
			Usage: "How long a turn is"},
		{Name: "idle", Group: group, Value: bounded(&c.idle, 0, maxDuration), Default: "1m",
			Usage: "How long connections are idle before their memory is read"},
		{Name: "pin", Group: group, Value: settings.Bool(&c.pin), Default: "on",
			Usage: "Bind servers to the first core and the client to the last"},
	}
}

// load reads the command line. The error is a settings.Problems.
func (c *config) read(command string, args, environ []string) error {
	if err := c.table.Load(args, environ); err != nil {
		return err
	}
	var problems settings.Problems
	p := &c.plan
	switch command {
	case commandCompare:
		if len(c.targets) == 0 || len(c.targets) == 1 && !c.bare {
			problems = append(problems, settings.Problem{Where: "--target", Text: "give it for every target: at least two, or one with --bare"})
		}
	case commandRun:
		if len(p.URLs) == 0 && !c.bare {
			p.URLs = []string{"http://127.0.0.1:8080/chat"}
		}
	}
	if c.redis != "" && !c.bare && (command == commandRun || command == commandCompare) {
		problems = append(problems, c.table.Problem("redis", "means nothing without --bare: nodes have their own Redis"))
	}
	if p.Rate > 0 && c.table.Given("in-flight") {
		problems = append(problems, c.table.Problem("in-flight", "is for a closed loop, and --rate for an open one; remove one of them"))
	}
	if p.Rate > 0 && slices.Contains([]string{scenarioIdle, scenarioConnect, scenarioReconnect, scenarioStreams}, p.Scenario) {
		problems = append(problems, c.table.Problem("rate", "means nothing for "+p.Scenario))
	}
	if c.bare && p.Scenario == scenarioStreams && p.StreamDelay > 0 {
		problems = append(problems, c.table.Problem("stream-delay", "means nothing to the bare server, which streams without pauses; leave it out"))
	}
	if p.Senders > 1<<(4*senderSize)-1 || p.Connections > 1<<(4*channelSize)-1 {
		problems = append(problems, c.table.Problem("connections", "are more than a message's stamp has room for"))
	}
	if c.tokens != "" && c.secret != nil {
		problems = append(problems, c.table.Problem("token", "is given together with --token-secret; remove one of them"))
	}
	if !c.allowRemote {
		problems = append(problems, c.remote()...)
	}
	if len(problems) > 0 {
		return problems
	}
	p.Tokens = strings.FieldsFunc(c.tokens, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' })
	p.Secret = c.secret
	p.Run = rand.Uint32()
	if !p.messages() {
		p.Senders = 0
	}
	return nil
}

// remote finds targets that are not on this machine.
func (c *config) remote() settings.Problems {
	var problems settings.Problems
	check := func(flag string, urls []string) {
		for _, u := range urls {
			if host, local := loopback(u); !local {
				problems = append(problems, settings.Problem{Where: flag, Text: fmt.Sprintf(
					"%q is not on this machine's loopback interface; if that server is yours to load, say --allow-remote", host)})
			}
		}
	}
	check("--url", c.plan.URLs)
	check("--sender-url", c.plan.SenderURLs)
	for _, text := range c.targets {
		t, _ := parseTarget(text)
		check("--target", append(t.urls, t.senderURLs...))
	}
	return problems
}

// loopback says whether a URL's host is this machine by every address that it has.
func loopback(raw string) (host string, local bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return raw, false
	}
	host = u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return host, ip.IsLoopback()
	}
	addrs, err := net.LookupIP(host)
	return host, err == nil && len(addrs) > 0 && !slices.ContainsFunc(addrs, func(ip net.IP) bool { return !ip.IsLoopback() })
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("use a URL such as http://127.0.0.1:8080/chat")
	case !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme):
		return fmt.Errorf("use http, https, ws or wss, not %q", u.Scheme)
	}
	return nil
}

func checkPID(text string) error {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return fmt.Errorf("use the number of a process")
	}
	if p, err := os.FindProcess(pid); err == nil {
		defer p.Release()
	}
	if _, err := os.Stat("/proc/" + text); os.IsNotExist(err) {
		return fmt.Errorf("there is no such process")
	}
	return nil
}

func checkRedis(text string) error {
	_, err := redisurl.Parse(text)
	return err
}

func checkListen(text string) error {
	host, _, err := net.SplitHostPort(text)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("use a loopback address and a port, such as 127.0.0.1:0")
	}
	return nil
}

// numberValue is a settings.Value that takes a whole number within bounds.
type numberValue struct {
	p        *int
	min, max int
}

func number(p *int, min, max int) settings.Value { return numberValue{p, min, max} }

func (v numberValue) Set(text string) error {
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("use a whole number from %d to %d", v.min, v.max)
	}
	*v.p = n
	return nil
}
func (v numberValue) String() string { return strconv.Itoa(*v.p) }
func (v numberValue) Type() string   { return "number" }

// boundedValue is a settings.Value that takes a length of time within bounds.
type boundedValue struct {
	settings.Value
	p        *time.Duration
	min, max time.Duration
}

func bounded(p *time.Duration, min, max time.Duration) settings.Value {
	return boundedValue{settings.Duration(p), p, min, max}
}

func (v boundedValue) Set(text string) error {
	if v.min == 0 && (text == "0" || text == "0s") {
		*v.p = 0
		return nil
	}
	if err := v.Value.Set(text); err != nil {
		return err
	}
	if *v.p < v.min || *v.p > v.max {
		return fmt.Errorf("use at least %v and at most %v", v.min, v.max)
	}
	return nil
}

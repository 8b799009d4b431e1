package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// benchRow is one line of the benchmark's table: a load, and how its cost is judged.
type benchRow struct {
	name  string
	title string
	plan  plan // what differs from the usual
	nodes int
	join  bool // the bare server that it is measured by joins what waits
	reach float64
}

// The goals of the row about idle connections.
const (
	idleRow         = "idle"
	idleConnections = 10_000
	idleMemory      = 12 << 10 // bytes for each connection
	idleCPU         = 0.03     // of a core
)

// benchRows are the rows that are ratios; the one about idle connections comes behind.
var benchRows = []benchRow{
	{"broadcast-1", "broadcast, 1,000 receivers, one message at a time",
		plan{Scenario: scenarioBroadcast, Connections: 1000, Senders: 1, InFlight: 1}, 1, false, 1.3},
	{"broadcast-32", "broadcast, 1,000 receivers, 32 in flight",
		plan{Scenario: scenarioBroadcast, Connections: 1000, Senders: 1, InFlight: 32}, 1, true, 2},
	{"broadcast-5000", "broadcast, 5,000 receivers, 16 in flight",
		plan{Scenario: scenarioBroadcast, Connections: 5000, Senders: 1, InFlight: 16}, 1, true, 2},
	{"groups", "1,000 groups of 10, 8 senders",
		plan{Scenario: scenarioGroups, Connections: 10_000, Senders: 8, GroupSize: 10, InFlight: 1}, 1, false, 1.4},
	{"calls", "calls (Echo), 64 connections",
		plan{Scenario: scenarioEcho, Connections: 64, InFlight: 1}, 1, false, 1.5},
	{"two-broadcast", "two nodes over Redis, broadcast to 1,000, 32 in flight",
		plan{Scenario: scenarioBroadcast, Connections: 1000, Senders: 1, InFlight: 32}, 2, true, 2},
	{"two-groups", "two nodes over Redis, 1,000 groups of 10, 8 senders",
		plan{Scenario: scenarioGroups, Connections: 10_000, Senders: 8, GroupSize: 10, InFlight: 1}, 2, false, 1.4},
}

func rowNames() []string {
	var names []string
	for _, r := range benchRows {
		names = append(names, r.name)
	}
	return append(names, idleRow)
}

func checkRow(text string) error {
	if !slices.Contains(rowNames(), text) {
		return fmt.Errorf("use one of: %s", strings.Join(rowNames(), ", "))
	}
	return nil
}

// benchmark is the benchmark under way.
type benchmark struct {
	c          *config
	bar        progress
	out        io.Writer
	server     string // the core of the servers; empty: any
	redis      *redisProcess
	Machine    machine       `json:"machine"`
	Rows       []benchResult `json:"rows"`
	shortcomes int           // rows that fall short
}

// benchResult is what came of a row.
type benchResult struct {
	Row      string    `json:"row"`
	Title    string    `json:"title"`
	Bare     float64   `json:"bare"`  // microseconds of CPU for each delivered, median
	Node     float64   `json:"node"`  // the same, of all nodes together
	Redis    float64   `json:"redis"` // the same, of Redis while the nodes had their turn
	Ratio    float64   `json:"ratio"`
	Ratios   []float64 `json:"ratios"` // of each round
	Reach    float64   `json:"reach"`
	Memory   float64   `json:"memory,omitempty"` // idle: bytes for each connection
	Share    float64   `json:"share,omitempty"`  // idle: of a core
	Results  []*result `json:"results"`
	Failures []string  `json:"failures"`
}

// benchTurn are the targets of a row.
type benchTurn struct {
	bare, node target
	stops      []func()
}

// bench measures the rows asked for and prints the table.
func bench(ctx context.Context, c *config, stdout, stderr io.Writer) error {
	b := &benchmark{c: c, bar: progress{out: stderr, terminal: isTerminal(stderr)}, Machine: thisMachine()}
	if c.quiet {
		b.bar.out = nil
	}
	if _, err := os.Stat(c.node); err != nil {
		return &usageError{fmt.Errorf("--node: %w; build it first (make build)", err)}
	}
	if cores := runtime.NumCPU(); c.pin && cores > 1 {
		b.server = "0"
		if err := bind(cores - 1); err != nil {
			return fmt.Errorf("keeping to one core: %w; use --pin=false", err)
		}
		runtime.GOMAXPROCS(1)
	}
	defer func() {
		if b.redis != nil {
			b.redis.stop()
		}
	}()
	b.out = stdout
	b.line("scenario", "bare", "node", "redis", "ratio", "rounds", "reach")
	start := time.Now()
	for _, r := range benchRows {
		if len(c.rows) > 0 && !slices.Contains(c.rows, r.name) {
			continue
		}
		if err := b.measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if len(c.rows) == 0 || slices.Contains(c.rows, idleRow) {
		if err := b.idle(ctx); err != nil {
			return fmt.Errorf("%s: %w", idleRow, err)
		}
	}
	fmt.Fprintf(stdout, "CPU time of the servers for each message delivered, or call; medians of %s; took %.0f s\n",
		count(c.rounds, "round", "interleaved rounds"), time.Since(start).Seconds())
	return b.finish(stdout)
}

func (b *benchmark) finish(stdout io.Writer) error {
	failed := false
	for _, r := range b.Rows {
		for _, f := range r.Failures {
			fmt.Fprintf(stdout, "FAILED  %s: %s\n", r.Row, f)
			failed = true
		}
	}
	if b.shortcomes > 0 {
		fmt.Fprintf(stdout, "%s short of what is to be reached\n", count(b.shortcomes, "row falls", "rows fall"))
	}
	if b.c.json != "" {
		text, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.c.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// usual fills in what all rows have in common.
func (b *benchmark) usual(p plan) plan {
	usual := newConfig(commandRun)
	if err := usual.table.Load(nil, nil); err != nil {
		panic("loadtest: the defaults do not load: " + err.Error())
	}
	q := usual.plan
	q.Scenario, q.Connections, q.Senders, q.InFlight = p.Scenario, p.Connections, p.Senders, p.InFlight
	if p.GroupSize > 0 {
		q.GroupSize = p.GroupSize
	}
	q.Duration = b.c.plan.Duration
	q.Timeout = time.Minute
	return q
}

// measure gives the bare server and the nodes their turns.
func (b *benchmark) measure(ctx context.Context, r benchRow) error {
	t, err := b.start(ctx, r)
	if t != nil {
		defer t.stop()
	}
	if err != nil {
		return err
	}
	res := benchResult{Row: r.name, Title: r.title, Reach: r.reach}
	var bare, node, redis []float64
	for round := range b.c.rounds {
		for _, tgt := range []target{t.bare, t.node} {
			got, err := b.turn(ctx, r.plan, tgt, round)
			if err != nil {
				return fmt.Errorf("%s: %w", tgt.name, err)
			}
			res.Results = append(res.Results, got)
			res.Failures = append(res.Failures, got.complaints()...)
			if tgt.name == t.bare.name {
				bare = append(bare, got.perMessage())
				continue
			}
			node, redis = append(node, got.perMessage()), append(redis, got.beside())
			res.Ratios = append(res.Ratios, node[round]/bare[round])
		}
	}
	res.Bare, res.Node, res.Redis = median(bare), median(node), median(redis)
	res.Ratio = res.Node / res.Bare
	b.report(res)
	return nil
}

// line prints a line of the table as soon as it is known.
func (b *benchmark) line(title string, cells ...string) {
	fmt.Fprintf(b.out, "%-56s", title)
	for i, c := range cells {
		width := 10
		if i == 4 {
			width = 13
		}
		if i == len(cells)-1 {
			fmt.Fprintf(b.out, "  %s\n", c)
			return
		}
		fmt.Fprintf(b.out, "%*s", width, c)
	}
}

// turn runs a plan against a target.
func (b *benchmark) turn(ctx context.Context, p plan, t target, round int) (*result, error) {
	q := b.usual(p)
	q.Run = uint32(time.Now().UnixNano())
	var r reach
	q.URLs, q.SenderURLs = t.urls, t.senderURLs
	if err := r.plan(&q, 1, io.Discard); err != nil {
		return nil, err
	}
	res, err := run(ctx, q, t, r, b.bar)
	if err == nil {
		res.Round = round + 1
	}
	return res, err
}

// report prints a row.
func (b *benchmark) report(res benchResult) {
	b.Rows = append(b.Rows, res)
	redis := "–"
	if res.Redis > 0 {
		redis = fmt.Sprintf("%.2f µs", res.Redis)
	}
	mark := ""
	if res.Ratio > res.Reach {
		mark, b.shortcomes = "  short", b.shortcomes+1
	}
	b.line(res.Title, fmt.Sprintf("%.2f µs", res.Bare), fmt.Sprintf("%.2f µs", res.Node), redis, fmt.Sprintf("%.2f", res.Ratio),
		fmt.Sprintf("%.2f – %.2f", slices.Min(res.Ratios), slices.Max(res.Ratios)), fmt.Sprintf("≤ %.1f%s", res.Reach, mark))
}

// idle measures connections that do nothing but live, each of another user, with presence in Redis.
func (b *benchmark) idle(ctx context.Context) error {
	t, err := b.start(ctx, benchRow{nodes: 1, name: idleRow})
	if t != nil {
		defer t.stop()
	}
	if err != nil {
		return err
	}
	c := *b.c
	c.plan.Duration = b.c.idle
	of := &benchmark{c: &c, bar: b.bar}
	res, err := of.turn(ctx, plan{Scenario: scenarioIdle, Connections: idleConnections}, t.node, 0)
	if err != nil {
		return err
	}
	memory, share := res.perConnection(), res.share()
	b.Rows = append(b.Rows, benchResult{
		Row: idleRow, Title: "idle", Memory: memory, Share: share, Results: []*result{res}, Failures: res.complaints(),
	})
	line := func(what, value, reach string, short bool) {
		if short {
			reach += "  short"
			b.shortcomes++
		}
		b.line(fmt.Sprintf("idle, %s connections, presence on: %s", thousands(idleConnections), what), "–", value, "–", "–", "–", "≤ "+reach)
	}
	line("memory of each", kibibytes(memory), kibibytes(idleMemory), memory > idleMemory)
	line("CPU", fmt.Sprintf("%.1f %%", 100*share), fmt.Sprintf("%.0f %%", 100*idleCPU), share > idleCPU)
	return nil
}

// start starts what a row needs: a bare server for each node, the nodes, and Redis.
func (b *benchmark) start(ctx context.Context, r benchRow) (*benchTurn, error) {
	t := &benchTurn{bare: target{name: "bare"}, node: target{name: "node"}}
	redis := ""
	if r.nodes > 1 || r.name == idleRow {
		if b.redis == nil {
			var err error
			if b.redis, err = startRedis(ctx, b.server); err != nil {
				return t, err
			}
		}
		redis = b.redis.url
		t.node.beside = []int{b.redis.pid()}
	}
	for range r.nodes {
		if r.name != idleRow {
			p, err := startBare(ctx, r.join, redis, b.server)
			if err != nil {
				return t, err
			}
			t.stops = append(t.stops, p.stop)
			t.bare.urls, t.bare.pids = append(t.bare.urls, p.url), append(t.bare.pids, p.pid())
		}
		n, err := startNode(ctx, b.c.node, redis, b.server)
		if err != nil {
			return t, err
		}
		t.stops = append(t.stops, n.stop)
		t.node.urls, t.node.pids = append(t.node.urls, n.url), append(t.node.pids, n.pid())
	}
	if r.nodes > 1 {
		t.bare.senderURLs, t.node.senderURLs = t.bare.urls[:1], t.node.urls[:1]
	}
	return t, nil
}

func (t *benchTurn) stop() {
	for _, stop := range slices.Backward(t.stops) {
		stop()
	}
}

// beside is the CPU time of what was measured beside the target for each message delivered, in microseconds.
func (r *result) beside() float64 {
	sum := 0.0
	for _, u := range r.Processes {
		if u.Beside {
			sum += u.PerMessage
		}
	}
	return sum
}

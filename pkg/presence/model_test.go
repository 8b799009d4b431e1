package presence

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

var (
	modelHistories = flag.Int("histories", 0, "how many random histories TestModel runs; 0: as many as 5 s allow")
	modelSeed      = flag.Uint64("seed", 0, "seed of the first history; 0: a random one")
	modelSteps     = flag.Int("steps", 120, "steps of each history")
)

// modelClock is what stands in the place of clock.lua: a clock and a server that the test moves.
const modelClock = `
local function micros() return tonumber(redis.call('GET', 'clock')) end
local function server() return redis.call('GET', 'server') end
`

// TestModel leads the scripts, and the ledgers and followers that use them, through random histories of one partition on a real
// Redis: nodes crash, stop and go on, lose their leases; calls are lost, doubled and delayed, replies lost; Redis falls back to an
// older state or loses everything. After each step the state must be that of a model, and every invariant hold.
//
// A failure prints the seed that repeats it: go test ./pkg/presence -run TestModel -histories 1 -seed N
func TestModel(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t, nil)
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64() % 1e9
	}
	deadline := time.Now().Add(5 * time.Second)
	n, steps, kinds := 0, 0, make(map[string]int)
	for ; n < *modelHistories || *modelHistories == 0 && time.Now().Before(deadline); n++ {
		w := newWorld(t, client, seed+uint64(n))
		w.run(*modelSteps)
		steps += w.steps
		for kind, count := range w.kinds {
			kinds[kind] += count
		}
		if t.Failed() {
			t.Fatalf("history %d failed; repeat it with -histories 1 -seed %d -steps %d\n%s", n, seed+uint64(n), *modelSteps, strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
		}
	}
	t.Logf("%d histories from seed %d, %d calls: %v", n, seed, steps, kinds)
}

// simNode is a node of the model. What it knows is as in the tracker; how it gets to know it is the world's business.
type simNode struct {
	id      string
	ledger  ledger
	number  uint64
	until   int64 // by its own reckoning
	members map[string]*member
	claimed map[string]bool // connections whose coming Redis has confirmed, as long as that counts
	joined  bool            // a batch of the present incarnation was confirmed
	crashed bool
	paused  bool
	cut     bool // cannot reach Redis
	ticked  int64
	slow    uint64           // the incarnation that was slow to announce its connections, once
	dead    map[string]int64 // incarnations seen without a lease, since when
	sweeps  []*simSweep
}

// simSweep is a sweep under way: what it has read may be old when it goes on.
type simSweep struct {
	incarnation string
	own         bool
	pairs       []string
}

func (n *simNode) healthy() bool { return !n.crashed && !n.paused && !n.cut }

type simLease struct {
	number uint64
	until  int64
}

// simCall is a call of a script on its way.
type simCall struct {
	kind   string
	script script
	keys   []string
	args   []any
	node   *simNode
	batch  *batch
	m      mark
}

// Times of the model, ms.
const (
	simGrace    int64 = 5000
	simLife     int64 = 5000
	simInterval int64 = 1500
	simGap      int64 = 3000
)

type world struct {
	t       *testing.T
	client  *redis.Client
	chance  *rand.Rand
	scripts scripts
	keys    keys

	now     int64 // µs
	server  int
	nodes   []*simNode
	named   int
	opened  int
	leases  map[string]simLease
	late    []simCall
	ref     *reference
	saved   []saved
	watcher simWatcher

	dumper string // the script that says what Redis holds
	state  string // what it held after the last call

	steps int
	kinds map[string]int
	story []string
}

type saved struct {
	keys   map[string]string
	ref    *reference
	leases map[string]simLease
}

func newWorld(t *testing.T, client *redis.Client, seed uint64) *world {
	w := &world{
		t: t, client: client, chance: rand.New(rand.NewPCG(seed, 0)), scripts: newScripts(modelClock), keys: newKeys("m:", 0),
		now: time.Now().UnixMicro(), leases: make(map[string]simLease), ref: newReference(), kinds: make(map[string]int),
	}
	w.redis(client.FlushDB(context.Background()).Err())
	for _, text := range []string{w.scripts.apply.text, w.scripts.tick.text, w.scripts.sweep.text} {
		w.redis(client.ScriptLoad(context.Background(), text).Err())
	}
	w.dumper = client.ScriptLoad(context.Background(), dumpScript).Val()
	for range 3 {
		w.addNode()
	}
	return w
}

func (w *world) redis(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatalf("Redis: %v\n%s", err, strings.Join(w.story, "\n"))
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf(format, args...)
	w.note("FAILED: "+format, args...)
}

func (w *world) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%8.3f ", float64(w.now%1e10)/1e6)+fmt.Sprintf(format, args...))
}

func (w *world) ms() int64 { return w.now / 1000 }

func (w *world) addNode() {
	w.named++
	n := &simNode{id: fmt.Sprintf("n%d", w.named), members: make(map[string]*member), claimed: make(map[string]bool), dead: make(map[string]int64)}
	n.ledger.keys, n.ledger.most = w.keys, 2 // so that an announcement takes several
	w.nodes = append(w.nodes, n)
	w.note("%s starts", n.id)
}

// run lives one history.
func (w *world) run(steps int) {
	for range steps {
		if w.t.Failed() {
			return
		}
		w.step()
	}
	w.rest()
}

// any is a node that has not crashed.
func (w *world) any() *simNode {
	for {
		if n := w.nodes[w.chance.IntN(len(w.nodes))]; !n.crashed {
			return n
		}
	}
}

func (w *world) step() {
	n := w.any()
	p := w.chance.IntN(100)
	switch {
	case p < 18:
		w.connect(n)
	case p < 30:
		w.disconnect(n)
	case p < 46:
		w.send(n)
	case p < 52:
		w.runLate()
	case p < 58:
		w.tick(n)
	case p < 70:
		w.sweep(n)
	case p < 88:
		w.pass(int64(w.chance.IntN(1000)))
	case p < 90:
		w.pass(int64(5000 + w.chance.IntN(7000)))
	case p < 92:
		n.paused = !n.paused
		w.note("%s paused: %v", n.id, n.paused)
	case p < 94:
		n.cut = !n.cut
		w.note("%s cut: %v", n.id, n.cut)
	case p < 95:
		w.crash(n)
	case p < 97:
		w.save()
	case p < 98:
		w.revert()
	default:
		w.watcher.look(w)
	}
}

func (w *world) connect(n *simNode) {
	if n.paused {
		return
	}
	w.opened++
	m := &member{Connection: Connection{ID: fmt.Sprintf("c%d", w.opened), User: string(rune('a' + w.chance.IntN(4)))}}
	if w.chance.IntN(8) == 0 {
		m.User = ""
	}
	n.members[m.ID] = m
	n.ledger.tell(change{m, true})
	w.note("%s + %s of %q", n.id, m.ID, m.User)
}

func (w *world) disconnect(n *simNode) {
	ids := slices.Sorted(maps.Keys(n.members))
	if n.paused || len(ids) == 0 {
		return
	}
	m := n.members[ids[w.chance.IntN(len(ids))]]
	delete(n.members, m.ID)
	m.left = true
	n.ledger.tell(change{m, false})
	w.note("%s - %s of %q", n.id, m.ID, m.User)
}

// crash ends a node for good; another comes in its place.
func (w *world) crash(n *simNode) {
	n.crashed = true
	clear(n.members)
	w.note("%s crashes", n.id)
	w.addNode()
}

// pass lets time pass. Nodes that are well do in it what they have to do.
func (w *world) pass(ms int64) {
	for ms > 0 && !w.t.Failed() {
		d := min(ms, 500)
		ms -= d
		w.now += d*1000 + 1
		for _, n := range w.nodes {
			if n.crashed || n.paused {
				continue
			}
			w.holds(n)
			if !n.healthy() || w.ms()-n.ticked < simInterval-500 {
				continue
			}
			w.renew(n)
			for range 4 { // a new incarnation asks for the time first
				w.tick(n)
				sends := 20
				if n.slow != n.number && w.chance.IntN(2) == 0 {
					n.slow, sends = n.number, 1 // the rest comes the next time
				}
				for range sends {
					if n.ledger.pending() == 0 && n.ledger.done {
						break
					}
					w.send(n)
				}
				if n.ledger.done || sends == 1 {
					break
				}
			}
		}
	}
}

func (w *world) save() {
	ctx := context.Background()
	s := saved{keys: make(map[string]string), ref: w.ref.clone(), leases: maps.Clone(w.leases)}
	names, err := w.client.Keys(ctx, "m:*").Result()
	w.redis(err)
	for _, name := range names {
		if s.keys[name], err = w.client.Dump(ctx, name).Result(); err != nil {
			w.redis(err)
		}
	}
	w.saved = append(w.saved, s)
	w.note("a replica has got all until here")
}

// revert makes Redis a replica that has not got the last writes, or none at all.
func (w *world) revert() {
	ctx := context.Background()
	w.redis(w.client.FlushDB(ctx).Err())
	w.server++
	w.now += 1000
	w.kinds["reverted"]++
	defer func() {
		for _, n := range w.nodes {
			if n.number == 0 || w.ms() >= n.until {
				w.prune(n)
			}
		}
	}()
	if len(w.saved) == 0 || w.chance.IntN(3) == 0 {
		w.note("Redis comes back empty")
		w.ref, w.leases, w.saved, w.state = newReference(), make(map[string]simLease), nil, ""
		return
	}
	i := len(w.saved) - 1 - w.chance.IntN(min(2, len(w.saved)))
	s := w.saved[i]
	w.saved = w.saved[:i+1]
	w.note("Redis falls back to an older state")
	pipe := w.client.Pipeline()
	for name, dump := range s.keys {
		ttl := 24 * time.Hour
		if strings.Contains(name, ":u:") || strings.Contains(name, ":n:") || strings.HasSuffix(name, ":inc") {
			ttl = 0
		}
		pipe.Restore(ctx, name, ttl, dump)
	}
	_, err := pipe.Exec(ctx)
	w.redis(err)
	w.ref, w.leases = s.ref.clone(), maps.Clone(s.leases)
	w.state = w.client.EvalSha(ctx, w.dumper, []string{"m:*"}).Val().(string)
}

// rest lets everything come to rest, and compares what is known with what is true; then it lets all leave.
func (w *world) rest() {
	if w.t.Failed() {
		return
	}
	w.note("all is well again")
	for _, n := range w.nodes {
		n.paused, n.cut = false, false
	}
	settle := func() {
		for range 30 {
			w.pass(1000)
			for _, n := range w.nodes {
				for range 4 {
					w.sweep(n)
				}
			}
			w.watcher.look(w)
		}
	}
	settle()
	truth := make(map[string]bool)
	for _, n := range w.nodes {
		for _, m := range n.members {
			if m.User != "" {
				truth[m.User] = true
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(w.ref.on)), slices.Sorted(maps.Keys(truth)); !slices.Equal(got, want) {
		w.fail("at rest %v are online; true is %v", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(w.watcher.online)), slices.Sorted(maps.Keys(truth)); !slices.Equal(got, want) {
		w.fail("at rest the watcher was told that %v are online; true is %v", got, want)
	}
	for _, n := range w.nodes {
		for len(n.members) > 0 {
			w.disconnect(n)
		}
	}
	settle()
	// They leave as a node does: with a sweep of themselves.
	for _, n := range w.nodes {
		for inc := range w.ref.inc {
			if nodeOf(inc) == n.id {
				w.exec(simCall{kind: "sweep", script: w.scripts.sweep, keys: append(slices.Clone(w.keys.common), w.keys.node(inc)), args: []any{inc, simGrace, simGap, int64(0)}, node: n})
			}
		}
	}
	names, err := w.client.Keys(context.Background(), "m:*").Result()
	w.redis(err)
	for _, name := range names {
		if ttl, err := w.client.PTTL(context.Background(), name).Result(); err != nil || ttl <= 0 || ttl > 25*time.Hour {
			w.fail("when all have left, %s stays for %v, %v", name, ttl, err)
		}
	}
	if len(w.ref.on) > 0 || len(w.ref.due) > 0 {
		w.fail("when all have left, %v are online and %v are leaving", w.ref.on, w.ref.due)
	}
}

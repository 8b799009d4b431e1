package clustertest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
)

var (
	seed        = flag.Uint64("seed", 0, "of what happens; 0 takes a new one")
	duration    = flag.Duration("duration", 0, "begin no round after this time; 0 has only the rounds that are always had")
	connections = flag.Int("connections", 240, "`number` of clients")
	users       = flag.Int("users", 60, "`number` of users that they share")
	verbose     = flag.Bool("rounds", false, "say what each round was and how long it took")
)

// TestCluster is described at the top of the package.
func TestCluster(t *testing.T) {
	w := newWorld(t)
	faults := []fault{calm, kill, restartRedis}
	if *duration > 0 {
		faults = append(faults, stop, pause, calm)
	}
	for n := 0; ; n++ {
		f := []fault{calm, kill, kill, stop, pause, restartRedis}[w.rng.IntN(6)]
		if n < len(faults) {
			f = faults[n]
		} else if w.model.now() > *duration {
			w.finish()
			return
		}
		w.round(f)
		if w.model.failed() {
			return // what follows would only confuse
		}
	}
}

// A world is a cluster, those who act in it, and the truth.
type world struct {
	t          *testing.T
	seed       uint64
	users      int
	broadcasts float64 // share of steps
	rng        *rand.Rand
	fleet      *fleet
	model      *model
	actors     []*actor
	watchers   []*watcher
	steps      *counter

	disturbed atomic.Bool          // something is, or was in this round, done to the cluster
	struck    atomic.Pointer[node] // that something was done to in this round
	drains    atomic.Bool          // a node has been asked to stop in this round

	mu       sync.Mutex
	suspects []suspicion
	rounds   int
	blind    int // rounds in which less is shown, because a node was in trouble by itself
}

// roundSteps is how many things each actor does in a round.
const roundSteps = 4

func newWorld(t *testing.T) *world {
	w := &world{t: t, seed: *seed, users: *users, model: newModel()}
	for w.seed == 0 {
		w.seed = rand.Uint64() >> 32
	}
	again := fmt.Sprintf("make cluster-test SEED=%d", w.seed)
	fmt.Printf("TestCluster: seed %d\n", w.seed)
	dir, err := os.MkdirTemp("", "clustertest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range w.model.problems {
			t.Error(p)
		}
		if !t.Failed() {
			_ = os.RemoveAll(dir)
			return
		}
		t.Logf("the nodes' logs are in %s; again: %s", dir, again)
	})
	w.rng = rand.New(rand.NewPCG(w.seed, 1<<40))
	w.broadcasts = 8.0 / float64(*connections*roundSteps) // of either kind, whatever the number of receivers
	w.fleet = startFleet(t, 3, true, dir)
	w.model.start = time.Now()
	for i := range *connections {
		w.actors = append(w.actors, newActor(w, i))
	}
	for _, n := range w.fleet.nodes {
		w.watchers = append(w.watchers, newWatcher(w, "the watcher "+n.name))
	}
	t.Cleanup(w.disconnect)
	return w
}

// room picks one: as many members are in each, whatever the number of clients.
func (w *world) room(rng *rand.Rand) string { return fmt.Sprintf("r%d", rng.IntN(1+*connections/10)) }

// quiet says whether nothing is being done to the cluster.
func (w *world) quiet() bool { return !w.disturbed.Load() }

// atOnce is how many actors act at a time: enough to keep the nodes busy.
const atOnce = 48

// all lets every actor do something.
func (w *world) all(do func(*actor)) {
	slots := make(chan struct{}, atOnce)
	var everybody sync.WaitGroup
	for _, a := range w.actors {
		everybody.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			do(a)
		})
	}
	everybody.Wait()
}

// round lets everybody act while a fault takes its course, brings all to rest, and checks.
func (w *world) round(f fault) {
	start := w.model.now()
	w.model.note("round %q", f.name)
	for _, a := range w.actors {
		if a.away && a.rng.IntN(2) == 0 {
			a.away = false
		}
	}
	for range 1 + w.users/50 { // these go offline
		user := fmt.Sprintf("u%d", w.rng.IntN(w.users))
		for _, a := range w.actors {
			a.away = a.away || a.user == user
		}
	}
	before := w.fleet.read()
	w.all((*actor).settle)
	w.steps = newCounter(len(w.actors) * roundSteps)
	var course sync.WaitGroup
	if f.run != nil {
		w.disturbed.Store(true)
		course.Go(func() { f.run(w) })
	}
	slots := make(chan struct{}, atOnce)
	var everybody sync.WaitGroup
	for _, a := range w.actors {
		everybody.Go(func() {
			for range roundSteps {
				slots <- struct{}{}
				a.step()
				<-slots
				w.steps.add()
			}
		})
	}
	everybody.Wait()
	acted := w.model.now()
	course.Wait()
	w.fleet.awaitWhole()
	w.all((*actor).settle)
	settled := w.model.now()
	w.disturbed.Store(false)
	w.model.note("at rest")
	w.checkPresence()
	present := w.model.now()
	w.judge(start, before)
	w.model.check()
	w.struck.Store(nil)
	w.drains.Store(false)
	if *verbose {
		w.model.mu.Lock()
		sent, got := len(w.model.messages)-w.model.round, 0
		for _, c := range w.model.conns {
			got += len(c.log)
		}
		w.model.mu.Unlock()
		fmt.Printf("%8s %-14s %6d sent %7d received, acting %s, settling %s, presence %s, checking %s\n", seconds(start), f.name, sent, got,
			seconds(acted-start), seconds(settled-acted), seconds(present-settled), seconds(w.model.now()-present))
	}
	w.model.endRound()
}

// judge turns what should not have happened into problems, unless the node has counted that it was in trouble: on a machine without
// time for anything, Redis' answers may be too late, and to a node that was paused they are.
func (w *world) judge(start moment, before map[string]reading) {
	w.mu.Lock()
	suspects := w.suspects
	w.suspects = nil
	w.mu.Unlock()
	w.rounds++
	end := w.model.now()
	away, blind := w.model.wasAway(start, end), false
	clear(w.model.troubled)
	leaseless := map[string]bool{}
	for process, r := range w.fleet.read() {
		since := r.since(before[process])
		leaseless[process] = since.leases > 0 && !away // an empty Redis changes nobody's state
		trouble := since.trouble()
		if trouble == "" || away {
			continue
		}
		w.model.troubled[process] = true
		w.model.note("%s", trouble)
		if struck := w.struck.Load(); struck != nil && process == struck.process() {
			continue
		}
		blind = true
		fmt.Printf("TestCluster: in the round from %s to %s, %s, and nothing was done to it: what failed or was lost there is not held against it\n",
			seconds(start), seconds(end), trouble)
	}
	if blind {
		w.blind++
	}
	for _, s := range suspects {
		if !s.excused(w.model.troubled, leaseless) {
			w.model.problem("%s", s.text)
		}
	}
}

// A suspicion is something that should not happen to clients of a node that works.
type suspicion struct {
	nodes []string // that all must have been in trouble, or it is a problem; an empty name means any node
	lease bool     // no trouble but a lost lease excuses it: presence depends on nothing else
	text  string
}

// excused says whether a suspicion is none, given the processes that were in trouble and those that lost a lease.
func (s suspicion) excused(troubled, leaseless map[string]bool) bool {
	excuses := troubled
	if s.lease {
		excuses = leaseless
	}
	for _, node := range s.nodes {
		if node == "" && len(troubled) == 0 || node != "" && !excuses[node] {
			return false
		}
	}
	return true
}

func (w *world) suspect(s suspicion, format string, args ...any) {
	s.text = fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspects = append(w.suspects, s)
}

// holdTime is how long it may take until nodes have told an empty Redis which stateful connections they have.
const holdTime = 3 * time.Second

// lost judges whether a connection may have been lost: when something was done to it, or to a node on its way.
func (w *world) lost(c *conn, why error) {
	c.mu.Lock()
	doomed, cuts, cut := c.doomed, c.cuts, c.cut
	c.mu.Unlock()
	if doomed != "" {
		return
	}
	if cuts > 0 && w.model.wasAway(cut-holdTime, w.model.now()) {
		return // who has it is not known without Redis
	}
	if struck := w.struck.Load(); struck != nil && c.dependsOn(struck) {
		return
	}
	if w.drains.Load() && errors.Is(why, client.ErrServerClosed) {
		return // it came through that node, since Redis was slow to say that it may be new, and its owner has sent it away
	}
	w.model.problem("%v was lost, and nothing was done to it: %v\n\tits node logged: %s", c, why, w.fleet.grep(c.id, 5))
}

func (w *world) disconnect() {
	w.all((*actor).disconnect)
	for _, v := range w.watchers {
		v.stop()
	}
}

// finish lets everybody leave, and stops the nodes.
func (w *world) finish() {
	w.disconnect()
	w.fleet.each((*node).stop)
	w.fleet.checkLogs()
	if w.blind > w.rounds/2 {
		w.t.Errorf("in %d of %d rounds nodes were in trouble by themselves: the machine is too busy for this test to show anything", w.blind, w.rounds)
	}
}

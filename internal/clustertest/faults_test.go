package clustertest

import (
	"sync"
	"time"
)

// A fault is something that is done to the cluster while everybody acts. It is over when run returns.
type fault struct {
	name string
	run  func(w *world)
}

var (
	calm         = fault{name: "calm"}
	kill         = fault{"kill", runKill}
	stop         = fault{"stop", runStop}
	pause        = fault{"pause", runPause}
	restartRedis = fault{"restart Redis", runRestartRedis}
)

// runKill kills a node, and starts it again when others have done without it for a while.
func runKill(w *world) {
	n := w.strike()
	w.at(0.2)
	w.model.note("%s killed", n.process())
	n.kill()
	w.at(0.6)
	w.start(n)
}

// runStop stops a node as an operator does.
func runStop(w *world) {
	n := w.strike()
	w.at(0.2)
	w.model.note("%s asked to stop", n.process())
	w.drains.Store(true)
	n.stop()
	w.model.note("%s has stopped", n.process())
	w.at(0.6)
	w.start(n)
}

// pauseTime is longer than a node's lease.
const pauseTime = 7 * time.Second

// runPause lets a node say nothing for a while. Its clients stay, and what is for them comes late.
func runPause(w *world) {
	n := w.strike()
	w.at(0.2)
	w.model.note("%s paused", n.process())
	n.pause()
	<-time.After(pauseTime) // the fault itself
	n.resume()
	w.model.note("%s goes on", n.process())
}

// maxOutage bounds the time without Redis: calls that wait for it would stretch it for ever.
const maxOutage = 3 * time.Second

// runRestartRedis kills Redis, and starts it again with nothing in it. No connection may be lost.
func runRestartRedis(w *world) {
	w.at(0.3)
	end := w.model.outage()
	defer end()
	w.model.note("Redis killed")
	w.fleet.redis.Stop()
	w.atMost(0.6, maxOutage)
	w.fleet.redis.Restart()
	w.model.note("Redis back")
	w.fleet.awaitWhole()
	w.model.note("all nodes have Redis again")
}

// strike picks the node that something is done to.
func (w *world) strike() *node {
	n := w.fleet.nodes[w.rng.IntN(len(w.fleet.nodes))]
	w.struck.Store(n)
	return n
}

func (w *world) start(n *node) {
	n.start()
	w.model.note("%s started", n.process())
}

// at waits until so much of the round's steps has been done.
func (w *world) at(part float64) { <-w.steps.reached(part) }

func (w *world) atMost(part float64, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.steps.reached(part):
	case <-timer.C:
	}
}

// A counter counts to an end, and tells when it has come to parts of it.
type counter struct {
	mu    sync.Mutex
	n     int
	of    int
	marks []mark
}

type mark struct {
	at      int
	reached chan struct{}
}

func newCounter(of int) *counter { return &counter{of: of} }

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.tell()
}

// reached is closed when so much has been counted.
func (c *counter) reached(part float64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := mark{int(part * float64(c.of)), make(chan struct{})}
	c.marks = append(c.marks, m)
	c.tell()
	return m.reached
}

func (c *counter) tell() {
	waiting := c.marks[:0]
	for _, m := range c.marks {
		if c.n >= m.at {
			close(m.reached)
		} else {
			waiting = append(waiting, m)
		}
	}
	c.marks = waiting
}

package cluster

import (
	"context"
	_ "embed" // the scripts
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultLease is how long a lease lasts after its last renewal.
const DefaultLease = 5 * time.Second

var (
	//go:embed lease.lua
	leaseScript string
	//go:embed nodes.lua
	nodesScript string
	//go:embed listed.lua
	listedScript string
)

// Hooks tell an observer what happens. Nil ones are skipped. They must return at once.
type Hooks struct {
	// LeaseLost is called when this node has lost its lease, or given it up, after it had held it for so long.
	LeaseLost func(held time.Duration)
}

// entry is what Redis holds about a node.
type entry struct {
	Lease uint64 `json:"lease"`
	NodeInfo
}

// lease is this node's place in the cluster. A node may hold many leases one after the other; each is known by the node's id and a
// number, which together are its incarnation. A lease that was lost never comes back.
type lease struct {
	nodeID string
	life   time.Duration
	log    *slog.Logger
	hooks  Hooks

	mu      sync.Mutex
	number  uint64        // of the lease that is held; 0 for none
	last    uint64        // number of the last lease that was held
	taken   time.Time     // when the node took it
	since   time.Time     // since when Redis is known to have kept it
	until   time.Time     // when it ends unless it is renewed
	changed chan struct{} // closed and replaced when number changes
}

// held is the number of the lease that is held at the moment; 0 for none. l.mu must be held.
func (l *lease) held() uint64 {
	if l.number != 0 && !time.Now().Before(l.until) {
		l.drop("it was not renewed in time")
	}
	return l.number
}

// drop ends the lease. The log hears why, unless that is empty. l.mu must be held.
func (l *lease) drop(why string) {
	if l.number == 0 {
		return
	}
	if why != "" {
		l.log.Warn("the node has lost its lease: other nodes may count it as gone until it has another", "cause", why,
			"incarnation", incarnationOf(l.nodeID, l.number), "held", time.Since(l.taken).Round(time.Millisecond))
	}
	l.number = 0
	l.change()
	if l.hooks.LeaseLost != nil {
		l.hooks.LeaseLost(time.Since(l.taken))
	}
}

// change wakes whoever waits for a change. l.mu must be held.
func (l *lease) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// ask puts the renewal into a pipeline. It returns what to call with the moment before the pipeline was sent, once it has been answered.
func (l *lease) ask(ctx context.Context, pipe redis.Pipeliner, keys leaseKeys, info NodeInfo) (answered func(sent time.Time) error) {
	l.mu.Lock()
	held, next := l.held(), l.last+1
	l.mu.Unlock()
	kept, _ := json.Marshal(entry{held, info}) // strings and a time of this age always encode
	taken, _ := json.Marshal(entry{next, info})
	reply := pipe.Eval(ctx, leaseScript, []string{keys.node}, held, next, kept, taken, l.life.Milliseconds())
	listed := pipe.Eval(ctx, nodesScript, []string{keys.nodes}, l.nodeID, l.life.Milliseconds())
	return func(sent time.Time) error {
		number, err := reply.Int64()
		if err == nil {
			err = listed.Err()
		}
		if err != nil {
			return err
		}
		return l.answered(sent, held, next, uint64(number))
	}
}

// answered notes the reply to a question that was sent then.
func (l *lease) answered(sent time.Time, held, next, number uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case number == held && held != 0:
		// It may have been given up, or have run out by our clock, meanwhile. Then it is not taken up again.
		if l.held() == held {
			l.until = sent.Add(l.life)
		}
	case number == next:
		l.drop("Redis has forgotten it")
		l.number, l.last = next, next
		l.taken, l.since, l.until = time.Now(), time.Now(), sent.Add(l.life)
		l.change()
	default:
		// Only this process has this id, so a higher number can only be one of ours that was forgotten with a reply. It cannot be used:
		// what was sent under it is not known.
		l.drop("Redis knows of a later one")
		l.last++
		return fmt.Errorf("redis does not take the lease %d of node %s", next, l.nodeID)
	}
	return nil
}

// doubt says that Redis may have forgotten the lease: whatever depends on its memory starts to count anew.
func (l *lease) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
}

// Lease is this node's place in the cluster at the moment: its incarnation, which changes whenever a lease was lost and a new one
// taken, and is never used again; and since when Redis is known to have kept it. ok is false while it holds none: then other
// nodes may count it as gone.
//
// An incarnation is the node's id, "#" and a number.
func (c *Redis) Lease() (incarnation string, since time.Time, ok bool) {
	l := &c.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	number := l.held()
	if number == 0 {
		return "", time.Time{}, false
	}
	return incarnationOf(l.nodeID, number), l.since, true
}

// LeaseChanged is closed when what Lease says will have changed. A lease that ends because Redis is away is noticed within a second
// or two; Lease knows at once.
func (c *Redis) LeaseChanged() <-chan struct{} {
	c.lease.mu.Lock()
	defer c.lease.mu.Unlock()
	return c.lease.changed
}

// Renounce gives up an incarnation, if that is the one held. Another is taken as soon as Redis can be asked.
func (c *Redis) Renounce(incarnation string) {
	l := &c.lease
	l.mu.Lock()
	if number := l.held(); number != 0 && incarnationOf(l.nodeID, number) == incarnation {
		l.drop("it was given up")
	}
	l.mu.Unlock()
	c.contactNow()
}

type leaseKeys struct{ node, nodes string }

func (c *Redis) leaseKeys() leaseKeys { return leaseKeys{c.nodeKey(c.nodeID), c.nodesKey()} }

func (c *Redis) nodesKey() string { return c.prefix + "nodes" }

func incarnationOf(nodeID string, number uint64) string {
	return nodeID + "#" + strconv.FormatUint(number, 10)
}

// cutIncarnation parts an incarnation into the node's id and the number of its lease.
func cutIncarnation(incarnation string) (nodeID string, number uint64, ok bool) {
	end := strings.LastIndexByte(incarnation, '#')
	if end < 0 {
		return incarnation, 0, false
	}
	number, err := strconv.ParseUint(incarnation[end+1:], 10, 64)
	return incarnation[:end], number, err == nil
}

// checkLease says why a lease cannot be so short.
func checkLease(life, interval time.Duration) error {
	if life < 2*interval {
		return errors.New("cluster: Lease must be at least twice the Interval, or leases end between two renewals")
	}
	return nil
}

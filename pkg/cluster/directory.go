package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNodeGone is wrapped by the errors of Address for a node that has left the cluster, or never was in it.
var ErrNodeGone = errors.New("cluster: the node is gone")

const (
	// addressLife is how long an answer about a node is good before Redis is asked again. An id never gets another
	// address, so all that can change is that the node goes; whoever is sent to it then finds nobody there.
	addressLife = 2 * time.Second
)

// NodeInfo is what the directory says of a node.
type NodeInfo struct {
	// ID is the node's id. Announce ignores it: it is that of the cluster.
	ID string `json:"-"`
	// Address is the URL at which other nodes reach this one. Empty means not at all.
	Address string `json:"address"`
	// Version is what the node runs; only for people who look.
	Version string `json:"version"`
	// Started is when it did.
	Started time.Time `json:"started"`
	// Connections is how many connections it had when it last renewed its lease. Announce ignores it: see
	// RedisOptions.Connections.
	Connections int `json:"connections"`
	// Leaving says that it is about to go: no client should be sent there. Announce ignores it; see Leave.
	Leaving bool `json:"leaving,omitempty"`
}

// sortNodes puts nodes in the order of their ids.
func sortNodes(nodes []NodeInfo) {
	slices.SortFunc(nodes, func(a, b NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
}

// Announce says what this node's entry in the directory shall say from the next contact on. It is called before Run.
func (c *Redis) Announce(info NodeInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced = info
}

// Leave says in the directory, from now on, that this node is about to go. It keeps its lease until Run ends.
func (c *Redis) Leave() {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	c.contactNow()
}

func (c *Redis) nodeKey(id string) string { return c.prefix + "node:" + id }

// announcement is what the entry of this node shall say now.
func (c *Redis) announcement() NodeInfo {
	c.mu.Lock()
	info := c.announced
	info.Leaving = c.leaving
	c.mu.Unlock()
	if info.Connections = 0; c.connections != nil {
		info.Connections = c.connections()
	}
	return info
}

// remembers says whether Redis has kept the lease of this node for so long that it must know those of all others, too. A Redis
// that came back empty does not: that it does not know a node then means nothing.
func (c *Redis) remembers() bool {
	_, since, held := c.Lease()
	return held && time.Since(since) >= c.lease.life
}

// depart takes this node out of the directory.
func (c *Redis) depart() {
	l := &c.lease
	l.mu.Lock()
	had := l.last != 0
	l.drop("")
	l.mu.Unlock()
	if !had || !c.State().Up {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(c.farewell, c.timeout))
	defer cancel()
	pipe := c.client.Pipeline()
	pipe.Del(ctx, c.nodeKey(c.nodeID))
	pipe.ZRem(ctx, c.nodesKey(), c.nodeID)
	if err := exec(ctx, pipe); err != nil {
		c.log.Debug("cluster: the node's entry stays in the directory until it expires", "error", err)
	}
}

// Address is the URL at which a node is reached. It is asked of Redis every few seconds at most, and one that was known stays known
// while Redis is away. The error wraps ErrNodeGone when a Redis that can be asked does not know the node, and ErrUnavailable when
// it cannot be asked.
func (c *Redis) Address(ctx context.Context, nodeID string) (string, error) {
	last, due := c.directory.last(nodeID)
	if !due {
		return last.result(nodeID)
	}
	if last.address == "" {
		last.address = c.directory.lastSeen()[nodeID].Address
	}
	info, err := c.lookUp(ctx, nodeID)
	switch {
	case err == nil:
		last.address = info.Address
	case errors.Is(err, redis.Nil) && (last.address == "" || c.remembers()):
		last.address = ""
	case last.address != "": // Redis is away, or has lost what it knew
	default:
		return "", err
	}
	c.directory.put(nodeID, last.address)
	return last.result(nodeID)
}

// lookUp asks Redis for the entry of a node; redis.Nil says that there is none, and that the node is not listed either.
func (c *Redis) lookUp(ctx context.Context, nodeID string) (info NodeInfo, err error) {
	if state := c.State(); state.Err != nil {
		return info, fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// Our own entry is asked for in the same breath: a Redis that has just lost everything would otherwise be believed.
	pipe := c.client.Pipeline()
	theirs := pipe.Get(ctx, c.nodeKey(nodeID))
	ours := pipe.Get(ctx, c.nodeKey(c.nodeID))
	inList := c.askListed(ctx, pipe)
	if err := exec(ctx, pipe); err != nil {
		return info, c.failed(err)
	}
	listed, err := inList()
	if err != nil {
		return info, c.failed(err)
	}
	text, err := theirs.Bytes()
	if err != nil {
		if ours.Err() != nil {
			c.lease.doubt()
			c.contactNow()
		}
		if errors.Is(err, redis.Nil) && listed[nodeID] {
			err = fmt.Errorf("%w: the key %s was lost, and the node that it is about holds its lease", ErrUnavailable, c.nodeKey(nodeID))
		}
		return info, err
	}
	if err := json.Unmarshal(text, &info); err != nil || info.Address == "" {
		return info, fmt.Errorf("%w: the key %s holds no entry of a node", ErrNodeGone, c.nodeKey(nodeID))
	}
	return info, nil
}

// directory remembers where nodes are. The zero value is empty and ready.
type directory struct {
	mu    sync.Mutex
	nodes map[string]located
	seen  map[string]NodeInfo // what Nodes has found last; never changed, only replaced
}

// lastSeen are the nodes that were there when they were last asked for.
func (d *directory) lastSeen() map[string]NodeInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// saw notes the nodes that are there. keep says that there may be others, whom a Redis that has come back empty does not know yet.
func (d *directory) saw(nodes []NodeInfo, keep bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := make(map[string]NodeInfo, len(nodes))
	if keep {
		maps.Copy(seen, d.seen)
	}
	for _, n := range nodes {
		seen[n.ID] = n
	}
	d.seen = seen
}

// located is what was found out about a node.
type located struct {
	address string // empty: it is gone
	asked   time.Time
}

func (l located) result(nodeID string) (string, error) {
	if l.address == "" {
		return "", fmt.Errorf("%w: %q", ErrNodeGone, nodeID)
	}
	return l.address, nil
}

// last is what is known of a node; due says that the caller shall ask anew. Only one caller is told so about a node whose address is
// known: the others go on with that.
func (d *directory) last(nodeID string) (l located, due bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, found := d.nodes[nodeID]
	if found && time.Since(l.asked) < addressLife {
		return l, false
	}
	if l.address != "" {
		d.nodes[nodeID] = located{l.address, time.Now()}
	}
	return l, true
}

// put notes what is known of a node, and forgets those that have been gone for a while.
func (d *directory) put(nodeID, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nodes == nil {
		d.nodes = make(map[string]located)
	}
	for id, l := range d.nodes {
		if l.address == "" && time.Since(l.asked) >= addressLife {
			delete(d.nodes, id)
		}
	}
	d.nodes[nodeID] = located{address, time.Now()}
}

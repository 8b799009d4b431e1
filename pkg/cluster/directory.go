package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNodeGone is wrapped by the errors of Address for a node that has left the cluster, or never was in it.
var ErrNodeGone = errors.New("cluster: the node is gone")

const (
	// announceLife is how long a node stays in the directory after its last contact.
	announceLife = 5 * time.Second
	// addressLife is how long an answer about a node is good before Redis is asked again. An id never gets another
	// address, so all that can change is that the node goes; whoever is sent to it then finds nobody there.
	addressLife = 2 * time.Second
	// departTimeout bounds the farewell to Redis, which is a courtesy: the entry would end by itself.
	departTimeout = time.Second
)

// NodeInfo is what a node's entry in the directory says.
type NodeInfo struct {
	// Address is the URL at which other nodes reach this one.
	Address string `json:"address"`
	// Version is what the node runs; only for people who look.
	Version string `json:"version"`
	// Started is when it did.
	Started time.Time `json:"started"`
}

// Announce puts this node into the directory at each contact from now on. It is called before Run.
func (c *Redis) Announce(info NodeInfo) {
	text, _ := json.Marshal(info) // strings and a time of this age always encode
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced = string(text)
}

func (c *Redis) nodeKey(id string) string { return c.prefix + "node:" + id }

func (c *Redis) announcement() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.announced
}

// renew makes the entry of this node last, and asks whether it was still there. It returns nil when there is to be none.
func (c *Redis) renew(ctx context.Context, pipe redis.Pipeliner) *redis.StringCmd {
	text := c.announcement()
	if text == "" {
		return nil
	}
	known := pipe.Get(ctx, c.nodeKey(c.nodeID))
	pipe.Set(ctx, c.nodeKey(c.nodeID), text, announceLife)
	return known
}

// renewed notes that the entry was renewed, and whether it had been lost.
func (c *Redis) renewed(known *redis.StringCmd) {
	if known == nil || known.Err() == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.knownSince = time.Now()
}

// remembers says whether Redis has kept the entry of this node for so long that it must know those of all others, too. A Redis
// that came back empty does not: that it does not know a node then means nothing.
func (c *Redis) remembers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.announced == "" || !c.knownSince.IsZero() && time.Since(c.knownSince) >= announceLife
}

// depart takes this node out of the directory.
func (c *Redis) depart() {
	if c.announcement() == "" || !c.State().Up {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(departTimeout, c.timeout))
	defer cancel()
	if err := c.client.Del(ctx, c.nodeKey(c.nodeID)).Err(); err != nil {
		c.log.Debug("cluster: the node's entry stays in the directory until it expires", "err", err)
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

// lookUp asks Redis for the entry of a node; redis.Nil says that there is none.
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
	if err := exec(ctx, pipe); err != nil {
		return info, c.failed(err)
	}
	text, err := theirs.Bytes()
	if err != nil {
		if c.announcement() != "" {
			c.renewed(ours)
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

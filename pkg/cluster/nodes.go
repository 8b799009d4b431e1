package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// A node stands in two places, which on a cluster are on different servers: its entry, and the list of nodes. Both end with its lease, and
// go when it says farewell. When a server has come back empty one of them is missing, until the node renews its lease: a
// node is gone only when neither has it.

// askListed puts the question into a pipeline which nodes the list has. answered is called once the pipeline was carried out.
func (c *Redis) askListed(ctx context.Context, pipe redis.Cmdable) (answered func() (map[string]bool, error)) {
	reply := pipe.Eval(ctx, listedScript, []string{c.nodesKey()})
	return func() (map[string]bool, error) {
		ids, err := reply.StringSlice()
		listed := make(map[string]bool, len(ids))
		for _, id := range ids {
			listed[id] = true
		}
		return listed, err
	}
}

// Live says which of the incarnations hold their lease, in the order asked. One that does not never will again. The error wraps
// ErrUnavailable.
func (c *Redis) Live(ctx context.Context, incarnations ...string) ([]bool, error) {
	if len(incarnations) == 0 {
		return nil, nil
	}
	if state := c.State(); state.Err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	pipe := c.client.Pipeline()
	inList := c.askListed(ctx, pipe)
	replies := make([]*redis.StringCmd, len(incarnations))
	for i, incarnation := range incarnations {
		nodeID, _, _ := cutIncarnation(incarnation)
		replies[i] = pipe.Get(ctx, c.nodeKey(nodeID))
	}
	if err := exec(ctx, pipe); err != nil {
		return nil, c.failed(err)
	}
	listed, err := inList()
	if err != nil {
		return nil, c.failed(err)
	}
	live := make([]bool, len(incarnations))
	for i, incarnation := range incarnations {
		nodeID, number, valid := cutIncarnation(incarnation)
		text, err := replies[i].Bytes()
		if errors.Is(err, redis.Nil) {
			live[i] = valid && listed[nodeID]
			continue
		}
		var e entry
		live[i] = err == nil && json.Unmarshal(text, &e) == nil && valid && e.Lease == number
	}
	return live, nil
}

// Nodes are the nodes that hold a lease, this one included, in the order of their ids. The error wraps ErrUnavailable.
func (c *Redis) Nodes(ctx context.Context) ([]NodeInfo, error) {
	if state := c.State(); state.Err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	listed, err := c.askListed(ctx, c.client)()
	if err != nil {
		return nil, c.failed(err)
	}
	seen := c.directory.lastSeen()
	ids := slices.Collect(maps.Keys(listed))
	for id := range seen {
		if !listed[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	pipe := c.client.Pipeline()
	replies := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		replies[i] = pipe.Get(ctx, c.nodeKey(id))
	}
	if err := exec(ctx, pipe); err != nil {
		return nil, c.failed(err)
	}
	var nodes []NodeInfo
	for i, id := range ids {
		var e entry
		if text, err := replies[i].Bytes(); err == nil && json.Unmarshal(text, &e) == nil {
			e.ID = id
			nodes = append(nodes, e.NodeInfo)
		} else if info, known := seen[id]; known && listed[id] && errors.Is(err, redis.Nil) {
			nodes = append(nodes, info)
		}
	}
	sortNodes(nodes)
	_, _, held := c.Lease()
	c.directory.saw(nodes, held && !c.remembers())
	return nodes, nil
}

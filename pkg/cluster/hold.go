package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrNotHeld is wrapped by the errors of Holder for a connection id that nobody holds.
var ErrNotHeld = errors.New("cluster: no node holds the connection")

// holdBatch is how many claims are renewed in one pipeline.
const holdBatch = 256

// Hold says that this node still has the connections with these ids, all of which it has claimed, so that Holder goes on finding
// them. It must be called again within 30 s: a claim lasts for a minute, and Redis may have to be waited for. It stops at
// the first failure, which wraps ErrUnavailable; Redis may have come back empty before the next call, which
// makes up for that.
func (c *Redis) Hold(ctx context.Context, ids iter.Seq[string]) error {
	next, stop := iter.Pull(ids)
	defer stop()
	for {
		if state := c.State(); state.Err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
		}
		n, err := c.holdSome(ctx, next)
		if err != nil {
			return c.failed(err)
		}
		if n < holdBatch {
			return nil
		}
	}
}

// holdSome renews the next claims, and returns how many.
func (c *Redis) holdSome(ctx context.Context, next func() (string, bool)) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	mine := claimOf(c.nodeID, "held")
	pipe := c.client.Pipeline()
	for ; n < holdBatch; n++ {
		id, ok := next()
		if !ok {
			break
		}
		pipe.Set(ctx, c.claimKey(id), mine, claimLifetime)
	}
	if n == 0 {
		return 0, nil
	}
	return n, exec(ctx, pipe)
}

// Holder finds the node that claimed a connection id, as long as that is remembered: for a minute, or for as long as the node calls
// Hold. The connection may have ended there. The error wraps ErrNotHeld, or ErrUnavailable when Redis cannot be asked.
func (c *Redis) Holder(ctx context.Context, id string) (nodeID string, err error) {
	if state := c.State(); state.Err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	claim, err := c.client.Get(ctx, c.claimKey(id)).Result()
	if errors.Is(err, redis.Nil) {
		return "", ErrNotHeld
	}
	if err != nil {
		return "", c.failed(err)
	}
	end := strings.LastIndexByte(claim, ' ') // no mark has a space
	if end <= 0 {
		return "", fmt.Errorf("%w: the key %s holds no claim", ErrNotHeld, c.claimKey(id))
	}
	return claim[:end], nil
}

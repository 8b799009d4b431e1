package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// claimAttempts is how often Redis is asked about one id. The second attempt is for a connection of the pool that died
// unnoticed.
const claimAttempts = 2

// Claim records the first use of a connection id; it says false when the id was used before, on any node. It waits no
// longer than the timeout, and not at all while Redis is known to be away. The error wraps ErrUnavailable.
func (c *Redis) Claim(ctx context.Context, id string) (bool, error) {
	if state := c.State(); state.Err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	mine := claimOf(c.nodeID, rand.Text())
	var err error
	for range claimAttempts {
		var ok bool
		if ok, err = c.claim(ctx, id, mine); err == nil {
			return ok, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return false, c.failed(err)
}

// failed makes Run find out whether Redis is away altogether.
func (c *Redis) failed(err error) error {
	c.contactNow()
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// claim writes mine unless something is there, and reads what is there. Reading makes the attempt repeatable: when the
// reply to an earlier attempt was lost, the next finds its own mark, and not a stranger's.
func (c *Redis) claim(ctx context.Context, id, mine string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout/claimAttempts)
	defer cancel()
	key := c.claimKey(id)
	pipe := c.client.Pipeline()
	pipe.Process(ctx, redis.NewStatusCmd(ctx, "set", key, mine, "ex", int(claimLifetime/time.Second), "nx"))
	held := pipe.Get(ctx, key)
	// A SET that NX forbids answers nil, which is no failure; what counts is what is there afterwards.
	if err := exec(ctx, pipe); err != nil {
		return false, err
	}
	text, err := held.Result()
	if err != nil {
		return false, err
	}
	return text == mine, nil
}

func (c *Redis) claimKey(id string) string { return c.prefix + "tok:" + id }

// claimOf is what a claim holds: whose it is, and a mark that tells one claim from another.
func claimOf(nodeID, mark string) string { return nodeID + " " + mark }

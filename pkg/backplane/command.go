package backplane

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// command is PUBLISH or PUBSUB NUMSUB, or what they are called with shards, as go-redis sees it.
type command struct {
	redis.Cmder
	answered bool
}

func newCommand(p *part, prefix string, sharded bool) *command {
	ctx := context.Background() // go-redis only keeps it
	count, publish := "numsub", "publish"
	if sharded {
		count, publish = "shardnumsub", "spublish"
	}
	if p.call.op == opCount {
		return &command{Cmder: redis.NewMapStringIntCmd(ctx, "pubsub", count, prefix+p.channel)}
	}
	return &command{Cmder: redis.NewIntCmd(ctx, publish, prefix+p.channel, p.call.payload)}
}

// misplaced says whether an error reply means that the server is not the one for this channel, or the cluster has none.
func misplaced(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "CLUSTERDOWN")
}

// NoRetry tells go-redis that a lost reply does not mean a lost message: it would publish it again.
func (*command) NoRetry() bool { return true }

// SetErr is called with the outcome of reading this command's reply, and then perhaps with the fate of the whole pipeline,
// which must not hide that this command was answered.
func (c *command) SetErr(err error) {
	if c.answered {
		return
	}
	reply := redis.Error(nil)
	c.answered = err == nil || errors.As(err, &reply)
	c.Cmder.SetErr(err)
}

// value is the number that Redis answered.
func (c *command) value() int64 {
	switch cmd := c.Cmder.(type) {
	case *redis.IntCmd:
		return cmd.Val()
	case *redis.MapStringIntCmd:
		for _, n := range cmd.Val() {
			return n
		}
	}
	return 0
}

package backplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// askSentinels asks all sentinels for the primary. One that was cut off from the others names the one of long ago: the newest
// configuration counts.
func (t *topology) askSentinels(ctx context.Context, before *view) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	at := time.Now()
	views := make([]*view, len(t.target.Addrs))
	errs := make([]error, len(t.target.Addrs))
	var all sync.WaitGroup
	for i, addr := range t.target.Addrs {
		all.Go(func() { views[i], errs[i] = t.askSentinel(ctx, addr) })
	}
	all.Wait()
	var best *view
	for _, v := range views {
		if v == nil {
			continue
		}
		// Sentinels may call one server by different names.
		same := best != nil && v.epoch == best.epoch && before != nil && v.primary == before.primary
		if best == nil || v.epoch > best.epoch || same {
			best = v
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no sentinel names the primary: %w", errs[0])
	}
	best.at = at
	return best, nil
}

func (t *topology) askSentinel(ctx context.Context, addr string) (*view, error) {
	c := t.client(addr, true)
	if c == nil {
		return nil, errStopped
	}
	pipe := c.Pipeline()
	where := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", t.target.Master)
	about := redis.NewMapStringStringCmd(ctx, "sentinel", "master", t.target.Master)
	_ = pipe.Process(ctx, where)
	_ = pipe.Process(ctx, about)
	_, _ = pipe.Exec(ctx) // each command has its own error
	host, err := where.Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, fmt.Errorf("the sentinel at %s knows no primary %q; check the name in the URL", addr, t.target.Master)
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return nil, fmt.Errorf("the sentinel at %s requires a password; add ?sentinel_password= to the URL", addr)
	case redis.HasErrorPrefix(err, "WRONGPASS"):
		return nil, fmt.Errorf("the sentinel at %s refused the user name or password; check sentinel_username and sentinel_password", addr)
	case redis.HasErrorPrefix(err, "unknown command"):
		return nil, fmt.Errorf("%s is no sentinel", addr)
	case err != nil:
		return nil, fmt.Errorf("the sentinel at %s: %w", addr, err)
	case len(host) != 2:
		return nil, fmt.Errorf("the sentinel at %s answers with %q", addr, host)
	}
	v := &view{primary: spot{addr: net.JoinHostPort(host[0], host[1])}}
	v.epoch, _ = strconv.ParseInt(about.Val()["config-epoch"], 10, 64)
	return v, nil
}

// checkRole asks a server whether it is the primary that the sentinels call it. It may be about to be, or have been: a replica
// takes messages as well, and they reach nobody.
func (t *topology) checkRole(ctx context.Context, s spot) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := t.client(s.addr, false)
	if c == nil {
		return errStopped
	}
	role, err := c.Do(ctx, "role").Slice()
	if err != nil {
		return err
	}
	if len(role) == 0 || role[0] != "master" {
		return fmt.Errorf("%s is not the primary yet, or no longer", s.addr)
	}
	return nil
}

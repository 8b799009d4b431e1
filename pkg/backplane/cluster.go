package backplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

func randomIndex(n int) int { return rand.IntN(n) }

// askCluster asks a few servers of the cluster how it is: those that were there last, then those of the URL and all others. Only
// one that sees the greater part of the masters is believed, and the one with the newest configuration.
func (t *topology) askCluster(ctx context.Context, before *view) (*view, error) {
	var addrs []string
	if before != nil {
		for _, s := range before.masters {
			addrs = append(addrs, s.addr)
		}
		rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		for _, s := range before.nodes {
			addrs = append(addrs, s.addr)
		}
	}
	addrs = append(addrs, t.target.Addrs...)
	var asked []string
	var failed error
	for len(addrs) > 0 {
		var now []string
		for len(addrs) > 0 && len(now) < askAtOnce {
			if !slices.Contains(asked, addrs[0]) {
				asked, now = append(asked, addrs[0]), append(now, addrs[0])
			}
			addrs = addrs[1:]
		}
		v, err := t.askNodes(ctx, now)
		if v != nil {
			return v, nil
		}
		if err != nil && failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, failed
}

func (t *topology) askNodes(ctx context.Context, addrs []string) (best *view, failed error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	at := time.Now()
	views := make([]*view, len(addrs))
	errs := make([]error, len(addrs))
	var all sync.WaitGroup
	for i, addr := range addrs {
		all.Go(func() { views[i], errs[i] = t.askNode(ctx, addr) })
	}
	all.Wait()
	for i, v := range views {
		if errs[i] != nil && failed == nil {
			failed = errs[i]
		}
		if v != nil && (best == nil || v.epoch > best.epoch) {
			best = v
		}
	}
	if best != nil {
		best.at = at
	}
	return best, failed
}

func (t *topology) askNode(ctx context.Context, addr string) (*view, error) {
	c := t.client(addr, false)
	if c == nil {
		return nil, errStopped
	}
	pipe := c.Pipeline()
	slots, nodes := pipe.ClusterSlots(ctx), pipe.ClusterNodes(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	return readView(addr, slots.Val(), nodes.Val())
}

// readView puts together what a server says about the slots, where addresses are as clients should use them, and about the nodes,
// where it stands who has failed.
func readView(asked string, slots []redis.ClusterSlot, nodes string) (*view, error) {
	v := &view{spans: []span{}}
	failed, doubted := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		for flag := range strings.SplitSeq(f[2], ",") {
			failed[f[0]] = failed[f[0]] || flag == "fail"
			doubted[f[0]] = doubted[f[0]] || flag == "fail" || flag == "fail?"
		}
		epoch, _ := strconv.ParseInt(f[6], 10, 64)
		v.epoch = max(v.epoch, epoch)
	}
	host, _, _ := net.SplitHostPort(asked)
	masters, seen := map[string]bool{}, map[string]bool{}
	for _, r := range slots {
		for i, n := range r.Nodes {
			s := spot{n.ID, n.Addr}
			if h, port, _ := net.SplitHostPort(n.Addr); h == "" || h == "?" { // a server that does not know its own address
				s.addr = net.JoinHostPort(host, port)
			}
			if i == 0 {
				v.spans = append(v.spans, span{r.Start, r.End, s, failed[s.id]})
				if !failed[s.id] && !masters[s.id] {
					v.masters = append(v.masters, s)
				}
				masters[s.id] = true
			}
			if !failed[s.id] && !seen[s.id] {
				v.nodes = append(v.nodes, s)
			}
			seen[s.id] = true
		}
	}
	slices.SortFunc(v.spans, func(a, b span) int { return a.first - b.first })
	sees := 0
	for id := range masters {
		if !doubted[id] {
			sees++
		}
	}
	switch {
	case len(masters) == 0:
		return nil, errors.New("the cluster has no slots assigned")
	case sees*2 <= len(masters):
		return nil, fmt.Errorf("%s sees %d of %d masters of the cluster", asked, sees, len(masters))
	}
	return v, nil
}

// subscribers asks every server of the cluster, because each counts only those who subscribed there. None is the answer only if all
// have answered.
func (t *topology) subscribers(ctx context.Context, channel string) (total int, err error) {
	v := t.last()
	if v == nil {
		return 0, errNotYet
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	counts := make([]int, len(v.nodes))
	errs := make([]error, len(v.nodes))
	var all sync.WaitGroup
	for i, s := range v.nodes {
		all.Go(func() {
			c := t.client(s.addr, false)
			if c == nil {
				errs[i] = errStopped
				return
			}
			n, err := c.PubSubNumSub(ctx, channel).Result()
			counts[i], errs[i] = int(n[channel]), err
		})
	}
	all.Wait()
	for _, n := range counts {
		total += n
	}
	if total > 0 {
		return total, nil
	}
	return 0, errors.Join(errs...)
}

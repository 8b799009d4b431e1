package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/internal/redisurl"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// lookEvery is how often it is asked whether the servers are still what they were: the link to a server that is none of
	// them any more may look perfectly well, and brings nothing.
	lookEvery = time.Second
	// askTimeout bounds one question to one server about the others.
	askTimeout = time.Second
	// askAtOnce is how many servers of a cluster are asked at a time.
	askAtOnce = 3
)

// anySlot is the slot of a link that any server of a cluster serves.
const anySlot = -1

// Why a link ends that works.
var errMoved = errors.New("what it serves belongs to another server now")

// spot is a server. Its id is what a cluster calls it; otherwise its address.
type spot struct{ id, addr string }

// topology knows which server a link belongs to: always the same one, or the one that sentinels name, or the one that has a slot.
// While run runs, it cuts links whose server is no longer the right one.
type topology struct {
	target *redisurl.Target
	opt    redis.Options // for connections that ask
	turn   chan struct{} // holds one token: one looks at a time

	mu      sync.Mutex
	view    *view // the last that was believed; nil before the first
	ties    map[*tie]struct{}
	clients map[string]*redis.Client // by address; nil at the end
}

// tie is a link's claim that its server is the right one.
type tie struct {
	slot int
	spot spot
	cut  func(asOf time.Time)
}

// view is what was found out at one moment.
type view struct {
	at      time.Time // before the question
	epoch   int64     // the larger, the newer
	primary spot      // of Sentinel

	// Of a cluster.
	spans   []span // in the order of slots
	masters []spot // those that have slots and have not failed
	nodes   []spot // all that have not failed
}

// span is a range of slots, both ends included, and who has it.
type span struct {
	first, last int
	master      spot
	failed      bool
}

func newTopology(target *redisurl.Target) *topology {
	t := &topology{target: target, opt: target.Options, turn: make(chan struct{}, 1),
		ties: make(map[*tie]struct{}), clients: make(map[string]*redis.Client)}
	t.opt.Network = "tcp"
	t.opt.MaxRetries = -1
	t.opt.DialerRetries = 1
	t.opt.ContextTimeoutEnabled = true
	t.opt.DialTimeout, t.opt.ReadTimeout, t.opt.WriteTimeout, t.opt.PoolTimeout = askTimeout, askTimeout, askTimeout, askTimeout
	t.opt.PoolSize = 4
	t.opt.MinIdleConns = 0
	t.opt.PipelinePoolSize = -1
	t.opt.DisableIdentity = true
	t.opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return t
}

// changes says whether a link's server can ever be another one.
func (t *topology) changes() bool { return t.target.Kind != redisurl.Standalone }

// locate finds the server for a slot, which is not asked for where there are none.
func (t *topology) locate(ctx context.Context, slot int) (spot, error) {
	if !t.changes() {
		return spot{addr: t.target.Addrs[0]}, nil
	}
	v, err := t.look(ctx)
	if err != nil {
		return spot{}, err
	}
	s, err := v.pick(slot)
	if err == nil && t.target.Kind == redisurl.Sentinel {
		err = t.checkRole(ctx, s)
	}
	return s, err
}

// tie calls cut once the server is found to be the wrong one for the slot, with the time until which it surely was the right one.
// untie ends that; cut may still be running then.
func (t *topology) tie(slot int, s spot, cut func(asOf time.Time)) (untie func()) {
	if !t.changes() {
		return func() {}
	}
	one := &tie{slot, s, cut}
	t.mu.Lock()
	t.ties[one] = struct{}{}
	wrong := !t.view.right(slot, s) // it may have changed since it was located
	t.mu.Unlock()
	if wrong {
		cut(time.Now())
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.ties, one)
	}
}

// run looks again and again until ctx ends.
func (t *topology) run(ctx context.Context) {
	for t.changes() && sleep(ctx, backoff{lookEvery, lookEvery}.pause(1)) {
		// Nobody who answers tells nothing about the links, which may well work.
		_, _ = t.look(ctx)
	}
}

// close ends the connections for questions.
func (t *topology) close() {
	t.mu.Lock()
	clients := t.clients
	t.clients = nil
	t.mu.Unlock()
	for _, c := range clients {
		_ = c.Close()
	}
}

// look finds out what there is now. Callers that come at the same time share the answer.
func (t *topology) look(ctx context.Context) (*view, error) {
	came := time.Now()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	before := t.last()
	if before != nil && before.at.After(came) {
		return before, nil
	}
	ask := t.askSentinels
	if t.target.Kind == redisurl.Cluster {
		ask = t.askCluster
	}
	now, err := ask(ctx, before)
	if err != nil {
		return nil, err
	}
	t.believe(before, now)
	return now, nil
}

func (t *topology) last() *view {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view
}

// believe takes over a view, and cuts what is wrong by it.
func (t *topology) believe(before, now *view) {
	asOf := now.at
	if before != nil {
		asOf = before.at
	}
	var wrong []*tie
	t.mu.Lock()
	t.view = now
	for one := range t.ties {
		if !now.right(one.slot, one.spot) {
			wrong = append(wrong, one)
		}
	}
	gone := t.forget(now)
	t.mu.Unlock()
	for _, one := range wrong {
		one.cut(asOf)
	}
	for _, c := range gone {
		_ = c.Close()
	}
}

// forget takes the clients of servers that are no more out of the table.
func (t *topology) forget(now *view) (gone []*redis.Client) {
	keep := make(map[string]bool)
	for _, addr := range t.target.Addrs {
		keep[addr] = true
	}
	for _, s := range append(now.nodes, now.primary) {
		keep[s.addr] = true
	}
	for addr, c := range t.clients {
		if !keep[addr] {
			gone = append(gone, c)
			delete(t.clients, addr)
		}
	}
	return gone
}

// client is for questions to a server or a sentinel; nil at the end.
func (t *topology) client(addr string, sentinel bool) *redis.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[addr]
	if c == nil && t.clients != nil {
		opt := t.opt
		if opt.Addr = addr; sentinel {
			opt.Username, opt.Password, opt.DB = t.target.SentinelUsername, t.target.SentinelPassword, 0
		}
		c = redis.NewClient(&opt)
		t.clients[addr] = c
	}
	return c
}

// right says whether a server still is one for the slot. What nobody has is not taken from whoever had it.
func (v *view) right(slot int, s spot) bool {
	switch {
	case v == nil:
		return true
	case v.spans == nil:
		return v.primary == s
	case slot == anySlot:
		return contains(v.nodes, s)
	}
	for _, r := range v.spans {
		if r.first <= slot && slot <= r.last {
			return r.master.id == s.id && !r.failed
		}
	}
	return true
}

func contains(spots []spot, s spot) bool {
	for _, known := range spots {
		if known.id == s.id {
			return true
		}
	}
	return false
}

// pick names a server for a slot.
func (v *view) pick(slot int) (spot, error) {
	switch {
	case v.spans == nil:
		return v.primary, nil
	case slot == anySlot:
		if len(v.masters) == 0 {
			return spot{}, errors.New("no master of the cluster works")
		}
		return v.masters[randomIndex(len(v.masters))], nil
	}
	for _, r := range v.spans {
		if r.first <= slot && slot <= r.last {
			if r.failed {
				return spot{}, fmt.Errorf("the master at %s has failed, and has no successor yet", r.master.addr)
			}
			return r.master, nil
		}
	}
	return spot{}, fmt.Errorf("no server of the cluster has slot %d", slot)
}

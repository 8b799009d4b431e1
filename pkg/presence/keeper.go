package presence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// reapLimit is how many users go offline in one call, and sweepLimit how many connections are removed.
	reapLimit, sweepLimit = 500, 256
	// reapPause is the shortest time between two calls for users who are due. They go offline that much late at most.
	reapPause = 50 * time.Millisecond
	// confirm is for how long an incarnation must have been seen without a lease before it is swept: its node may be about to come back.
	confirm = time.Second
)

// reap says when users of a partition are due who left from this node.
type reap struct {
	at   time.Time // when to look; zero: not at all
	last time.Time // when the last of them is due
}

// trust says whether a partition can be believed. A Redis that has lost everything does not know who is online until the nodes have told
// it again.
type trust struct {
	known bool // it was looked at, at least once
	epoch string
	ok    bool
	since time.Time           // when it became what it is
	nodes map[string]struct{} // ids of the nodes that were there when it was last believed
}

// look takes what a partition says of itself into account. self is this node's id, if it has one. After a loss the partition is
// believed again when all who were there before have announced their connections, and when those had the time to do so who came so
// late before the loss that this node does not know them; or after two lease times.
func (t *trust) look(now ticked, self string, pace, life time.Duration) {
	if !t.known {
		if now.epoch == "" {
			return // no node has been there yet
		}
		*t = trust{known: true, epoch: now.epoch, ok: !now.rebuilt(life), since: time.Now()}
	}
	if now.epoch != t.epoch {
		t.epoch, t.ok, t.since = now.epoch, false, time.Now()
	}
	there := make(map[string]struct{})
	for incarnation, held := range now.held {
		if _, done, known := parseHeld(held); known && (done || t.ok) {
			there[nodeOf(incarnation)] = struct{}{}
		}
	}
	if !t.ok && t.epoch != "" {
		back := true
		for node := range t.nodes {
			if _, found := there[node]; !found {
				back = false
			}
		}
		t.ok = back && time.Since(t.since) >= 2*pace || time.Since(t.since) >= 2*life
	}
	if t.ok {
		if t.nodes = there; self != "" {
			there[self] = struct{}{}
		}
	}
}

// rebuilt says whether Redis shows that it has lost its memory a short time ago: it is young, and there are nodes in it which have had a
// lease before the one that they hold.
func (t *ticked) rebuilt(life time.Duration) bool {
	began, err := strconv.ParseInt(t.epoch, 10, 64) // µs
	if err != nil || t.now-began/1000 >= 2*life.Milliseconds() {
		return false
	}
	for incarnation := range t.held {
		if numberOf(incarnation) > 1 {
			return true
		}
	}
	return false
}

// keeper looks after the partitions, together with those of the other nodes.
type keeper struct {
	*Redis
	dead   map[string]time.Time // incarnations that hold no lease, by when that was first seen
	sweeps []*sweepJob
}

// keep looks after the partitions until ctx ends: at least once per interval, and when users who left from this node are due.
func (r *Redis) keep(ctx context.Context) {
	k := &keeper{Redis: r, dead: make(map[string]time.Time)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	failures := 0
	for {
		wake := next
		for _, due := range r.due(time.Time{}) {
			if at := due.at; at.Before(wake) {
				wake = at
			}
		}
		if len(k.sweeps) > 0 {
			wake = time.Now()
		}
		timer.Reset(time.Until(wake))
		now := false
		toTick := r.toTick
		if failures > 0 {
			toTick = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.toReap:
			continue
		case <-toTick:
			now = true
		}
		var err error
		if now || !time.Now().Before(next) {
			if err = k.tickAll(ctx, now); err == nil {
				failures, next = 0, k.soon(time.Now().Add(k.pause()))
			} else {
				failures++
				next = time.Now().Add(r.backoff(failures))
			}
		} else if due := r.due(time.Now()); len(due) > 0 {
			list := make([]int, 0, len(due))
			for _, d := range due {
				list = append(list, d.partition)
			}
			if _, err = k.tick(ctx, list); err != nil {
				failures++
				next = time.Now().Add(r.backoff(failures))
			}
		}
		if len(k.sweeps) > 0 && err == nil {
			k.sweeps, err = r.sweepSome(ctx, k.sweeps)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.sweeps = nil // the next tick finds them again
			r.note(err)
		}
	}
}

// soon is when to look next, if it would be then: earlier, if an incarnation can be swept earlier.
func (k *keeper) soon(next time.Time) time.Time {
	for _, since := range k.dead {
		if at := since.Add(k.confirm()); at.After(time.Now()) && at.Before(next) {
			next = at
		}
	}
	return next
}

func (r *Redis) confirm() time.Duration { return min(confirm, r.life/5) }

// pause is how long until the next look: shorter while something is being rebuilt, and while nodes may be about to begin that.
func (r *Redis) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.pace
	for k := range r.trusts {
		if t := &r.trusts[k]; t.known && !t.ok && (t.epoch != "" || time.Since(t.since) < 2*r.life) {
			d = r.pace / 5
		}
	}
	return d/2 + rand.N(d/2+1)
}

type dueReap struct {
	partition int
	at        time.Time
}

// due are the partitions at which somebody should look by then; with the zero time, all that wait for that.
func (r *Redis) due(then time.Time) (list []dueReap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.reaps {
		if at := r.reaps[k].at; !at.IsZero() && (then.IsZero() || !at.After(then)) {
			list = append(list, dueReap{k, at})
		}
	}
	return list
}

// reapAfter notes that users have begun to leave who are due after that time.
func (r *Redis) reapAfter(partition int, after time.Duration) {
	if after <= 0 {
		return
	}
	at := time.Now().Add(after + time.Millisecond)
	r.mu.Lock()
	p := &r.reaps[partition]
	p.last = at
	if first := p.at.IsZero(); first {
		p.at = at
	}
	r.mu.Unlock()
	signal(r.toReap)
}

// reaped notes that a partition has been looked at.
func (r *Redis) reaped(partition int, t ticked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.reaps[partition]
	if p.at.IsZero() || p.at.After(time.Now()) {
		return
	}
	p.at = time.Time{}
	if now := time.Now(); p.last.After(now) {
		p.at = now.Add(max(reapPause, time.Duration(t.due-t.now)*time.Millisecond))
		if p.at.After(p.last) {
			p.at = p.last
		}
	}
}

// tickAll looks at all partitions, and plans the sweep of incarnations that hold no lease any more.
func (k *keeper) tickAll(ctx context.Context, asked bool) error {
	if k.lease == nil && !asked && !k.tail.wanted() && k.State().Err == nil && k.believesAll() {
		return nil // nobody wants to know, and that Redis goes or loses its memory will show
	}
	if err := k.agree(ctx); err != nil {
		k.note(err)
		return err
	}
	all := make([]int, partitions)
	for i := range all {
		all[i] = i
	}
	ticks, err := k.tick(ctx, all)
	if ctx.Err() == nil {
		k.note(err)
	}
	if err == nil && k.lease != nil {
		k.plan(ctx, ticks)
	}
	return err
}

// believesAll says whether every partition was looked at when nodes had been there, before which a loss would not show, and is believed:
// only a look finds out that it can be again.
func (r *Redis) believesAll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.trusts {
		if t := &r.trusts[k]; !t.known || !t.ok {
			return false
		}
	}
	return true
}

// agree makes sure that all nodes mean the same by what they write.
func (r *Redis) agree(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	pipe := r.client.Pipeline()
	if r.lease != nil {
		pipe.SetNX(ctx, r.meta, layout, 0)
	}
	there := pipe.Get(ctx, r.meta)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	text, err := there.Result()
	if errors.Is(err, redis.Nil) && r.lease == nil {
		return nil // no node has been there
	}
	if err == nil && text != layout {
		err = fmt.Errorf("the key %s says %q, and this version of the program writes %q; give it another prefix", r.meta, text, layout)
	}
	return err
}

// tick looks at partitions.
func (r *Redis) tick(ctx context.Context, list []int) ([]ticked, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var marks [partitions]mark
	r.mu.Lock()
	incarnation := r.incarnation
	for k := range r.ledgers {
		marks[k] = r.ledgers[k].mark()
	}
	r.mu.Unlock()
	session, followed := r.tail.followed()
	calls := make([]*call, len(list))
	for i, k := range list {
		calls[i] = r.tickCall(k, incarnation)
	}
	if err := run(ctx, r.client, calls); err != nil {
		return nil, err
	}
	ticks := make([]ticked, len(list))
	for i, k := range list {
		t, err := parseTicked(calls[i].reply)
		if err != nil {
			return nil, err
		}
		ticks[i] = t
		r.hooks.transitions(0, int(t.offline))
		r.reaped(k, t)
		r.mu.Lock()
		l := &r.ledgers[k]
		cause := l.check(marks[k], t.held[incarnation])
		if l.incarnation == incarnation && l.begun == 0 {
			l.begun = t.now
		}
		r.trusts[k].look(t, nodeOf(incarnation), r.pace, r.life)
		r.mu.Unlock()
		if cause != "" {
			r.giveUp(incarnation, cause)
		}
		session.check(k, followed[k], t)
	}
	signal(r.toSend)
	return ticks, nil
}

// tickCall is a call of tick; with an empty incarnation it changes nothing.
func (r *Redis) tickCall(partition int, incarnation string) *call {
	return &call{script: r.scripts.tick, keys: r.keys[partition].common,
		args: []any{incarnation, reapLimit, 2 * r.pace.Milliseconds(), r.life.Milliseconds()}}
}

// sweepJob is an incarnation to be removed from a partition.
type sweepJob struct {
	incarnation string
	partition   int
	own         bool // it is one of this node's, which knows that it is over
	fenced      bool
	pairs       []redis.KeyValue
}

// plan finds out which incarnations have to be swept.
func (k *keeper) plan(ctx context.Context, ticks []ticked) {
	k.sweeps = nil
	k.mu.Lock()
	mine := k.incarnation
	var done [partitions]bool
	for i := range k.ledgers {
		done[i] = k.ledgers[i].done
	}
	k.mu.Unlock()
	if mine == "" {
		return
	}
	var others []string
	for _, t := range ticks {
		for incarnation, held := range t.held {
			// One that is being swept already is over for good.
			if _, _, known := parseHeld(held); known && nodeOf(incarnation) != nodeOf(mine) && !slices.Contains(others, incarnation) {
				others = append(others, incarnation)
			}
		}
	}
	live, err := k.lease.Live(ctx, others...)
	if err != nil {
		return // the next time
	}
	there := make(map[string]bool)
	for i, incarnation := range others {
		there[incarnation] = live[i]
		if live[i] {
			delete(k.dead, incarnation)
		} else if _, seen := k.dead[incarnation]; !seen {
			k.dead[incarnation] = time.Now()
		}
	}
	for incarnation := range k.dead {
		if _, known := there[incarnation]; !known {
			delete(k.dead, incarnation)
		}
	}
	for partition, t := range ticks {
		for incarnation, held := range t.held {
			_, _, known := parseHeld(held)
			job := &sweepJob{incarnation: incarnation, partition: partition, own: nodeOf(incarnation) == nodeOf(mine)}
			switch since, dead := k.dead[incarnation]; {
			case incarnation == mine:
			case job.own && done[partition], !job.own && !known, dead && time.Since(since) >= k.confirm():
				k.sweeps = append(k.sweeps, job)
			}
		}
	}
	// A later incarnation of a node can be in the way of an earlier one.
	slices.SortFunc(k.sweeps, func(a, b *sweepJob) int { return cmp.Compare(numberOf(b.incarnation), numberOf(a.incarnation)) })
}

// sweepSome removes some of what has to be removed, and returns what is left to do.
func (r *Redis) sweepSome(ctx context.Context, jobs []*sweepJob) (left []*sweepJob, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	now := jobs[:min(len(jobs), partitions)]
	pipe := r.client.Pipeline()
	var found []*redis.KeyValueSliceCmd
	for _, j := range now {
		if j.fenced {
			found = append(found, pipe.HRandFieldWithValues(ctx, r.keys[j.partition].node(j.incarnation), sweepLimit))
		}
	}
	if len(found) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, err
		}
	}
	calls := make([]*call, len(now))
	for i, j := range now {
		if j.fenced {
			j.pairs, found = found[0].Val(), found[1:]
		}
		calls[i] = r.sweepCall(j)
	}
	if err := run(ctx, r.client, calls); err != nil {
		return nil, err
	}
	swept := 0
	for i, j := range now {
		reply, err := numbers(calls[i].reply, 5)
		if err != nil {
			return nil, err
		}
		swept += int(reply[1])
		r.hooks.transitions(0, int(reply[2]))
		if reply[3] > 0 {
			r.reapAfter(j.partition, r.remain(j))
		}
		if reply[0] == 1 && reply[4] > 0 {
			j.fenced = true
			left = append(left, j)
		}
	}
	r.hooks.swept(swept)
	return append(left, jobs[len(now):]...), nil
}

// remain is how long users of a swept incarnation stay online. A lease that ran out was a part of their grace period.
func (r *Redis) remain(j *sweepJob) time.Duration {
	if j.own {
		return r.grace
	}
	return max(0, r.grace-r.life)
}

func (r *Redis) sweepCall(j *sweepJob) *call {
	k := &r.keys[j.partition]
	hold := 2 * r.life.Milliseconds()
	if j.own {
		hold = 0
	}
	node := k.node(j.incarnation)
	c := &call{script: r.scripts.sweep, keys: append(slices.Clone(k.common), node),
		args: []any{j.incarnation, r.remain(j).Milliseconds(), 2 * r.pace.Milliseconds(), hold}}
	for _, pair := range j.pairs {
		user := userOf(pair.Value)
		c.args = append(c.args, pair.Key, user)
		if user == "" {
			c.keys = append(c.keys, node)
		} else {
			c.keys = append(c.keys, k.user(user))
		}
	}
	return c
}

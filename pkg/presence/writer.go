package presence

import (
	"context"
	"math/rand/v2"
	"time"
)

// write tells Redis of this node's connections until ctx ends. What is told while one round is under way goes with the next.
func (r *Redis) write(ctx context.Context) {
	for failures := 0; ; {
		changed := r.lease.LeaseChanged() // before it is looked at, so that no change is missed
		r.adopt()
		var pause <-chan time.Time
		toSend := r.toSend
		if batches := r.collect(); len(batches) > 0 {
			err := r.flush(ctx, batches)
			if ctx.Err() != nil {
				return
			}
			r.note(err)
			if err == nil {
				failures = 0
				continue
			}
			failures++
			pause, toSend = time.After(r.backoff(failures)), nil
		}
		select {
		case <-ctx.Done():
			return
		case <-pause:
		case <-changed:
		case <-toSend:
		}
	}
}

// backoff is how long to wait after so many failures in a row. All nodes lose Redis at the same moment; chance spreads their return.
func (r *Redis) backoff(failures int) time.Duration {
	d := min(50*time.Millisecond<<min(failures-1, 10), r.pace)
	return d/2 + rand.N(d/2+1)
}

// adopt makes the ledgers those of the lease that the node holds now.
func (r *Redis) adopt() {
	incarnation, _, held := r.lease.Lease()
	if !held {
		incarnation = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if incarnation == r.incarnation {
		return
	}
	r.incarnation = incarnation
	var there [partitions][]*member
	if incarnation != "" {
		for _, m := range r.members {
			k := partitionOf(m.User, m.ID)
			there[k] = append(there[k], m)
		}
	}
	for k := range r.ledgers {
		r.ledgers[k].begin(incarnation, there[k])
	}
	if incarnation == "" {
		return
	}
	r.hooks.announced(len(r.members), r.cause)
	r.cause = Lost   // unless another is given
	signal(r.toTick) // the first batches need the partitions' time
}

// sending is a batch on its way.
type sending struct {
	partition int
	batch     *batch
	call      *call
}

// collect takes what can be sent now: one batch of each partition.
func (r *Redis) collect() []sending {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []sending
	pending := 0
	for k := range r.ledgers {
		if b := r.ledgers[k].next(r.grace.Milliseconds()); b != nil {
			list = append(list, sending{k, b, &call{script: r.scripts.apply, keys: b.keys, args: b.args}})
		}
		pending += r.ledgers[k].pending()
	}
	r.hooks.pending(pending)
	return list
}

// flush sends batches and notes the answers. It returns the first failure; what was not answered is sent again.
func (r *Redis) flush(ctx context.Context, list []sending) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	calls := make([]*call, len(list))
	for i, s := range list {
		calls[i] = s.call
	}
	began := time.Now()
	err := run(ctx, r.client, calls)
	took := time.Since(began)
	for _, s := range list {
		if s.call.err != nil {
			r.hooks.batch(s.batch.changes, Repeated, took)
			continue
		}
		reply, bad := numbers(s.call.reply, 4)
		if bad != nil {
			err = bad
			continue
		}
		r.mu.Lock()
		cause := r.ledgers[s.partition].answered(s.batch, status(reply[0]))
		incarnation := r.ledgers[s.partition].incarnation
		r.mu.Unlock()
		if cause != "" {
			r.hooks.batch(s.batch.changes, Refused, took)
			r.giveUp(incarnation, cause)
			continue
		}
		r.hooks.batch(s.batch.changes, Applied, took)
		r.hooks.transitions(int(reply[1]), int(reply[2]))
		if reply[3] > 0 {
			r.reapAfter(s.partition, r.grace)
		}
	}
	return err
}

// depart tells Redis that the node's connections are gone. What remains of them is removed as for a node that died, but that their
// users get their full grace period.
func (r *Redis) depart() {
	if r.lease == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.farewell)
	defer cancel()
	for {
		r.adopt()
		batches := r.collect()
		if len(batches) == 0 {
			break
		}
		if r.flush(ctx, batches) != nil {
			return
		}
		if given, _, held := r.lease.Lease(); !held || given != batches[0].batch.args[0] {
			break
		}
	}
	r.mu.Lock()
	incarnation := r.incarnation
	r.mu.Unlock()
	if incarnation == "" {
		return
	}
	var jobs []*sweepJob
	for k := range partitions {
		jobs = append(jobs, &sweepJob{incarnation: incarnation, partition: k, own: true})
	}
	for len(jobs) > 0 {
		var err error
		if jobs, err = r.sweepSome(ctx, jobs); err != nil {
			r.log.Debug("presence: this node's connections stay known until its lease ends", "error", err)
			return
		}
	}
}

package presence

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// followBlock is how long Redis is asked to wait for the next entry of the log. Such a question cannot be taken back: whoever begins to
	// watch when the last watcher has just left waits for it, and so does the end of Run.
	followBlock = 500 * time.Millisecond
	// followCount is how many entries are read at once, and snapshotPage how many users.
	followCount, snapshotPage = 1000, 1000
)

// tail follows the logs of all partitions while somebody watches: one for the node, however many watchers there are.
type tail struct {
	mu      sync.Mutex
	session *session      // nil while nobody watches
	begun   chan struct{} // closed and replaced when a session has begun
}

// session is what is known of the logs from the first watcher to the last.
type session struct {
	ctx   context.Context
	end   context.CancelFunc
	ready chan struct{} // closed when every partition has had a snapshot

	// Guarded by tail.mu.
	watchers int
	missing  int // partitions without a snapshot yet

	mu        sync.Mutex // guards what follows
	followers [partitions]follower
	resyncs   [partitions]resync
}

// resync is why a partition's log could not be followed, and how soon a snapshot may be taken.
type resync struct {
	cause Cause // empty: the first snapshot
	after time.Time
}

// wanted says whether somebody watches.
func (t *tail) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session != nil
}

// enter counts a watcher.
func (t *tail) enter() *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session == nil {
		s := &session{ready: make(chan struct{}), missing: partitions}
		s.ctx, s.end = context.WithCancel(context.Background())
		t.session = s
		close(t.begun)
		t.begun = make(chan struct{})
	}
	t.session.watchers++
	return t.session
}

// leave discounts a watcher. With the last one the session ends.
func (r *Redis) leave(s *session) {
	t := &r.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.watchers--; s.watchers == 0 && t.session == s {
		s.end()
		t.session = nil
		r.feed.forget()
	}
}

// followed is how far the logs have been followed.
func (t *tail) followed() (s *session, last [partitions]string) {
	t.mu.Lock()
	s = t.session
	t.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for k := range s.followers {
			last[k] = s.followers[k].last
		}
	}
	return s, last
}

// check compares what a partition says with how far it had been followed before it was asked. s may be nil.
func (s *session) check(partition int, followed string, t ticked) {
	if s == nil {
		return
	}
	s.mu.Lock()
	f := s.followers[partition].check(followed, t.ver)
	s.mu.Unlock()
	if f != sound {
		s.lose(partition, f, t.ver)
	}
}

// lose notes that a log cannot be followed. The next snapshot tells what has changed meanwhile.
func (s *session) lose(partition int, f fault, end string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[partition].last == "" {
		return
	}
	s.followers[partition].last = ""
	p := &s.resyncs[partition]
	if p.cause = Gap; end == noEntry {
		p.cause = Emptied
	}
	if p.after = time.Now(); f == reverted {
		p.after = p.after.Add(resyncPause)
	}
}

// resyncPause is for how long at least a Redis with another past is given time before a snapshot. That the partition must have been
// attended for two lease times is asked of Redis.
const resyncPause = 100 * time.Millisecond

// Watch gives the users who are online now, and then every change; see [Tracker]. The first watcher of a node waits until its node has
// asked Redis, and without a node does not wait while Redis is known to be away. Later ones are told then what was known before, and
// the difference when it is back.
func (r *Redis) Watch(ctx context.Context) ([]string, iter.Seq[Update], error) {
	s := r.tail.enter()
	wait := followBlock + 2*r.timeout
	if r.lease == nil && r.State().Err != nil {
		wait = 0
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	var err error
	select {
	case <-s.ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-patience.C:
		select {
		case <-s.ready: // as well
		default:
			err = fmt.Errorf("who is online could not be found out within %v", wait)
			if state := r.State(); state.Err != nil {
				err = state.Err
			}
		}
	}
	if err != nil {
		r.leave(s)
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	snapshot, updates := r.feed.watch(ctx, func() { r.leave(s) })
	return snapshot, updates, nil
}

// follow follows the logs of some partitions whenever somebody watches, until ctx ends.
func (r *Redis) follow(ctx context.Context, group []int) {
	for {
		r.tail.mu.Lock()
		s, begun := r.tail.session, r.tail.begun
		r.tail.mu.Unlock()
		if s == nil {
			select {
			case <-ctx.Done():
				return
			case <-begun:
			}
			continue
		}
		r.followSession(ctx, s, group)
		if ctx.Err() != nil {
			return
		}
	}
}

// followSession follows logs until the session or ctx ends.
func (r *Redis) followSession(ctx context.Context, s *session, group []int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for failures := 0; ctx.Err() == nil; {
		waiting, err := r.snapshots(ctx, s, group)
		if err == nil {
			err = r.readLogs(ctx, s, group, waiting)
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		select {
		case <-ctx.Done():
		case <-time.After(r.backoff(failures)):
		}
	}
}

// snapshots takes snapshots of those partitions of a group that need one. It returns whether some have to wait.
func (r *Redis) snapshots(ctx context.Context, s *session, group []int) (waiting bool, err error) {
	for _, k := range group {
		s.mu.Lock()
		needed, why := s.followers[k].last == "", s.resyncs[k]
		s.mu.Unlock()
		if !needed {
			continue
		}
		if time.Now().Before(why.after) {
			waiting = true
			continue
		}
		users, end, err := r.snapshot(ctx, k, why.cause != "")
		if err != nil {
			return false, err
		}
		if end == "" {
			waiting = true
			continue
		}
		r.tail.mu.Lock()
		if r.tail.session == s { // whoever watches now may be another session's
			r.feed.replace(users, func(user string) bool { return partitionOf(user, "") == k }, why.cause != "")
			if why.cause == "" {
				if s.missing--; s.missing == 0 {
					close(s.ready)
				}
			} else {
				r.hooks.resynced(why.cause)
				r.log.Warn("presence: watchers are told differences instead of changes", "cause", string(why.cause), "partition", k)
			}
		}
		r.tail.mu.Unlock()
		s.mu.Lock()
		s.followers[k].last = end
		s.mu.Unlock()
	}
	return waiting, nil
}

// look asks a partition about itself, and changes nothing.
func (r *Redis) look(ctx context.Context, partition int) (ticked, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	c := r.tickCall(partition, "")
	if err := run(ctx, r.client, []*call{c}); err != nil {
		return ticked{}, err
	}
	return parseTicked(c.reply)
}

// snapshot reads who is online in a partition, and the end of the log to which that belongs. An empty end means that it must be tried
// again: what is there may not be all.
func (r *Redis) snapshot(ctx context.Context, partition int, again bool) (users map[string]struct{}, end string, err error) {
	before, err := r.look(ctx, partition)
	if err != nil {
		return nil, "", err
	}
	keys := &r.keys[partition]
	users = make(map[string]struct{})
	for last := "-"; ; {
		page, err := r.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: keys.on(), Start: last, Stop: "+", ByLex: true, Count: snapshotPage}).Result()
		if err != nil {
			return nil, "", err
		}
		for _, user := range page {
			users[user] = struct{}{}
		}
		if len(page) < snapshotPage {
			break
		}
		last = "(" + page[len(page)-1]
	}
	// What has changed meanwhile may be in there or not. The log tells.
	entries, err := r.client.XRange(ctx, keys.log(), "("+before.ver, "+").Result()
	if err != nil {
		return nil, "", err
	}
	f := follower{last: before.ver}
	for _, x := range entries {
		e, ok := readEntry(x.ID, x.Values)
		if !ok || f.next(e) != sound {
			return nil, "", nil
		}
		if e.Online {
			users[e.User] = struct{}{}
		} else {
			delete(users, e.User)
		}
	}
	after, err := r.look(ctx, partition)
	if err != nil {
		return nil, "", err
	}
	complete := after.epoch == before.epoch && versionOf(after.ver) >= versionOf(f.last)
	if again {
		// After an outage or a failover all nodes get time to say what they have.
		complete = complete && after.now-after.since >= 2*r.life.Milliseconds()
	} else {
		r.mu.Lock()
		complete = complete && (!r.trusts[partition].known || r.trusts[partition].ok && r.trusts[partition].epoch == after.epoch)
		r.mu.Unlock()
	}
	if !complete {
		return nil, "", nil
	}
	return users, f.last, nil
}

// readLogs waits for the next entries of the logs of a group, and tells the feed.
func (r *Redis) readLogs(ctx context.Context, s *session, group []int, waiting bool) error {
	var names, ids []string
	partition := make(map[string]int, len(group))
	s.mu.Lock()
	for _, k := range group {
		if last := s.followers[k].last; last != "" {
			names, ids = append(names, r.keys[k].log()), append(ids, last)
			partition[r.keys[k].log()] = k
		}
	}
	s.mu.Unlock()
	block := followBlock
	if waiting {
		block = min(block, r.pace/5)
	}
	if len(names) == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(block):
		}
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, block+r.timeout)
	defer cancel()
	streams, err := r.client.XRead(limited, &redis.XReadArgs{Streams: slices.Concat(names, ids), Count: followCount, Block: block}).Result()
	if err == redis.Nil {
		return nil
	}
	if err != nil {
		return err
	}
	for _, stream := range streams {
		r.take(s, partition[stream.Stream], stream.Messages)
	}
	return nil
}

// take takes new entries of a log into account.
func (r *Redis) take(s *session, partition int, entries []redis.XMessage) {
	var changes []Change
	f := sound
	s.mu.Lock()
	for _, x := range entries {
		e, ok := readEntry(x.ID, x.Values)
		if !ok {
			f = reverted
			break
		}
		if s.followers[partition].last == "" {
			break // lost meanwhile
		}
		if f = s.followers[partition].next(e); f != sound {
			break
		}
		changes = append(changes, e.Change)
	}
	s.mu.Unlock()
	r.tail.mu.Lock()
	if r.tail.session == s {
		r.feed.tell(changes, false)
	}
	r.tail.mu.Unlock()
	if f != sound {
		s.lose(partition, f, "")
	}
}

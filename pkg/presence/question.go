package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// onlineChunk is how many users one command asks about.
const onlineChunk = 500

var (
	errEnded   = errors.New("the tracker has ended")
	errRebuilt = errors.New("Redis has lost what it knew, and the nodes are telling it again")
)

// question is a pipeline of questions to some partitions. What a partition answers is believed if Redis has not lost its memory before.
type question struct {
	*Redis
	pipe redis.Pipeliner
	seen map[int]*redis.StringCmd
}

// ask begins a question. cancel must be called.
func (r *Redis) ask(ctx context.Context) (q *question, limited context.Context, cancel context.CancelFunc, err error) {
	r.mu.Lock()
	state, ended := r.state, r.ended
	r.mu.Unlock()
	if ended {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, errEnded)
	}
	if state.Err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, state.Err)
	}
	limited, cancel = context.WithTimeout(ctx, r.timeout)
	return &question{r, r.client.Pipeline(), make(map[int]*redis.StringCmd)}, limited, cancel, nil
}

// believe makes the answers of a partition count. It is called when the question to the partition stands in the pipeline: if Redis loses
// its memory in between, it shows.
func (q *question) believe(ctx context.Context, partition int) {
	q.seen[partition] = q.pipe.Get(ctx, q.keys[partition].seen())
}

// exec asks. That something is not there is no failure.
func (q *question) exec(ctx context.Context) error {
	if _, err := q.pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		if ctx.Err() == nil {
			signal(q.toTick) // finds out whether Redis is away altogether
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for partition, seen := range q.seen {
		epoch, _, _ := strings.Cut(seen.Val(), " ")
		if t := &q.trusts[partition]; t.known && (!t.ok || t.epoch != epoch) {
			signal(q.toTick)
			return fmt.Errorf("%w: %w", ErrUnavailable, errRebuilt)
		}
	}
	return nil
}

// Online says which of the users are online; see [Tracker].
func (r *Redis) Online(ctx context.Context, users ...string) ([]bool, error) {
	if len(users) == 0 {
		return nil, nil
	}
	q, ctx, cancel, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	var where [partitions][]int // places of the users in the question
	for i, user := range users {
		if user != "" {
			k := partitionOf(user, "")
			where[k] = append(where[k], i)
		}
	}
	type answer struct {
		places []int
		scores *redis.FloatSliceCmd
	}
	var answers []answer
	for k, places := range where {
		if len(places) == 0 {
			continue
		}
		for chunk := range slices.Chunk(places, onlineChunk) {
			members := make([]string, len(chunk))
			for i, place := range chunk {
				members[i] = users[place]
			}
			answers = append(answers, answer{chunk, q.pipe.ZMScore(ctx, r.keys[k].on(), members...)})
		}
		q.believe(ctx, k)
	}
	if err := q.exec(ctx); err != nil {
		return nil, err
	}
	online := make([]bool, len(users))
	for _, a := range answers {
		for i, score := range a.scores.Val() {
			online[a.places[i]] = score == 1 // who is not there has 0
		}
	}
	return online, nil
}

// Users lists online users; see [Tracker].
func (r *Redis) Users(ctx context.Context, after string, limit int) ([]string, error) {
	if limit <= 0 {
		return nil, nil
	}
	q, ctx, cancel, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	start := "-"
	if after != "" {
		start = "(" + after
	}
	pages := make([]*redis.StringSliceCmd, partitions)
	for k := range r.keys {
		pages[k] = q.pipe.ZRangeArgs(ctx, redis.ZRangeArgs{Key: r.keys[k].on(), Start: start, Stop: "+", ByLex: true, Count: int64(limit)})
		q.believe(ctx, k)
	}
	if err := q.exec(ctx); err != nil {
		return nil, err
	}
	var users []string
	for _, page := range pages {
		users = append(users, page.Val()...)
	}
	slices.Sort(users)
	return users[:min(len(users), limit)], nil
}

// Connections are those of a user; see [Tracker].
func (r *Redis) Connections(ctx context.Context, user string) ([]Connection, error) {
	if user == "" {
		return nil, nil
	}
	q, ctx, cancel, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	k := partitionOf(user, "")
	all := q.pipe.HGetAll(ctx, r.keys[k].user(user))
	q.believe(ctx, k)
	if err := q.exec(ctx); err != nil {
		return nil, err
	}
	var list []Connection
	for id, text := range all.Val() {
		list = append(list, decodeRecord(user, id, text))
	}
	sortConnections(list)
	return list, nil
}

// Connection finds a connection; see [Tracker].
func (r *Redis) Connection(ctx context.Context, id string) (Connection, error) {
	none := func() (Connection, error) { return Connection{}, fmt.Errorf("%w: %q", ErrNoConnection, id) }
	q, ctx, cancel, err := r.ask(ctx)
	if err != nil {
		return Connection{}, err
	}
	defer cancel()
	incarnations := make([]*redis.StringSliceCmd, partitions)
	for k := range r.keys {
		incarnations[k] = q.pipe.HKeys(ctx, r.keys[k].inc())
		q.believe(ctx, k)
	}
	if err := q.exec(ctx); err != nil {
		return Connection{}, err
	}
	type place struct {
		partition   int
		incarnation string
		text        *redis.StringCmd
	}
	var places []place
	q.pipe = r.client.Pipeline()
	clear(q.seen)
	for k := range r.keys {
		for _, incarnation := range incarnations[k].Val() {
			places = append(places, place{k, incarnation, q.pipe.HGet(ctx, r.keys[k].node(incarnation), id)})
		}
		q.believe(ctx, k)
	}
	if err := q.exec(ctx); err != nil {
		return Connection{}, err
	}
	for _, p := range places {
		text := p.text.Val()
		if text == "" {
			continue
		}
		user := userOf(text)
		if user == "" {
			c := Connection{ID: id, Node: nodeOf(p.incarnation)}
			decodeDetails(&c, strings.TrimPrefix(text, "-"))
			return c, nil
		}
		record, err := r.client.HGet(ctx, r.keys[p.partition].user(user), id).Result()
		switch {
		case errors.Is(err, redis.Nil):
			return none() // it has just left
		case err != nil:
			return Connection{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return decodeRecord(user, id, record), nil
	}
	return none()
}

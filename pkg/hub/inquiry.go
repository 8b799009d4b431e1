package hub

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// inquiry is one request to all nodes, and what has come of it.
type inquiry struct {
	id      uint64
	changed chan struct{} // takes one, without blocking

	mu        sync.Mutex
	live      []string                       // ids of those that must answer, as far as they are known
	receivers int                            // how many have got the request, at most; negative: not known
	gone      []string                       // those of the live that are dead
	replies   map[string]protocol.FleetReply // by the node's id
}

func (q *inquiry) add(p protocol.FleetReply) {
	q.mu.Lock()
	q.replies[p.Node] = p
	q.mu.Unlock()
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// sent notes who must answer.
func (q *inquiry) sent(live []string, receivers int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live, q.receivers = live, receivers
}

// counted notes how many nodes there are to hear a request.
func (q *inquiry) counted(nodes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.receivers < 0 || nodes < q.receivers {
		q.receivers = nodes
	}
}

// bury notes that nodes are dead.
func (q *inquiry) bury(gone []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = append(q.gone, gone...)
}

// open says who has not answered. final says that nobody will who has not: all that have got the request have answered it. q.mu must
// be held.
func (q *inquiry) open() (o silent, final bool) {
	for _, id := range q.live {
		if _, answered := q.replies[id]; !answered && !slices.Contains(q.gone, id) {
			o.named = append(o.named, id)
		}
	}
	// Who got the request is counted too: a node that has lost its lease has its connections all the same.
	o.unnamed = max(q.receivers-len(q.replies)-len(o.named), 0)
	return o, q.receivers >= 0 && len(q.replies) >= q.receivers
}

// progress is what has come of an inquiry so far.
type progress struct {
	answers
	open   silent // who has not answered
	final  bool   // and never will: all that have got the request have answered it
	doubt  bool   // only the number of receivers, or its lack, tells whether there are others than those that have answered
	enough bool   // one answer will do, and is there
}

func (q *inquiry) progress(enough func(protocol.FleetReply) bool) (p progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.replies {
		p.add(r)
		p.enough = p.enough || enough != nil && enough(r)
	}
	p.open, p.final = q.open()
	p.doubt = len(p.open.named) == 0 && (q.receivers < 0 || p.open.unnamed > 0)
	p.missing = append(p.missing, p.open.named...)
	for range p.open.unnamed {
		p.missing = append(p.missing, unnamed)
	}
	slices.SortFunc(p.replies, func(a, b protocol.FleetReply) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(p.failed)
	slices.Sort(p.missing)
	return p
}

// strip forgets what has been answered, but not by whom.
func (q *inquiry) strip() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id := range q.replies {
		q.replies[id] = protocol.FleetReply{}
	}
}

// silent are nodes that have not answered.
type silent struct {
	named   []string // ids of live ones
	unnamed int      // how many more there are
}

func (s silent) count() int { return len(s.named) + s.unnamed }

// within says whether they can all be among others. A node that was named there may have lost its lease, and with it its name.
func (s silent) within(others silent) bool {
	for _, id := range s.named {
		if !slices.Contains(others.named, id) {
			return false
		}
	}
	return s.count() <= others.count()
}

// answers are what the nodes said.
type answers struct {
	replies []protocol.FleetReply // in the order of the nodes' ids
	missing []string              // ids of live nodes that have not answered, or could not do what they were asked for; also unnamed ones
	failed  []string              // why they could not
}

func (a *answers) add(p protocol.FleetReply) {
	a.replies = append(a.replies, p)
	if p.Failed != "" {
		a.missing = append(a.missing, p.Node)
		a.failed = append(a.failed, p.Name+": "+p.Failed)
	}
}

// ask asks all nodes, this one included. It waits until all live ones have answered, until enough says that one answer will do, or
// until the time is up. Those that did not answer the last time, and have said nothing since, get a part of the time only; those
// that have not got the request, none. The error means that they could not be asked; what this node has to say is there all the
// same, if asking changes nothing.
func (f *fleet) ask(ctx context.Context, q protocol.FleetRequest, limit time.Duration, enough func(protocol.FleetReply) bool) (answers, error) {
	brief := time.NewTimer(limit / quietShare)
	defer brief.Stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := f.server
	if s.backplane == nil {
		return answers{replies: []protocol.FleetReply{f.answer(ctx, q)}}, nil
	}
	if d, ok := ctx.Deadline(); ok {
		limit = time.Until(d)
	}
	q.From, q.Wait = f.id, uint32(max(limit, 0)/time.Millisecond)
	in := f.enter()
	defer f.forget(in)
	q.ID = in.id
	live, receivers, err := f.send(ctx, q)
	if err != nil {
		a := answers{missing: []string{unnamed}}
		if !s.remote && (q.Action == protocol.FleetList || q.Action == protocol.FleetCount) {
			a.replies = append(a.replies, f.answer(ctx, q))
		}
		return a, err
	}
	in.sent(live, receivers)
	if !s.remote {
		in.add(f.answer(ctx, q))
	}
	for late, looked, counted := false, false, false; ; {
		p := in.progress(enough)
		switch {
		case p.enough:
			return p.answers, nil
		case p.doubt && !counted:
			counted = true
			f.count(ctx, in)
			continue
		case p.open.count() == 0:
			f.settle(in)
			return p.answers, nil
		case p.open.within(f.quiet()):
			if p.final || late {
				f.lapse(in)
				return p.answers, nil
			}
		case !looked && (p.final || late):
			looked = true
			in.bury(f.gone(ctx, p.open.named))
			continue
		case p.final:
			f.lapse(in)
			return p.answers, nil
		}
		select {
		case <-in.changed:
		case <-brief.C:
			late = true
		case <-ctx.Done():
			p = in.progress(enough)
			if late {
				f.lapse(in)
			}
			return p.answers, nil
		}
	}
}

// count finds out how many nodes hear requests. The broker's count of those who got one has strangers in it who listen by a pattern, or
// there is none: on a Redis Cluster.
func (f *fleet) count(ctx context.Context, in *inquiry) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if n, err := f.server.backplane.Subscribers(ctx, channelAsk); err == nil {
		in.counted(n)
	}
}

// enter begins an inquiry.
func (f *fleet) enter() *inquiry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = map[uint64]*inquiry{}
	}
	f.last++
	in := &inquiry{id: f.last, replies: map[string]protocol.FleetReply{}, changed: make(chan struct{}, 1)}
	f.waiting[in.id] = in
	return in
}

func (f *fleet) forget(in *inquiry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, in.id)
}

// heard takes a reply.
func (f *fleet) heard(p protocol.FleetReply) {
	f.mu.Lock()
	in := f.waiting[p.ID]
	if in == nil && f.lapsed != nil && f.lapsed.id == p.ID {
		in, p = f.lapsed, protocol.FleetReply{Node: p.Node} // too late, but the node is not quiet any more
	}
	f.mu.Unlock()
	if in != nil {
		in.add(p)
	}
}

// settle notes that all have answered.
func (f *fleet) settle(in *inquiry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lapsed != nil && f.lapsed.id < in.id {
		f.lapsed = nil
	}
}

// lapse notes that some have not answered.
func (f *fleet) lapse(in *inquiry) {
	in.strip()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lapsed == nil || f.lapsed.id < in.id {
		f.lapsed = in
	}
}

// quiet are those who did not answer the last time, and have said nothing since.
func (f *fleet) quiet() silent {
	f.mu.Lock()
	in := f.lapsed
	f.mu.Unlock()
	if in == nil {
		return silent{}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	o, _ := in.open()
	return o
}

// gone are those of the nodes that are dead.
func (f *fleet) gone(ctx context.Context, nodes []string) (gone []string) {
	isGone := f.server.options.Gone
	if isGone == nil || len(nodes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	found := make([]bool, len(nodes))
	var looks sync.WaitGroup
	for i, id := range nodes {
		looks.Go(func() { found[i] = isGone(ctx, id) })
	}
	looks.Wait()
	for i, id := range nodes {
		if found[i] {
			gone = append(gone, id)
		}
	}
	return gone
}

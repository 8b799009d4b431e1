package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// The channels on which nodes ask each other, which are ours alone. All nodes hear the first; each one has the second,
// with its id behind it, for the replies to what it asked.
const (
	channelAsk   = "hubfleet:ask"
	channelReply = "hubfleet:reply:"
)

// isFleet says whether a channel is one of these. No hub's can be: behind its name stands another word.
func isFleet(channel string) bool {
	return channel == channelAsk || strings.HasPrefix(channel, channelReply)
}

const (
	// queryTimeout is how long the nodes have to answer a question.
	queryTimeout = 2 * time.Second
	// controlTimeout is how long they have to do something; joining a group waits for the backplane.
	controlTimeout = 10 * time.Second
	// maxAsked bounds the requests of other nodes that wait here; more are dropped, and who asked is told that this node did not answer.
	maxAsked = 1024
	// answerers is how many requests of other nodes are worked on at a time.
	answerers = 4
)

// unnamed stands for nodes that have not answered, and of which no more is known.
const unnamed = "unknown"

// ErrIncomplete is returned when a live node did not answer in time, or could not do what it was asked for: what the others
// said, or did, stands.
var ErrIncomplete = errors.New("hub: not all nodes have answered")

// fleet is how a server asks the other nodes of its cluster about their connections, and answers them.
type fleet struct {
	server *Server
	id     string // of this node, for the others

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*inquiry
	queue   []protocol.FleetRequest // from other nodes, waiting
	working int                     // goroutines that work on them
}

// standing are the channels that a server is subscribed to from the start.
func (f *fleet) standing() []string {
	reply := channelReply + f.id
	if f.server.remote {
		return []string{reply}
	}
	return []string{channelAsk, reply}
}

// inquiry is one request to all nodes, and what has come of it.
type inquiry struct {
	mu      sync.Mutex
	replies map[string]protocol.FleetReply // by the node's id
	changed chan struct{}                  // takes one, without blocking
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
// until the time is up. The error means that they could not be asked; what this node has to say is there all the same, if asking
// changes nothing.
func (f *fleet) ask(ctx context.Context, q protocol.FleetRequest, limit time.Duration, enough func(protocol.FleetReply) bool) (answers, error) {
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
	in := &inquiry{replies: map[string]protocol.FleetReply{}, changed: make(chan struct{}, 1)}
	q.ID = f.enter(in)
	defer f.forget(q.ID)
	live, receivers, err := f.send(ctx, q)
	if err != nil {
		a := answers{missing: []string{unnamed}}
		if !s.remote && (q.Action == protocol.FleetList || q.Action == protocol.FleetCount) {
			a.replies = append(a.replies, f.answer(ctx, q))
		}
		return a, err
	}
	if !s.remote {
		in.add(f.answer(ctx, q))
	}
	for {
		a, done := in.look(live, receivers, enough)
		if done {
			return a, nil
		}
		select {
		case <-in.changed:
		case <-ctx.Done():
			a, _ = in.look(live, receivers, enough)
			return a, nil
		}
	}
}

// send publishes a request. It returns who must answer: the live nodes, as far as they are known, and how many got it.
func (f *fleet) send(ctx context.Context, q protocol.FleetRequest) (live []string, receivers int, err error) {
	s := f.server
	// That the replies can come in is asked each time: the link may have been lost since.
	if err := s.backplane.Subscribe(ctx, channelReply+f.id); err != nil {
		return nil, 0, fromBackplane(err)
	}
	if s.options.Nodes != nil {
		if live, err = s.options.Nodes(ctx); err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	receivers, err = s.backplane.Publish(ctx, protocol.AppendFleetRequest(nil, q), channelAsk)
	return live, receivers, publishError(ctx, err)
}

func (f *fleet) enter(in *inquiry) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = map[uint64]*inquiry{}
	}
	f.last++
	f.waiting[f.last] = in
	return f.last
}

func (f *fleet) forget(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, id)
}

// look says what has been answered so far, and whether that is all there will be.
func (q *inquiry) look(live []string, receivers int, enough func(protocol.FleetReply) bool) (a answers, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.replies {
		a.add(p)
		done = done || enough != nil && enough(p)
	}
	slices.SortFunc(a.replies, func(a, b protocol.FleetReply) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(a.failed)
	waiting := 0
	for _, id := range live {
		if _, answered := q.replies[id]; !answered {
			a.missing = append(a.missing, id)
			waiting++
		}
	}
	// Who got the request is counted too: a node that has lost its lease has its connections all the same.
	for i := len(q.replies) + waiting; i < receivers; i++ {
		a.missing = append(a.missing, unnamed)
	}
	slices.Sort(a.missing)
	return a, done || waiting == 0 && len(q.replies) >= receivers
}

// received acts on what came on one of our channels. It never blocks.
func (f *fleet) received(channel string, payload []byte) error {
	if channel == channelAsk {
		q, err := protocol.DecodeFleetRequest(payload)
		if err != nil || q.From == f.id {
			return err
		}
		return f.take(q)
	}
	p, err := protocol.DecodeFleetReply(payload)
	if err != nil {
		return err
	}
	f.mu.Lock()
	in := f.waiting[p.ID]
	f.mu.Unlock()
	if in != nil {
		in.add(p)
	}
	return nil
}

// take queues a request of another node, to be answered by a goroutine of a few.
func (f *fleet) take(q protocol.FleetRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) >= maxAsked {
		f.server.countRefused(q.Hub)
		return fmt.Errorf("%d requests of other nodes wait; no more are taken, and who asks sees no answer", maxAsked)
	}
	if f.working < answerers {
		if !f.server.enter() {
			return nil // it stops, and has nothing to say any more
		}
		f.working++
		go f.work()
	}
	f.queue = append(f.queue, q)
	return nil
}

// work answers what waits, and then ends.
func (f *fleet) work() {
	defer f.server.leave()
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.queue = nil
			f.working--
			f.mu.Unlock()
			return
		}
		q := f.queue[0]
		f.queue = f.queue[1:]
		f.mu.Unlock()
		f.reply(q)
	}
}

// reply answers one request.
func (f *fleet) reply(q protocol.FleetRequest) {
	ctx, cancel := context.WithTimeout(f.server.hard, min(time.Duration(q.Wait)*time.Millisecond, controlTimeout))
	defer cancel()
	payload := protocol.AppendFleetReply(nil, f.answer(ctx, q))
	if _, err := f.server.backplane.Publish(ctx, payload, channelReply+q.From); err != nil {
		f.server.log.Warn("another node's question could not be answered", "from", q.From, "error", err)
	}
}

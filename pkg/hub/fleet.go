package hub

import (
	"context"
	"errors"
	"fmt"
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
	// quietShare is the part of that, or of controlTimeout, for which those are waited for that did not answer the last time.
	quietShare = 10
	// goneTimeout is how long it may take to find out whether a node that does not answer is dead.
	goneTimeout = 500 * time.Millisecond
	// countTimeout is how long it may take to find out how many nodes there are.
	countTimeout = 500 * time.Millisecond
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
	lapsed  *inquiry                // the last that not all have answered, unless all have answered a later one
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
	f.heard(p)
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

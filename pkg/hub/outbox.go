package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/transport"
)

// outbox is what waits to be written to one client: a queue bounded in bytes, and a writer that exists only while
// something waits. An idle outbox holds no memory but itself.
//
// The writer takes all that waits at once and hands it to the transport, which joins it. What is sent to the client by
// others never waits here (push); what the client itself asked for may (pushWait).
type outbox struct {
	mu     sync.Mutex
	list   *frameList // what waits; nil when nothing does
	bytes  int        // what waits and what is being written
	max    int        // the bound on bytes
	writer writerState
	closed bool          // nothing more is taken
	moved  chan struct{} // closed when there is room again, or none will ever be; nil when nobody waits
	replay *replay       // what may have to be sent again; nil unless reconnects are stateful

	run func() // the writer; made once, so that starting it allocates nothing
}

// writerState is whether a writer exists.
type writerState uint8

const (
	writerNone    writerState = iota
	writerOwed                // whoever queued the first frame is about to start it
	writerRunning             // it runs
	writerHeld                // there shall be none until release
)

// frameList is a pooled slice, so that an idle connection needs none of its own.
type frameList struct {
	frames []*transport.Frame
	queued int            // bytes that are counted in outbox.bytes until they are written
	link   transport.Conn // where to; nil: to the only one there is
}

var frameLists = sync.Pool{New: func() any { return &frameList{frames: make([]*transport.Frame, 0, 16)} }}

// keepFrames is how long a list may be and still go back to the pool.
const keepFrames = 1024

func (l *frameList) release() {
	if cap(l.frames) > keepFrames {
		return
	}
	clear(l.frames)
	l.frames, l.queued, l.link = l.frames[:0], 0, nil
	frameLists.Put(l)
}

// pushed is what became of a frame.
type pushed uint8

const (
	pushQueued pushed = iota // a writer will take it
	pushWake                 // so, but the caller must start the writer, with go o.run(), soon
	pushHurry                // so, and at once: the queue fills up. That somebody else will do so too does no harm
	pushFull                 // the queue is full; from now on it takes nothing more, and the connection must be ended
	pushClosed               // the queue takes nothing any more
)

// hold makes the outbox queue what comes without writing it, until release.
func (o *outbox) hold() {
	o.mu.Lock()
	o.writer = writerHeld
	o.mu.Unlock()
}

// release ends hold; it says whether the caller must start the writer.
func (o *outbox) release() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writer = writerNone
	if o.start() == pushWake {
		return true
	}
	o.announce()
	return false
}

// startable says whether there is something for a writer to do. o.mu must be held.
func (o *outbox) startable() bool {
	if o.writer != writerNone {
		return false
	}
	if o.replay != nil {
		return o.replay.startable(o.list != nil)
	}
	return o.list != nil
}

// push queues f and never waits.
func (o *outbox) push(f *transport.Frame) pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return pushClosed
	}
	if !o.room(f.Len()) {
		o.closed = true
		o.announce()
		return pushFull
	}
	return o.add(f)
}

// room says whether n more bytes fit. One frame always fits into an empty queue, however large it is.
func (o *outbox) room(n int) bool { return o.bytes == 0 || o.bytes+n <= o.max }

func (o *outbox) add(f *transport.Frame) pushed {
	if o.list == nil {
		o.list = frameLists.Get().(*frameList)
	}
	o.list.frames = append(o.list.frames, f)
	o.list.queued += f.Len()
	o.bytes += f.Len()
	if o.writer == writerOwed && o.bytes > o.max/2 {
		return pushHurry
	}
	return o.start()
}

// start says whether the caller must start the writer. o.mu must be held.
func (o *outbox) start() pushed {
	if !o.startable() {
		return pushQueued
	}
	o.writer = writerOwed
	return pushWake
}

// begin makes the caller the writer; it returns false when another one is, or there is nothing to write.
func (o *outbox) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writer != writerOwed {
		return false
	}
	o.writer = writerRunning
	return true
}

var errNoRoom = errors.New("the client did not read what it asked for in time")

// pushWait queues f, waiting up to limit for room. It returns errNoRoom when there was none in time, and nil when the
// queue has been closed: what is sent to a client that has gone is not an error.
func (o *outbox) pushWait(ctx context.Context, f *transport.Frame, limit time.Duration) (pushed, error) {
	var expired <-chan time.Time
	for {
		o.mu.Lock()
		switch {
		case o.closed:
			o.mu.Unlock()
			return pushClosed, nil
		case o.room(f.Len()):
			p := o.add(f)
			o.mu.Unlock()
			return p, nil
		}
		moved := o.whenMoved()
		o.mu.Unlock()
		if expired == nil {
			t := time.NewTimer(limit)
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return pushClosed, context.Cause(ctx)
		case <-expired:
			return pushFull, errNoRoom
		}
	}
}

// whenMoved returns a channel that is closed when something has changed for those who wait. o.mu must be held.
func (o *outbox) whenMoved() <-chan struct{} {
	if o.moved == nil {
		o.moved = make(chan struct{})
	}
	return o.moved
}

// announce wakes those who wait. o.mu must be held.
func (o *outbox) announce() {
	if o.moved != nil {
		close(o.moved)
		o.moved = nil
	}
}

// take gives the writer all that waits, or ends it.
func (o *outbox) take() *frameList {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.list
	if o.replay != nil {
		l = o.replay.take(o)
	} else {
		o.list = nil
	}
	if l == nil {
		o.writer = writerNone
		o.announce()
	}
	return l
}

// wrote says that n bytes have left the queue.
func (o *outbox) wrote(n int) {
	o.mu.Lock()
	o.bytes -= n
	o.announce()
	o.mu.Unlock()
}

// finish queues a last frame, if any, and closes the queue for all others. It says whether the caller must start the writer.
func (o *outbox) finish(last *transport.Frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.closed = true
	o.announce()
	if last == nil {
		return false
	}
	if o.replay != nil {
		o.replay.last = last
		return o.start() == pushWake
	}
	return o.add(last) == pushWake
}

// discard closes the queue and drops what waits. It returns how many bytes the client has not taken, those that were being written
// included.
func (o *outbox) discard() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.announce()
	if o.replay != nil {
		o.replay.discard()
	}
	left := o.bytes
	if o.list != nil {
		o.bytes -= o.list.queued
		o.list.release()
		o.list = nil
	}
	return left
}

// idle returns when no writer is at work, or false after limit.
func (o *outbox) idle(limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		o.mu.Lock()
		if o.writer == writerNone {
			o.mu.Unlock()
			return true
		}
		moved := o.whenMoved()
		o.mu.Unlock()
		select {
		case <-moved:
		case <-t.C:
			return false
		}
	}
}

// busy says whether something waits or is being written.
func (o *outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writer != writerNone
}

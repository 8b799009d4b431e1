package hub

import "github.com/hubfleet/hubfleet/pkg/transport"

// replay is the part of an outbox that makes a reconnect stateful (SignalR hub protocol version 2): it keeps what the client has not
// acknowledged, to send it again over the next socket. What is kept is bounded: beyond it nothing more is written until
// acknowledgements come, so that what waits stays in the queue, whose own bound then decides. It is guarded by outbox.mu.
type replay struct {
	max      int                                       // the bound on bytes; the last message may go beyond it
	sequence func(firstUnacked int64) *transport.Frame // makes a Sequence message

	acked   int64              // the number of the last message that the client has
	unacked []*transport.Frame // those behind it that were written
	bytes   int                // of unacked

	control []*transport.Frame // pings and acks, which are neither counted nor kept
	last    *transport.Frame   // the Close message, behind all else
	link    transport.Conn     // the socket
	paused  bool               // it is broken
	resend  bool               // the socket is a new one: Sequence and unacked come first
}

// maxControl bounds the control messages that wait. There is one ping each 15 s and one ack each second; more can only wait when
// nothing is read, and then they tell nothing.
const maxControl = 8

func (r *replay) startable(waiting bool) bool {
	return !r.paused && (r.resend || len(r.control) > 0 || r.last != nil || waiting && r.bytes <= r.max)
}

// take returns what is to be written next; nil when nothing is.
func (r *replay) take(o *outbox) *frameList {
	if !r.startable(o.list != nil) {
		return nil
	}
	l := frameLists.Get().(*frameList)
	l.link = r.link
	if r.resend {
		r.resend = false
		l.frames = append(append(l.frames, r.sequence(r.acked+1)), r.unacked...)
	}
	l.frames = append(l.frames, r.control...)
	r.control = nil
	r.takeQueued(o, l)
	if r.last != nil && o.list == nil {
		l.frames = append(l.frames, r.last)
		r.last = nil
	}
	if len(l.frames) == 0 {
		l.release()
		return nil
	}
	return l
}

// takeQueued moves what is queued to l, and to unacked, as far as the bound allows.
func (r *replay) takeQueued(o *outbox, l *frameList) {
	if o.list == nil {
		return
	}
	n := 0
	for n < len(o.list.frames) && r.bytes <= r.max {
		f := o.list.frames[n]
		r.bytes += f.Len()
		l.queued += f.Len()
		r.unacked = append(r.unacked, f)
		n++
	}
	l.frames = append(l.frames, o.list.frames[:n]...)
	if n == len(o.list.frames) {
		o.list.release()
		o.list = nil
		return
	}
	o.list.queued -= l.queued
	rest := copy(o.list.frames, o.list.frames[n:])
	clear(o.list.frames[rest:])
	o.list.frames = o.list.frames[:rest]
}

func (r *replay) discard() {
	r.unacked, r.bytes, r.control, r.last, r.resend = nil, 0, nil, nil, false
}

// acknowledged says that the client has all messages up to number id. It says whether the caller must start the writer.
func (o *outbox) acknowledged(id int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.replay
	if r == nil {
		return false
	}
	n := 0
	for n < len(r.unacked) && r.acked < id {
		r.bytes -= r.unacked[n].Len()
		r.acked++
		n++
	}
	clear(r.unacked[:n])
	if r.unacked = r.unacked[n:]; len(r.unacked) == 0 {
		r.unacked = nil
	}
	return o.start() == pushWake
}

// pushControl queues a message that is not counted. It says whether the caller must start the writer.
func (o *outbox) pushControl(f *transport.Frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.replay.control) >= maxControl || o.replay.paused {
		return false
	}
	o.replay.control = append(o.replay.control, f)
	return o.start() == pushWake
}

// pause makes the writer stop until resume, because a socket broke; unless it has been replaced already.
func (o *outbox) pause(broken transport.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replay.link == broken {
		o.replay.paused = true
		o.replay.control = nil
	}
}

// resume goes on over a new socket. It says whether the caller must start the writer.
func (o *outbox) resume(link transport.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.replay
	r.link, r.paused, r.resend = link, false, true
	return o.start() == pushWake
}

// suspended says whether there is no socket.
func (o *outbox) suspended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replay.paused
}

// lastNumber is the number that the last message has, of those that were written and those that wait.
func (o *outbox) lastNumber() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.replay.acked + int64(len(o.replay.unacked))
	if o.list != nil {
		n += int64(len(o.list.frames))
	}
	return n
}

// acknowledgedUpTo says whether the client has all messages up to number id, and nothing waits because it has not acknowledged others.
func (o *outbox) acknowledgedUpTo(id int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.replay
	return !r.paused && r.acked >= id && (o.list == nil || r.bytes <= r.max)
}

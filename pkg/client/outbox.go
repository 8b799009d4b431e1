package client

import (
	"context"
	"sync"
)

// maxBatch bounds how many bytes of messages are joined into one WebSocket message or request.
const maxBatch = 64 << 10

// maxUrgent bounds the pings and acknowledgements that wait while the link does not take them.
const maxUrgent = 256

// outbox is what is to be sent on one connection. If the connection can be resumed, what has been sent stays until the
// server has acknowledged it. One writer at a time takes from it.
//
// Messages have serial numbers from 1 on, which are the sequence ids of stateful reconnect.
type outbox struct {
	limit int // bytes that frames may hold when another is added

	mu       sync.Mutex
	stateful bool
	frames   [][]byte // in order
	first    int64    // serial of frames[0]
	taken    int      // how many of frames the writer has taken
	bytes    int      // in frames
	urgent   []byte   // goes before all others; is not counted, and not sent again
	final    []byte   // goes after all others
	flushed  int64    // serial of the last frame that the link has taken whole
	highest  int64    // serial of the last frame that any link has been given
	known    int64    // serial up to which the server has acknowledged
	finished bool     // final was sent
	closed   error
	changed  signal
}

func newOutbox(limit int) *outbox { return &outbox{limit: limit, first: 1} }

// add puts a message in line, waiting for room, and returns its serial number.
func (o *outbox) add(ctx context.Context, frame []byte) (int64, error) {
	for {
		o.mu.Lock()
		if err := o.refusal(); err != nil {
			o.mu.Unlock()
			return 0, err
		}
		if o.bytes <= o.limit {
			defer o.mu.Unlock()
			return o.append(frame), nil
		}
		changed := o.changed.wait()
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// insert puts a message in line that cannot wait for room: a small one that ends something.
func (o *outbox) insert(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusal() == nil {
		o.append(frame)
	}
}

func (o *outbox) append(frame []byte) (serial int64) {
	o.frames = append(o.frames, frame)
	o.bytes += len(frame)
	o.changed.notify()
	return o.first + int64(len(o.frames)) - 1
}

func (o *outbox) refusal() error {
	if o.closed == nil && o.final != nil {
		return ErrClosed
	}
	return o.closed
}

// await waits until the message with the serial number has been sent, or is sure to be, because the connection can be resumed.
func (o *outbox) await(ctx context.Context, serial int64) error {
	return o.until(ctx, func() bool { return o.stateful || o.flushed >= serial })
}

// finish puts the last message behind all others, and waits until it has been sent.
func (o *outbox) finish(ctx context.Context, frame []byte) error {
	o.mu.Lock()
	o.final = frame
	o.changed.notify()
	o.mu.Unlock()
	return o.until(ctx, func() bool { return o.finished })
}

func (o *outbox) until(ctx context.Context, met func() bool) error {
	for {
		o.mu.Lock()
		if met() {
			o.mu.Unlock()
			return nil
		}
		if err := o.closed; err != nil {
			o.mu.Unlock()
			return err
		}
		changed := o.changed.wait()
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hurry puts a ping or an acknowledgement before all others. When many wait already it is dropped: the link is stuck, and
// the next one says the same.
func (o *outbox) hurry(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.urgent) < maxUrgent && o.closed == nil {
		o.urgent = append(o.urgent, frame...)
		o.changed.notify()
	}
}

// take waits for what is to be sent, and appends it to dst. upTo is for sent.
func (o *outbox) take(ctx context.Context, dst []byte) (batch []byte, upTo int64, err error) {
	for {
		o.mu.Lock()
		if o.closed != nil {
			o.mu.Unlock()
			return dst, 0, o.closed
		}
		if batch, upTo := o.batch(dst); len(batch) > 0 {
			o.mu.Unlock()
			return batch, upTo, nil
		}
		changed := o.changed.wait()
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return dst, 0, context.Cause(ctx)
		}
	}
}

// finalSerial stands for the last message, which has no number.
const finalSerial = -1

func (o *outbox) batch(dst []byte) ([]byte, int64) {
	dst = append(dst, o.urgent...)
	o.urgent = o.urgent[:0]
	for o.taken < len(o.frames) {
		next := o.frames[o.taken]
		if len(dst) > 0 && len(dst)+len(next) > maxBatch {
			break
		}
		dst = append(dst, next...)
		o.taken++
	}
	upTo := o.first + int64(o.taken) - 1
	o.highest = max(o.highest, upTo)
	if o.taken == len(o.frames) && o.final != nil && !o.finished {
		return append(dst, o.final...), finalSerial
	}
	return dst, upTo
}

// sent says that the link has taken what take returned.
func (o *outbox) sent(upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if upTo == finalSerial {
		o.finished = true
		upTo = o.first + int64(o.taken) - 1
	}
	o.flushed = upTo
	if !o.stateful {
		o.known = upTo
	}
	o.forget()
}

// acked says that the server has what was sent up to a sequence id; one that was not sent yet cannot be meant.
func (o *outbox) acked(upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stateful {
		o.known = max(o.known, min(upTo, o.highest))
		o.forget()
	}
}

// forget drops the frames that the server is known to have. Behind a rewind it may know of some that are still to be sent again; they
// must be, as the server counts them.
func (o *outbox) forget() {
	n := int(min(o.known-o.first+1, int64(o.taken)))
	for i, frame := range o.frames[:max(n, 0)] {
		o.bytes -= len(frame)
		o.frames[i] = nil
	}
	if n > 0 {
		o.frames = o.frames[n:]
		o.first += int64(n)
		o.taken -= n
	}
	o.changed.notify()
}

// rewind makes all that is not acknowledged be sent again, on a new link, behind the frame that sequence makes of the
// first number.
func (o *outbox) rewind(sequence func(first int64) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = 0
	o.urgent = append(o.urgent[:0], sequence(o.first)...)
	o.changed.notify()
}

// close makes everything fail that waits, or comes later.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed == nil {
		o.closed = err
		o.frames, o.urgent = nil, nil
		o.changed.notify()
	}
}

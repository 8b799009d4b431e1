package backplane

import "sync/atomic"

// What a call does, in the words of its errors.
const (
	opPublish   = "publish to"
	opCount     = "count subscribers of"
	opSubscribe = "subscribe to"
)

// call is one Publish: a part for each channel, which may travel in different lanes.
type call struct {
	op      string
	payload []byte
	parts   []part
	left    atomic.Int32 // parts without an end

	// When none is left, one of them is used. The caller sets it before it queues the first part.
	done chan struct{} // closed
	then func()        // called
}

// part is one command on its way through a lane. Its state says whom it belongs to: to the lane once it is taken, to the
// caller when it is waiting, finished or abandoned.
type part struct {
	call    *call
	channel string
	state   atomic.Int32

	// Written by whoever finishes it, before the state says so.
	receivers int64
	maybe     bool
	err       error
}

const (
	waiting   = iota // in a queue; nothing was sent
	taken            // a lane is sending it, or waits for the reply
	finished         // it has a result
	abandoned        // the caller gave up while it was waiting: it must not be sent
)

func newCall(op string, payload []byte, channels []string) *call {
	c := &call{op: op, payload: payload, parts: make([]part, len(channels))}
	c.left.Store(int32(len(channels)))
	for i, channel := range channels {
		c.parts[i].call, c.parts[i].channel = c, channel
	}
	return c
}

// take makes the part the lane's, unless the caller has given up.
func (p *part) take() bool { return p.state.CompareAndSwap(waiting, taken) }

// finish ends a taken part.
func (p *part) finish(receivers int64, maybe bool, err error) {
	p.receivers, p.maybe, p.err = receivers, maybe, err
	p.state.Store(finished)
	if c := p.call; c.left.Add(-1) == 0 {
		if c.then != nil {
			c.then()
			return
		}
		close(c.done)
	}
}

// refuse ends a waiting part: it was not sent.
func (p *part) refuse(err error) {
	if p.take() {
		p.finish(0, false, err)
	}
}

// result is what the caller gets, who waits no longer: because all parts have an end, or because of why. What was not yet
// taken is then never sent.
func (c *call) result(why error) (receivers int, err error) {
	var failed *Error
	some := false // something was sent, or may have been
	for i := range c.parts {
		p := &c.parts[i]
		var maybe bool
		var cause error
		switch {
		case p.state.CompareAndSwap(waiting, abandoned):
			cause = why
		case p.state.Load() == taken:
			maybe, cause = true, why
		default:
			maybe, cause = p.maybe, p.err
			receivers += int(p.receivers)
		}
		some = some || maybe || cause == nil
		if cause != nil && failed == nil {
			failed = &Error{Op: c.op, Channel: p.channel, Err: cause}
		}
	}
	if failed == nil {
		return receivers, nil
	}
	failed.Maybe = some
	return receivers, failed
}

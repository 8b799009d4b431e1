package backplane

import (
	"context"
	"time"
)

func (r *Redis) laneOf(channel string) *lane { return r.lanes[share(channel, len(r.lanes))] }

// Publish hands one payload to every channel named, and returns when Redis has answered for all. receivers is Redis' count
// of subscribed connections, summed; -1 when it cannot be known, because a server of a cluster counts only its own (sharded
// Pub/Sub has no such limit). Nothing is ever sent twice.
//
// While the link is down it fails at once with ErrUnavailable. ctx bounds the wait: if it ends before the message was sent,
// the message is not sent (ErrUnavailable); if it ends while the reply is awaited, the error is ErrMaybeSent, and payload
// must not be changed afterwards, because it may still be on its way to the socket. After any other return the payload is
// the caller's again. Refusals by Redis (permissions) are ErrUnavailable as well.
func (r *Redis) Publish(ctx context.Context, payload []byte, channels ...string) (receivers int, err error) {
	if len(channels) == 0 {
		return 0, nil
	}
	start := time.Now()
	receivers, err = r.do(ctx, newCall(opPublish, payload, channels))
	if r.scattered && err == nil {
		receivers = -1
	}
	r.published(len(channels), start, err)
	return receivers, err
}

// Enqueue is Publish that does not wait for the reply. It returns when the message has its place behind all that was published
// or enqueued before in the lanes of its channels; it waits for room there, at most until ctx ends.
//
// An error says that nothing was sent. After nil done is called once, with the error that Publish would have returned: when
// Redis has answered for all channels, or failed, which ReplyTimeout and the end of Run bound, not ctx; perhaps
// before Enqueue returns. It runs on the goroutine of a lane and must return at once. Until then payload must not be changed.
func (r *Redis) Enqueue(ctx context.Context, payload []byte, done func(err error), channels ...string) error {
	if len(channels) == 0 {
		done(nil)
		return nil
	}
	start := time.Now()
	c := newCall(opPublish, payload, channels)
	c.then = func() {
		_, err := c.result(nil)
		r.published(len(channels), start, err)
		done(err)
	}
	err := r.check(c)
	if err == nil && ctx.Err() != nil {
		_, err = c.result(context.Cause(ctx))
	}
	if err != nil {
		r.published(len(channels), start, err)
		return err
	}
	r.put(ctx, c)
	return nil
}

// published tells the observer what became of a call.
func (r *Redis) published(channels int, start time.Time, err error) {
	hook := r.opt.Hooks.Published
	if hook == nil {
		return
	}
	outcome := Sent
	if e, ok := err.(*Error); ok {
		if outcome = NotSent; e.Maybe {
			outcome = MaybeSent
		}
	}
	hook(channels, outcome, time.Since(start))
}

// Subscribers is how many connections are subscribed to the channel (PUBSUB NUMSUB): one for each node that wants it.
// It counts after everything that was published to the channel before. On a cluster every server is asked, unless Pub/Sub is
// sharded; none is the answer only if all have answered.
func (r *Redis) Subscribers(ctx context.Context, channel string) (int, error) {
	if r.scattered {
		n, err := r.dialer.topology.subscribers(ctx, r.opt.Prefix+channel)
		if err != nil {
			return 0, &Error{Op: opCount, Channel: channel, Err: r.dialer.explain(err)}
		}
		return n, nil
	}
	n, err := r.do(ctx, newCall(opCount, nil, []string{channel}))
	if e, ok := err.(*Error); ok {
		e.Maybe = false // nothing to deliver
	}
	return n, err
}

// do sends the parts of a call through their lanes and waits for the end. Errors are of type *Error.
func (r *Redis) do(ctx context.Context, c *call) (int, error) {
	if err := r.check(c); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return c.result(context.Cause(ctx))
	}
	c.done = make(chan struct{})
	r.put(ctx, c)
	select {
	case <-c.done:
		return c.result(nil)
	case <-ctx.Done():
		return c.result(context.Cause(ctx))
	case <-r.stopped:
		return c.result(errStopped)
	}
}

// check says which channel cannot be served. Then none is: the caller should hear "nothing was sent" whenever that can be had.
func (r *Redis) check(c *call) error {
	for i := range c.parts {
		p := &c.parts[i]
		if down := r.laneOf(p.channel).down.Load(); down != nil {
			return &Error{Op: c.op, Channel: p.channel, Err: *down}
		}
	}
	return nil
}

// put queues the parts of a call in their lanes.
func (r *Redis) put(ctx context.Context, c *call) {
	for i := range c.parts {
		p := &c.parts[i]
		r.laneOf(p.channel).put(ctx, p, r.stopped)
	}
}

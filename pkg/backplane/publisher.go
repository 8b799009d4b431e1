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
	if hook := r.opt.Hooks.Published; hook != nil {
		outcome := Sent
		if e, ok := err.(*Error); ok {
			if outcome = NotSent; e.Maybe {
				outcome = MaybeSent
			}
		}
		hook(len(channels), outcome, time.Since(start))
	}
	return receivers, err
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
	for i := range c.parts {
		// If one channel cannot be served, none is: the caller should hear "nothing was sent" whenever that can be had.
		p := &c.parts[i]
		if down := r.laneOf(p.channel).down.Load(); down != nil {
			return 0, &Error{Op: c.op, Channel: p.channel, Err: *down}
		}
	}
	if ctx.Err() != nil {
		return c.result(context.Cause(ctx))
	}
	for i := range c.parts {
		p := &c.parts[i]
		r.laneOf(p.channel).put(ctx, p, r.stopped)
	}
	select {
	case <-c.done:
		return c.result(nil)
	case <-ctx.Done():
		return c.result(context.Cause(ctx))
	case <-r.stopped:
		return c.result(errStopped)
	}
}

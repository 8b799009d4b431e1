package hub

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// errCancelled is the cause with which a stream's context ends when the client, or its leaving, cancels it.
var errCancelled = errors.New("hub: the client does not want the stream any more")

// openStream gives a call that streams a context of its own, which the client can cancel. The text says what is wrong.
func (c *Connection) openStream(call *Call, id string) (text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.streams[id]; taken {
		return "Invocation ID '" + id + "' is already in use."
	}
	if len(c.streams)+len(c.uploads) >= c.host.limits.MaxStreams {
		return tooManyStreams(c.host.limits.MaxStreams)
	}
	if c.streams == nil {
		c.streams = map[string]context.CancelCauseFunc{}
	}
	ctx, cancel := context.WithCancelCause(call.ctx)
	call.ctx = ctx
	c.streams[id] = cancel
	if c.ended {
		cancel(errCancelled)
	}
	return ""
}

// closeStream forgets a stream that has ended.
func (c *Connection) closeStream(id string) {
	c.mu.Lock()
	cancel := c.streams[id]
	delete(c.streams, id)
	c.mu.Unlock()
	cancel(nil)
}

// cancelStream ends the context of a stream; the stream then ends without an error. Ids of no stream are passed over.
func (c *Connection) cancelStream(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.streams[id]; cancel != nil {
		cancel(errCancelled)
	}
}

// cancelStreams ends the contexts of all streams because the connection has gone. c.mu must be held.
func (c *Connection) cancelStreams() {
	for _, cancel := range c.streams {
		cancel(errCancelled)
	}
}

// runStream runs a method that streams its results, and sends them. Each waits for room in the client's queue, which
// paces the method.
func (inv *invocation) runStream() {
	c, m := inv.call.conn, inv.method
	defer c.host.server.leave()
	defer c.endCall()
	c.host.running.Add(1)
	defer c.host.running.Add(-1)
	start := time.Now()
	var began bool
	err := contain(inv.call, func() error {
		result, err := inv.invoke()
		if err != nil {
			return err
		}
		began = true
		return inv.send(reflect.ValueOf(result))
	})
	cancelled := errors.Is(context.Cause(inv.call.ctx), errCancelled)
	c.closeStream(inv.id)
	c.abandon(inv.call.uploads)
	if cancelled {
		err = nil // its end is what the client wanted
	}
	inv.finished(outcomeOf(err), err, start)
	switch {
	case cancelled && c.hasEnded():
		// To a client that still reads, Completion would look as if that had been all.
	case err == nil:
		c.reply(c.frame(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: inv.id}))
	case errors.Is(err, errNoStream):
		c.replyError(inv.id, "The value returned by the streaming method '"+m.name+"' is not a ChannelReader<> or IAsyncEnumerable<>.")
	case began:
		c.replyError(inv.id, explain("An error occurred on the server while streaming results.", err, c.host.limits.DetailedErrors))
	default:
		c.replyError(inv.id, explain(unexpected(m.name), err, c.host.limits.DetailedErrors))
	}
}

var errNoStream = errors.New("a streaming method returned a nil stream")

// send sends the items of a stream until it ends or is cancelled.
func (inv *invocation) send(stream reflect.Value) error {
	if stream.IsNil() {
		return errNoStream
	}
	switch inv.method.stream.form {
	case streamChan:
		return inv.sendChan(stream)
	case streamSeq:
		var failed error
		for v := range stream.Seq() {
			if failed = inv.item(v); failed != nil {
				break
			}
		}
		return failed
	default:
		var failed error
		for v, e := range stream.Seq2() {
			if failed, _ = e.Interface().(error); failed != nil {
				break
			}
			if failed = inv.item(v); failed != nil {
				break
			}
		}
		return failed
	}
}

func (inv *invocation) sendChan(stream reflect.Value) error {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: stream},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(inv.call.Done())},
	}
	for {
		chosen, v, ok := reflect.Select(cases)
		if chosen == 1 {
			return context.Cause(inv.call.ctx)
		}
		if !ok {
			return nil
		}
		if err := inv.item(v); err != nil {
			return err
		}
	}
}

// item sends one item, or says why the stream shall stop.
func (inv *invocation) item(v reflect.Value) error {
	if inv.call.ctx.Err() != nil {
		return context.Cause(inv.call.ctx)
	}
	codec := inv.call.conn.protocol()
	f, err := encode(codec, func(dst []byte) ([]byte, error) { return codec.AppendStreamItem(dst, inv.id, v.Interface()) })
	if err != nil {
		return err
	}
	inv.call.conn.reply(f)
	return nil
}

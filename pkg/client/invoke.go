package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Invoke calls a hub method, waits for it to end, and decodes its result into what result points to; nil drops the result.
// An error of the method is a *HubError. Without a connection the error is ErrNotConnected; when the connection ends before
// the answer has come, it wraps ErrClosed.
//
// An argument that is a receive channel, an iter.Seq[T] or an iter.Seq2[T, error] is sent as a stream of its own, while the
// method runs; it ends with the channel or the sequence, and with an error that the sequence yields. When Invoke returns,
// nobody reads from it any more. A sequence that waits for something must therefore give up when ctx ends.
//
// When ctx ends first, Invoke returns its error. Servers that can cancel the method are asked to; others let it run.
func (c *Client) Invoke(ctx context.Context, result any, method string, args ...any) error {
	conn, err := c.current()
	if err != nil {
		return err
	}
	value, err := conn.invoke(ctx, method, args)
	if err != nil || result == nil || len(value) == 0 {
		return err
	}
	if err := conn.codec.Unmarshal(value, result); err != nil {
		return fmt.Errorf("client: the result of %s does not fit: %w", method, err)
	}
	return nil
}

// Send calls a hub method without waiting for it to end, or for an answer: only for the message to be handed to the network.
// Streams among the arguments are as with Invoke; Send returns when they have been sent.
//
// When ctx ends first the message may have been sent or not.
func (c *Client) Send(ctx context.Context, method string, args ...any) error {
	conn, err := c.current()
	if err != nil {
		return err
	}
	return conn.send(ctx, method, args)
}

// Invoke is Client.Invoke for a result of type T.
func Invoke[T any](ctx context.Context, c *Client, method string, args ...any) (T, error) {
	var result T
	err := c.Invoke(ctx, &result, method, args...)
	return result, err
}

// Stream calls a hub method that streams its results, and returns the stream. The method is called when the loop over the
// stream begins, and again in each further loop. An error comes last, with a zero T: a *HubError from the method, that of ctx, one
// that wraps ErrClosed when the connection ends, ErrSlow when items were not read for too long. Leaving the loop cancels
// the method. Arguments are as with Client.Invoke.
func Stream[T any](ctx context.Context, c *Client, method string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		conn, err := c.current()
		if err != nil {
			yield(zero, err)
			return
		}
		s, err := conn.stream(ctx, method, args)
		if err != nil {
			yield(zero, err)
			return
		}
		defer s.stop()
		for {
			value, ok, err := s.call.items.take(s.ctx)
			if !ok {
				if err != nil {
					yield(zero, err)
				}
				return
			}
			var item T
			if err := conn.codec.Unmarshal(value, &item); err != nil {
				yield(zero, fmt.Errorf("client: an item of the stream %s does not fit: %w", method, err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// errAnswered is why the streams to the server end whose call has ended.
var errAnswered = errors.New("client: the call has ended")

func (c *connection) invoke(ctx context.Context, method string, args []any) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	call := &pending{answer: make(chan answer, 1)}
	uploads, err := c.call(ctx, cancel, protocol.TypeInvocation, call, method, args)
	if err != nil {
		cancel(err)
		return nil, err
	}
	select {
	case a := <-call.answer:
		cancel(errAnswered)
		uploads.Wait()
		return a.value, a.err
	case <-ctx.Done():
		err := context.Cause(ctx)
		c.cancel(call)
		uploads.Wait()
		cancel(nil)
		return nil, err
	}
}

// call sends the invocation that call waits for, and starts to send its streams, which end with ctx.
func (c *connection) call(ctx context.Context, cancel context.CancelCauseFunc, kind protocol.Type, call *pending, method string, args []any) (*sync.WaitGroup, error) {
	if err := c.calls.begin(call); err != nil {
		return nil, err
	}
	frame, uploads, err := c.encode(kind, call.id, method, args)
	if err == nil {
		_, err = c.out.add(ctx, frame)
	}
	if err != nil {
		c.calls.take(call.id)
		return nil, err
	}
	return c.start(ctx, cancel, method, uploads), nil
}

// start sends uploads, and cancels what they belong to if one cannot be sent. The caller waits for them.
func (c *connection) start(ctx context.Context, cancel context.CancelCauseFunc, method string, uploads []upload) *sync.WaitGroup {
	var running sync.WaitGroup
	for _, u := range uploads {
		running.Go(func() {
			if err := c.upload(ctx, u); err != nil {
				cancel(fmt.Errorf("client: calling %s: %w", method, err))
			}
		})
	}
	return &running
}

// cancel gives up a call, and tells the server if it has not ended already.
func (c *connection) cancel(call *pending) {
	if c.calls.take(call.id) != nil {
		c.out.insert(c.frame(&protocol.Message{Type: protocol.TypeCancelInvocation, InvocationID: call.id}))
	}
}

func (c *connection) send(ctx context.Context, method string, args []any) error {
	frame, uploads, err := c.encode(protocol.TypeInvocation, "", method, args)
	if err != nil {
		return err
	}
	serial, err := c.out.add(ctx, frame)
	if err != nil {
		return err
	}
	if len(uploads) == 0 {
		return c.out.await(ctx, serial)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(loss(context.Cause(c.ctx))) })()
	c.start(ctx, cancel, method, uploads).Wait()
	return context.Cause(ctx)
}

// download is a stream from the server.
type download struct {
	conn    *connection
	call    *pending
	ctx     context.Context // ends when reading shall end
	end     context.CancelCauseFunc
	uploads *sync.WaitGroup
}

func (c *connection) stream(ctx context.Context, method string, args []any) (*download, error) {
	s := &download{conn: c, call: &pending{items: &inbox[[]byte]{limit: c.o.ReceiveBuffer}}}
	s.ctx, s.end = context.WithCancelCause(ctx)
	var err error
	if s.uploads, err = c.call(s.ctx, s.end, protocol.TypeStreamInvocation, s.call, method, args); err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

// stop ends the stream, whether it has come to its end or not.
func (s *download) stop() {
	s.conn.cancel(s.call)
	s.call.items.close(nil)
	s.end(errAnswered)
	s.uploads.Wait()
}

// encode writes an invocation, without the arguments that are streams, which it returns.
func (c *connection) encode(kind protocol.Type, id, method string, args []any) (frame []byte, uploads []upload, err error) {
	values := make([]any, 0, len(args))
	var ids []string
	for i, arg := range args {
		each := source(arg)
		if each == nil {
			values = append(values, arg)
			continue
		}
		u := upload{id: c.calls.newID(), argument: i, each: each}
		uploads, ids = append(uploads, u), append(ids, u.id)
	}
	encoded, err := c.codec.AppendValue(nil, values)
	if err == nil {
		frame, err = c.codec.Append(nil, &protocol.Message{Type: kind, InvocationID: id, Target: method, Arguments: encoded, StreamIDs: ids})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("client: an argument of %s cannot be sent: %w", method, err)
	}
	return frame, uploads, nil
}

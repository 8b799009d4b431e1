package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// upload is an argument that is sent as a stream.
type upload struct {
	id       string
	argument int
	each     iterator
}

// iterator hands one item after the other to send, until there are no more, send fails, or ctx ends. An error that is not from
// send or ctx belongs to the stream: it is told to the server.
type iterator func(ctx context.Context, send func(item any) error) error

// streamFailure is an error of the stream itself.
type streamFailure struct{ error }

// upload sends a stream to its end. The error is why the call it belongs to cannot succeed; that the stream itself failed is
// for the server to judge.
func (c *connection) upload(ctx context.Context, u upload) error {
	err := u.each(ctx, func(item any) error {
		frame, err := c.codec.AppendStreamItem(nil, u.id, item)
		if err != nil {
			return fmt.Errorf("an item of the stream that is argument %d cannot be sent: %w", u.argument+1, err)
		}
		_, err = c.out.add(ctx, frame)
		return err
	})
	if errors.Is(err, errAnswered) {
		return nil // the server has forgotten the stream
	}
	end := &protocol.Message{Type: protocol.TypeCompletion, InvocationID: u.id}
	if err != nil {
		end.HasError, end.Error = true, err.Error()
	}
	c.out.insert(c.frame(end))
	var failure streamFailure
	if errors.As(err, &failure) {
		return nil
	}
	return err
}

var errorType = reflect.TypeFor[error]()

// source returns how to go through an argument that is a stream; nil when it is none.
func source(arg any) iterator {
	v := reflect.ValueOf(arg)
	switch {
	case !v.IsValid():
		return nil
	case v.Kind() == reflect.Chan && v.Type().ChanDir()&reflect.RecvDir != 0:
		return func(ctx context.Context, send func(any) error) error { return drain(ctx, v, send) }
	case v.Kind() != reflect.Func || v.IsNil():
		return nil
	}
	t := v.Type()
	if t.NumIn() != 1 || t.NumOut() != 0 || t.In(0).Kind() != reflect.Func {
		return nil
	}
	yield := t.In(0)
	switch {
	case yield.NumOut() != 1 || yield.Out(0).Kind() != reflect.Bool:
		return nil
	case yield.NumIn() == 1:
		return func(ctx context.Context, send func(any) error) error { return walk(ctx, v, send) }
	case yield.NumIn() == 2 && yield.In(1) == errorType:
		return func(ctx context.Context, send func(any) error) error { return walk2(ctx, v, send) }
	}
	return nil
}

// drain goes through a channel.
func drain(ctx context.Context, ch reflect.Value, send func(any) error) error {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: ch},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
	}
	for {
		chosen, item, ok := reflect.Select(cases)
		if chosen == 1 {
			return context.Cause(ctx)
		}
		if !ok {
			return nil
		}
		if err := send(item.Interface()); err != nil {
			return err
		}
	}
}

// walk goes through an iter.Seq.
func walk(ctx context.Context, seq reflect.Value, send func(any) error) error {
	for item := range seq.Seq() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := send(item.Interface()); err != nil {
			return err
		}
	}
	return context.Cause(ctx) // a sequence may end because of it
}

// walk2 goes through an iter.Seq2 with errors.
func walk2(ctx context.Context, seq reflect.Value, send func(any) error) error {
	for item, failed := range seq.Seq2() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err, _ := failed.Interface().(error); err != nil {
			return streamFailure{err}
		}
		if err := send(item.Interface()); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// guest is one client with all that it has under way.
type guest struct {
	bridge *bridge
	number int

	mu      sync.Mutex
	client  *client.Client
	uploads map[int]chan order         // by number
	streams map[int]context.CancelFunc // by number
	answers map[int]chan order         // to questions of the server
	asked   int                        // how many of those there were
}

// obey carries out an order. What takes time goes on beside; orders of one kind for one stream keep their order.
func (g *guest) obey(ctx context.Context, o order) {
	switch o.Op {
	case "item", "end": // of an upload
		g.upload(o.Stream) <- o
	case "cancel":
		g.mu.Lock()
		g.streams[o.Stream]()
		g.mu.Unlock()
	case "answer":
		g.mu.Lock()
		g.answers[o.Stream] <- o
		g.mu.Unlock()
	case "on":
		g.current().On(o.Method, g.question)
	case "stream":
		ctx, cancel := context.WithCancel(ctx)
		g.mu.Lock()
		put(&g.streams, o.Stream, cancel)
		g.mu.Unlock()
		go g.stream(ctx, o)
	default:
		// What an upload sends must find the upload, which must not wait for the call.
		for _, a := range o.Args {
			if a.Upload != nil {
				g.upload(*a.Upload)
			}
		}
		go g.call(ctx, o)
	}
}

// call carries out an order that is answered.
func (g *guest) call(ctx context.Context, o order) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var value protocol.Raw
	var err error
	switch o.Op {
	case "connect":
		if err = g.prepare(o); err == nil {
			err = g.current().Start(ctx)
			value = protocol.Raw{Data: fmt.Appendf(nil, "%q", g.current().ConnectionID())}
		}
	case "invoke":
		value, err = g.invoke(ctx, o)
	case "send":
		err = g.current().Send(ctx, o.Method, g.arguments(o)...)
	case "stop":
		err = g.current().Stop(ctx)
	default:
		err = fmt.Errorf("there is no order %q", o.Op)
	}
	r := report{ID: o.ID, Client: g.number, Value: &value}
	if err != nil {
		r.Error = text(err)
	}
	g.bridge.report(r)
}

// invoke returns the result as it came, unless an argument has what JSON does not: then the result has it, too.
func (g *guest) invoke(ctx context.Context, o order) (value protocol.Raw, err error) {
	args := g.arguments(o)
	rich := false
	for i, a := range o.Args {
		if bytes.Contains(a.Value.Data, []byte(`{"$`)) {
			rich = true
			if args[i], err = untag(a.Value.Data); err != nil {
				return value, err
			}
		}
	}
	if !rich {
		return client.Invoke[protocol.Raw](ctx, g.current(), o.Method, args...)
	}
	result, err := client.Invoke[any](ctx, g.current(), o.Method, args...)
	if err == nil {
		value.Data, err = json.Marshal(tag(result))
	}
	return value, err
}

// current is the client of the last connect.
func (g *guest) current() *client.Client {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.client
}

// prepare makes the client that an order describes.
func (g *guest) prepare(o order) error {
	options := client.Options{
		StatefulReconnect: o.Stateful,
		Hooks: client.Hooks{
			Reconnecting: func(err error) { g.event("reconnecting", err) },
			Reconnected:  func(id string) { g.event("reconnected", nil, id) },
			Closed:       func(err error) { g.event("closed", err) },
		},
	}
	if o.Transport != "" {
		options.Transports = []client.Transport{client.Transport(o.Transport)}
	}
	if o.Protocol == "MessagePack" {
		options.Codec = protocol.MessagePack
	}
	if o.Reconnect {
		options.Reconnect = func(client.Retry) (time.Duration, bool) { return 50 * time.Millisecond, true }
	}
	c, err := client.New(o.URL, options)
	if err != nil {
		return err
	}
	c.On("ReceiveMessage", func(from, text string) { g.event("message", nil, from, text) })
	c.On("SystemMessage", func(text string) { g.event("system", nil, text) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client = c
	return nil
}

// event tells the test that something has happened.
func (g *guest) event(name string, err error, args ...any) {
	r := report{Client: g.number, Event: name, Args: args}
	if err != nil {
		r.Error = text(err)
	}
	g.bridge.report(r)
}

// question hands a question of the server to the test and waits for the answer.
func (g *guest) question(ctx context.Context, question string) (protocol.Raw, error) {
	answer := make(chan order, 1)
	g.mu.Lock()
	g.asked++
	number := g.asked
	put(&g.answers, number, answer)
	g.mu.Unlock()
	g.bridge.report(report{Client: g.number, Event: "question", Stream: number, Args: []any{question}})
	select {
	case o := <-answer:
		if o.Error != nil {
			return protocol.Raw{}, errors.New(*o.Error)
		}
		return o.Item, nil
	case <-ctx.Done():
		return protocol.Raw{}, ctx.Err()
	}
}

// stream reports the items of a stream, then its end.
func (g *guest) stream(ctx context.Context, o order) {
	end := report{ID: o.ID, Client: g.number, Event: "streamed"}
	for item, err := range client.Stream[protocol.Raw](ctx, g.current(), o.Method, g.arguments(o)...) {
		if err != nil {
			end.Error = text(err)
			break
		}
		g.bridge.report(report{Client: g.number, Event: "item", Stream: o.Stream, Value: &item})
	}
	end.Stream = o.Stream
	g.bridge.report(end)
}

// arguments are those of a call, uploads as sequences.
func (g *guest) arguments(o order) []any {
	args := make([]any, len(o.Args))
	for i, a := range o.Args {
		args[i] = a.Value
		if a.Upload != nil {
			args[i] = sequence(g.upload(*a.Upload))
		}
	}
	return args
}

// upload is where the items of an upload come from.
func (g *guest) upload(number int) chan order {
	g.mu.Lock()
	defer g.mu.Unlock()
	items := g.uploads[number]
	if items == nil {
		items = make(chan order, 1000) // more than any test sends, so that nobody waits here
		put(&g.uploads, number, items)
	}
	return items
}

func sequence(items <-chan order) iter.Seq2[protocol.Raw, error] {
	return func(yield func(protocol.Raw, error) bool) {
		for o := range items {
			switch {
			case o.Op == "item":
				if !yield(o.Item, nil) {
					return
				}
			case o.Error != nil:
				yield(protocol.Raw{}, errors.New(*o.Error))
				return
			default:
				return
			}
		}
	}
}

func put[V any](m *map[int]V, key int, value V) {
	if *m == nil {
		*m = map[int]V{}
	}
	(*m)[key] = value
}

// text is what an error says.
func text(err error) *string {
	s := err.Error()
	return &s
}

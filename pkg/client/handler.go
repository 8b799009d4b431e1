package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// registry holds the handlers by the name of their method, in lower case.
type registry struct {
	mu     sync.RWMutex
	byName map[string][]*handler
}

// handler is a function for what the server invokes.
type handler struct {
	fn      reflect.Value
	params  []reflect.Type // of the arguments
	context bool           // the first parameter, before them, is a context
	result  bool           // the first result is one
	err     bool           // the last result is an error
}

// On makes handle be called when the server invokes the method, whose name is matched without regard to case. The returned function
// takes it back. There may be several handlers for a method; they are called in the order in which they were added.
//
// handle is a func. Its parameters take the arguments, after a context.Context if it wants one, which ends with the connection; a
// variadic one takes any number. It may return a result, an error, or both in this order: that is the answer, if the server waits
// for one, and only one handler of a method may give it. An error is answered with its text; if nobody waits for it, it is
// logged.
//
// Handlers are called one after the other, in the order in which the server has sent what they are for. Only what the server wants an
// answer to is handled beside that: it is begun in order, but nothing waits for it, so that a handler may take long to answer, a
// person's decision, for instance. See Options.ReceiveBuffer for other handlers that take long, and Options.ParallelAnswers. On panics if handle is not such a func.
func (c *Client) On(method string, handle any) (off func()) {
	h, err := newHandler(handle)
	if err != nil {
		panic(fmt.Sprintf("client: On(%q): %v", method, err))
	}
	r, name := &c.handlers, strings.ToLower(method)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = map[string][]*handler{}
	}
	r.byName[name] = append(r.byName[name], h)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		// A copy, as those who call handlers have the old slice.
		r.byName[name] = slices.DeleteFunc(slices.Clone(r.byName[name]), func(o *handler) bool { return o == h })
	}
}

func (r *registry) find(method string) []*handler {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[strings.ToLower(method)]
}

var contextType = reflect.TypeFor[context.Context]()

func newHandler(fn any) (*handler, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("the handler must be a func, not %T", fn)
	}
	h, t := &handler{fn: v}, v.Type()
	for i := range t.NumIn() {
		if i == 0 && t.In(0) == contextType {
			h.context = true
			continue
		}
		h.params = append(h.params, t.In(i))
	}
	n := t.NumOut()
	if n > 0 && t.Out(n-1) == errorType {
		h.err = true
		n--
	}
	h.result = n == 1
	if n > 1 {
		return nil, fmt.Errorf("the handler returns %d values: it may return a result, an error, or both in this order", t.NumOut())
	}
	return h, nil
}

// The texts of what clients answer are those of the official ones.
var (
	errArguments = errors.New("Client failed to parse argument(s).")
	errNoResult  = errors.New("Client didn't provide a result.")
	errTwoResult = errors.New("Client provided multiple results.")
)

// call decodes the arguments and calls the function.
func (h *handler) call(ctx context.Context, codec protocol.Codec, args [][]byte) (result any, err error) {
	in, err := h.arguments(codec, args)
	if err != nil {
		return nil, err
	}
	if h.context {
		in = slices.Insert(in, 0, reflect.ValueOf(ctx))
	}
	out := h.fn.Call(in)
	if h.err {
		err, _ = out[len(out)-1].Interface().(error)
	}
	if h.result {
		result = out[0].Interface()
	}
	return result, err
}

func (h *handler) arguments(codec protocol.Codec, args [][]byte) ([]reflect.Value, error) {
	fixed, variadic := len(h.params), h.fn.Type().IsVariadic()
	if variadic {
		fixed--
	}
	if len(args) < fixed || len(args) > fixed && !variadic {
		return nil, fmt.Errorf("%w The handler has parameters for %d, and %d came", errArguments, fixed, len(args))
	}
	in := make([]reflect.Value, 0, len(args)+1)
	for i, arg := range args {
		t := h.params[min(i, len(h.params)-1)]
		if i >= fixed {
			t = t.Elem()
		}
		v := reflect.New(t)
		if err := codec.Unmarshal(arg, v.Interface()); err != nil {
			return nil, fmt.Errorf("%w Argument %d: %w", errArguments, i+1, err)
		}
		in = append(in, v.Elem())
	}
	return in, nil
}

// invoked puts what the server invokes in line for the handlers, waiting for room.
func (c *connection) invoked(ctx context.Context, m *protocol.Message, size int) error {
	id, target, args := m.InvocationID, m.Target, append([]byte(nil), m.Arguments...)
	done := c.pulse.busy()
	defer done()
	task := func() { c.run(id, target, args) }
	if id != "" {
		handle := task
		task = func() { c.client.answers.begin(c.ctx, handle) }
	}
	err := c.client.tasks.put(ctx, task, size+overhead, c.o.ServerTimeout, &c.calls)
	if errors.Is(err, ErrSlow) {
		return fmt.Errorf("client: the handlers hold up the connection; the next one in line is %s: %w", target, err)
	}
	return err
}

// answers are the handlers at work whose answer the server waits for.
type answers struct {
	slots   chan struct{} // taken by each
	running sync.WaitGroup
}

// begin runs a handler on a goroutine of its own. It waits while there are too many, unless ctx ends: then nobody wants the answer.
func (a *answers) begin(ctx context.Context, handle func()) {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	a.running.Go(func() {
		defer func() { <-a.slots }()
		handle()
	})
}

// run calls the handlers of a method, and answers if the server waits for that.
func (c *connection) run(id, target string, encoded []byte) {
	if c.client.isStopping() {
		return
	}
	handlers := c.client.handlers.find(target)
	args, err := c.codec.Elements(encoded, nil)
	if err != nil {
		c.answer(id, target, nil, errArguments)
		return
	}
	if len(handlers) == 0 {
		c.log.Warn("no handler for what the server invokes", "method", target)
	}
	var result any
	failed := errNoResult
	answered := false
	for _, h := range handlers {
		r, err := h.call(c.ctx, c.codec, args)
		switch {
		case err != nil && (id == "" || answered):
			c.log.Warn("a handler failed", "method", target, "error", err)
		case err != nil:
			failed, answered = err, true
		case h.result && answered:
			result, failed = nil, errTwoResult
		case h.result:
			result, failed, answered = r, nil, true
		}
	}
	c.answer(id, target, result, failed)
}

// answer tells the server the outcome, if it waits for it.
func (c *connection) answer(id, target string, result any, failed error) {
	if id == "" {
		return
	}
	var frame []byte
	if failed == nil {
		var err error
		if frame, err = c.codec.AppendResult(nil, id, result); err != nil {
			failed = fmt.Errorf("the client's result cannot be sent: %w", err)
		}
	}
	if failed != nil {
		c.log.Warn("what the server asked for failed", "method", target, "error", failed)
		text := failed.Error()
		if errors.Is(failed, errArguments) {
			text = errArguments.Error()
		}
		frame = c.frame(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: id, HasError: true, Error: text})
	}
	if _, err := c.out.add(c.ctx, frame); err != nil {
		c.log.Debug("an answer came too late", "method", target, "error", err)
	}
}

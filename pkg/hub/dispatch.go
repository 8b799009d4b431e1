package hub

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// dispatch acts on one message. An error ends the connection.
func (c *Connection) dispatch(m *protocol.Message) error {
	if c.hasEnded() {
		return errEnded
	}
	switch m.Type {
	case protocol.TypeInvocation, protocol.TypeStreamInvocation:
		return c.invoke(m)
	case protocol.TypePing:
		c.armed.Store(true)
	case protocol.TypeClose:
		var err error
		if m.Error != "" {
			err = &Error{m.Error}
		}
		c.end(endGoodbye, err)
		return errEnded
	}
	// The rest refers to calls and streams that this connection does not have, or is of a later version: to be ignored.
	return nil
}

// invocation is a hub method about to run.
type invocation struct {
	call   *Call
	id     string // empty: no answer is wanted
	method *method
	in     []reflect.Value
}

// invoke starts what a client has called, when its turn has come.
func (c *Connection) invoke(m *protocol.Message) error {
	h := c.host
	method := h.method(m.Target)
	if method == nil {
		call3(h.hooks.Invoked, "", OutcomeUnknown, 0)
		c.log().Debug("unknown method called", "method", m.Target)
		c.replyError(m.InvocationID, "Failed to invoke '"+m.Target+"' due to an error on the server. HubException: Method does not exist.")
		return nil
	}
	call := &Call{ctx: h.server.hard, conn: c, method: method.name}
	in, text := c.prepare(call, method, m)
	if text != "" {
		call3(h.hooks.Invoked, method.name, OutcomeBad, 0)
		c.replyError(m.InvocationID, text)
		return nil
	}
	inv := &invocation{call: call, id: m.InvocationID, method: method, in: in}
	if !c.takeSlot() {
		return errEnded
	}
	h.server.work.Add(1) // never the first: the connection itself is at work
	go inv.run()
	return nil
}

// prepare binds the arguments; the text says what is wrong with the invocation.
func (c *Connection) prepare(call *Call, method *method, m *protocol.Message) (in []reflect.Value, text string) {
	if n := len(m.StreamIDs); n > 0 {
		return nil, fmt.Sprintf("An unexpected error occurred invoking '%s' on the server. HubException: Client sent %d stream(s), Hub method expects 0.", method.name, n)
	}
	if m.Type == protocol.TypeStreamInvocation {
		return nil, "The client attempted to invoke the non-streaming '" + method.name + "' method with a streaming invocation."
	}
	in, err := method.bind(c.protocol(), m.Arguments, call)
	if err == nil {
		return in, ""
	}
	call.Logger().Debug("the arguments do not fit", "error", err, "cause", errors.Unwrap(err))
	text = "Failed to invoke '" + method.name + "' due to an error on the server."
	if c.host.limits.DetailedErrors {
		text += " InvalidDataException: " + err.Error()
	}
	return nil, text
}

// takeSlot waits until the connection may run another invocation, which holds up all that it has sent behind it.
// It returns false when the connection has ended.
func (c *Connection) takeSlot() bool {
	if c.slots == nil {
		c.slots = make(chan struct{}, 1)
	}
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-c.Done():
		return false
	}
}

// run runs the method and answers.
func (inv *invocation) run() {
	c, m := inv.call.conn, inv.method
	defer c.host.server.leave()
	defer func() { <-c.slots }()
	start := time.Now()
	var result any
	err := contain(inv.call, func() (err error) {
		result, err = m.call(inv.in)
		return err
	})
	outcome := outcomeOf(err)
	if err == nil && inv.id != "" {
		if err = c.replyResult(inv.id, result); err != nil {
			outcome = OutcomeFailed
		}
	}
	call3(c.host.hooks.Invoked, m.name, outcome, time.Since(start))
	if err == nil {
		return
	}
	switch outcome {
	case OutcomeFailed:
		inv.call.Logger().Error("hub method failed", "error", err)
	case OutcomeError:
		inv.call.Logger().Debug("hub method refused", "error", err)
	}
	base := "An unexpected error occurred invoking '" + m.name + "' on the server."
	c.replyError(inv.id, explain(base, err, c.host.limits.DetailedErrors))
}

func outcomeOf(err error) Outcome {
	var p *panicError
	var he *Error
	switch {
	case err == nil:
		return OutcomeOK
	case errors.As(err, &p):
		return OutcomePanic
	case errors.As(err, &he):
		return OutcomeError
	}
	return OutcomeFailed
}

// panicError is a panic of a hub's method.
type panicError struct{ value any }

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// contain runs f, and turns a panic into an error: it ends the call, not the node.
func contain(call *Call, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v}
			call.Logger().Error("hub method panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return f()
}

// replyResult answers an invocation with its result.
func (c *Connection) replyResult(id string, result any) error {
	codec := c.protocol()
	f, err := encode(codec, func(dst []byte) ([]byte, error) { return codec.AppendResult(dst, id, result) })
	if err != nil {
		return fmt.Errorf("its result cannot be encoded: %w", err)
	}
	c.reply(f)
	return nil
}

// replyError answers an invocation with an error, if an answer is wanted.
func (c *Connection) replyError(id, text string) {
	if id == "" {
		return
	}
	c.reply(c.frame(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: id, Error: text, HasError: true}))
}

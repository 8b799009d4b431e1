package hub

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// dispatch acts on one message. An error ends the connection.
func (c *Connection) dispatch(m *protocol.Message) error {
	if c.hasEnded() {
		return errEnded
	}
	if wanted, err := c.count(m); !wanted {
		return err
	}
	switch m.Type {
	case protocol.TypeInvocation, protocol.TypeStreamInvocation:
		return c.invoke(m)
	case protocol.TypeStreamItem:
		c.streamItem(m)
	case protocol.TypeCompletion:
		return c.completion(m)
	case protocol.TypeCancelInvocation:
		c.cancelStream(m.InvocationID)
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
	// Of the rest nothing concerns us: it is of a later version.
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
	if ok, text := c.beginCall(method.name); !ok {
		if text == "" {
			return errEnded
		}
		c.replyError(m.InvocationID, text)
		return nil
	}
	inv := &invocation{
		call:   &Call{ctx: h.server.hard, conn: c, method: method.name, streams: method.stream != nil, pipes: method.stream == nil},
		id:     m.InvocationID,
		method: method,
	}
	text, outcome := "", OutcomeBad
	// It runs code of the user's types: what decodes an argument, and what authorizes.
	if err := contain(inv.call, func() error { text = inv.prepare(m); return nil }); err != nil {
		text, outcome = explain(unexpected(method.name), err, h.limits.DetailedErrors), OutcomePanic
	}
	if text != "" {
		call3(h.hooks.Invoked, method.name, outcome, 0)
		c.replyError(m.InvocationID, text)
		c.endCall()
		return nil
	}
	h.server.work.Add(1) // never the first: the connection itself is at work
	switch {
	case method.stream != nil:
		go inv.runStream()
	case len(inv.call.uploads) > 0:
		go inv.run()
	case c.takeSlot():
		inv.call.slot, inv.call.holds = c.slots, true
		go inv.run()
	default:
		c.endCall()
		h.server.leave()
		return errEnded
	}
	return nil
}

// prepare binds the arguments and opens the streams; the text says what is wrong with the invocation.
func (inv *invocation) prepare(m *protocol.Message) (text string) {
	c, method := inv.call.conn, inv.method
	if streams := m.Type == protocol.TypeStreamInvocation; streams != (method.stream != nil) {
		if streams {
			return "The client attempted to invoke the non-streaming '" + method.name + "' method with a streaming invocation."
		}
		return "The client attempted to invoke the streaming '" + method.name + "' method with a non-streaming invocation."
	}
	if allow := c.host.authorize; allow != nil && !allow(inv.call) {
		return "Failed to invoke '" + method.name + "' because user is unauthorized"
	}
	base := unexpected(method.name) + " "
	if n, want := len(m.StreamIDs), len(method.params)-method.wire; n != want {
		return base + fmt.Sprintf("HubException: Client sent %d stream(s), Hub method expects %d.", n, want)
	}
	var err error
	if inv.in, err = method.bind(c.protocol(), m.Arguments, inv.call); err != nil {
		inv.call.Logger().Debug("the arguments do not fit", "error", err, "cause", errors.Unwrap(err))
		text = "Failed to invoke '" + method.name + "' due to an error on the server."
		if c.host.limits.DetailedErrors {
			text += " InvalidDataException: " + err.Error()
		}
		return text
	}
	if method.stream != nil {
		if text = c.openStream(inv.call, inv.id); text != "" {
			return withBase(base, text)
		}
	}
	if inv.call.uploads, text = c.newUploads(method, m, inv.in); text != "" {
		if method.stream != nil {
			c.closeStream(inv.id)
		}
		return withBase(base, text)
	}
	return ""
}

// unexpected is how the answer to an invocation that failed begins.
func unexpected(method string) string {
	return "An unexpected error occurred invoking '" + method + "' on the server."
}

// withBase puts the usual sentence in front of a text that is an exception's.
func withBase(base, text string) string {
	if strings.HasPrefix(text, "HubException: ") {
		return base + text
	}
	return text
}

// takeSlot waits until the connection may run another invocation, which holds up all that it has sent behind it.
// It returns false when the connection has ended.
func (c *Connection) takeSlot() bool {
	if c.slots == nil {
		c.slots = make(chan struct{}, c.host.limits.ParallelCalls)
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
	defer inv.call.returned()
	defer c.endCall()
	c.host.running.Add(1)
	defer c.host.running.Add(-1)
	start := time.Now()
	var result any
	err := contain(inv.call, func() (err error) {
		result, err = inv.invoke()
		return err
	})
	c.abandon(inv.call.uploads)
	var answer *frame
	if err == nil && inv.id != "" {
		// It runs code of the user's types again.
		err = contain(inv.call, func() (err error) {
			answer, err = c.resultFrame(inv.id, result)
			return err
		})
	}
	if lost := inv.call.settle(); err == nil {
		err = lost
	} else if lost != nil {
		inv.call.Logger().Error("hub method failed, and so did what it had sent", "error", lost)
	}
	if err == nil && answer != nil {
		c.reply(answer)
	}
	inv.finished(outcomeOf(err), err, start)
	if err != nil {
		c.replyError(inv.id, explain(unexpected(m.name), err, c.host.limits.DetailedErrors))
	}
	inv.call.answered(err)
}

// finished notes how an invocation ended.
func (inv *invocation) finished(outcome Outcome, err error, start time.Time) {
	call3(inv.call.conn.host.hooks.Invoked, inv.method.name, outcome, time.Since(start))
	switch outcome {
	case OutcomeFailed:
		inv.call.Logger().Error("hub method failed", "error", err)
	case OutcomeError:
		inv.call.Logger().Debug("hub method refused", "error", err)
	}
}

// completion acts on the end of a stream from the client, or on the client's answer to a question of ours.
func (c *Connection) completion(m *protocol.Message) error {
	u := c.findUpload(m.InvocationID)
	if u == nil {
		return c.clientResult(m)
	}
	c.closeUpload(u.id)
	if m.HasError {
		u.end(errors.New(m.Error))
		return nil
	}
	u.end(nil)
	return nil
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

// safely is contain for where no call is under way.
func safely(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v}
		}
	}()
	return f()
}

// resultFrame is the answer to an invocation that has a result.
func (c *Connection) resultFrame(id string, result any) (*frame, error) {
	codec := c.protocol()
	f, err := encode(codec, func(dst []byte) ([]byte, error) { return codec.AppendResult(dst, id, result) })
	if err != nil {
		return nil, fmt.Errorf("its result cannot be encoded: %w", err)
	}
	return f, nil
}

// replyError answers an invocation with an error, if an answer is wanted.
func (c *Connection) replyError(id, text string) {
	if id == "" {
		return
	}
	c.reply(c.frame(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: id, Error: text, HasError: true}))
}

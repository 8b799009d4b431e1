package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// results are the answers that this node waits for: from clients that it has asked itself, and, for other nodes, from clients
// that it has passed a question on to.
type results struct {
	mu      sync.Mutex
	last    uint64
	waiting map[string]*pendingResult
}

// pendingResult is one answer to come.
type pendingResult struct {
	conn   *Connection       // the client that is asked; nil when it is on another node
	id     string            // its connection id, when it is on another node
	answer chan clientResult // takes one, without blocking
	relay  string            // the channel of the node that asked; empty when it is this one
}

// clientResult is an answer, or why there is none.
type clientResult struct {
	codec  protocol.Codec
	value  []byte // nil when the client gave none
	failed error
}

// add enters an answer to come; it returns false when the id is taken.
func (r *results) add(id string, p *pendingResult) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[string]*pendingResult{}
	}
	if r.waiting[id] != nil {
		return false
	}
	r.waiting[id] = p
	p.conn.owe(1)
	return true
}

// localID is an id for a question to a client of this node. The prefix keeps it apart from the ids that clients choose.
func (r *results) localID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return "s" + strconv.FormatUint(r.last, 10)
}

func (r *results) get(id string) *pendingResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[id]
}

// take removes and returns what waits under id; nil when nothing does.
func (r *results) take(id string) *pendingResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.waiting[id]
	if p != nil {
		p.conn.owe(-1)
	}
	delete(r.waiting, id)
	return p
}

// of removes and returns all that waits for a connection.
func (r *results) of(c *Connection) map[string]*pendingResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found map[string]*pendingResult
	for id, p := range r.waiting {
		if p.conn == c {
			if found == nil {
				found = map[string]*pendingResult{}
			}
			found[id] = p
			c.owe(-1)
			delete(r.waiting, id)
		}
	}
	return found
}

var errOneClient = errors.New("hub: only a single connection can be asked for a result: use Caller or Client(id)")

// errResultInConnected has the text of ASP.NET Core. The client's answer could not be read: nothing is, before OnConnected has returned.
var errResultInConnected = errors.New("client results inside OnConnected hub methods are not allowed")

// Invoke calls a method of a single client, on whatever node it is, and waits for its answer, which it decodes into what
// result points to; a nil result takes any answer. The target must be Caller or Client(id).
//
// There is no timeout but that of ctx. The error is a *Error when the client answered with one, or with something that
// does not fit; it wraps ErrNoConnection when there is no such client, or it goes away, or its node does, which is noticed
// within some 3 s; ErrUnavailable when the backplane cannot be reached; and ctx's when that ends first.
// A hub method that waits lets other invocations of its connection run meanwhile.
func (t Target) Invoke(ctx context.Context, result any, method string, args ...any) error {
	if t.to != toConnections || len(t.names) != 1 {
		return errOneClient
	}
	call, _ := ctx.Value(callKey{}).(*Call)
	if call != nil && call.conn.joining.Load() || t.from != nil && t.from.joining.Load() {
		return errResultInConnected
	}
	call.yield()
	defer call.resume()
	h, id := t.host, t.names[0]
	if c := h.connections.get(id); c != nil {
		return h.invokeLocal(ctx, c, result, method, args)
	}
	if h.server.backplane == nil {
		return fmt.Errorf("%w: Connection '%s' does not exist", ErrNoConnection, id)
	}
	return h.invokeRemote(ctx, id, result, method, args)
}

func (h *host) invokeLocal(ctx context.Context, c *Connection, result any, method string, args []any) error {
	id := h.results.localID()
	codec := c.protocol()
	f, err := encode(codec, func(dst []byte) ([]byte, error) { return codec.AppendInvocation(dst, id, method, args) })
	if err != nil {
		return err
	}
	p := &pendingResult{conn: c, answer: make(chan clientResult, 1)}
	h.results.add(id, p)
	defer h.results.take(id)
	if c.hasEnded() {
		return disconnected(c.id)
	}
	if c.replyWithin(ctx, f) != nil {
		return canceled(ctx)
	}
	select {
	case r := <-p.answer:
		return r.decode(result)
	case <-ctx.Done():
		return canceled(ctx)
	}
}

func (h *host) invokeRemote(ctx context.Context, connectionID string, result any, method string, args []any) error {
	var random [16]byte
	rand.Read(random[:])
	id := base64.RawStdEncoding.EncodeToString(random[:])
	inv := protocol.ClusterInvocation{InvocationID: id, ReturnChannel: h.name + channelReturn + h.nodeName}
	for _, codec := range h.codecs {
		frame, err := codec.AppendInvocation(nil, id, method, args)
		if err != nil {
			return err
		}
		inv.Payloads = append(inv.Payloads, protocol.Payload{Protocol: codec.Name(), Frame: frame})
	}
	p := &pendingResult{id: connectionID, answer: make(chan clientResult, 1)}
	h.results.add(id, p)
	defer h.results.take(id)
	if err := h.listening(ctx); err != nil {
		return err
	}
	b, channel := h.server.backplane, h.name+channelConnection+connectionID
	receivers, err := b.Publish(ctx, protocol.AppendClusterInvocation(nil, inv), channel)
	switch {
	case err != nil && ctx.Err() != nil:
		return canceled(ctx) // whether the client was asked or not, its answer is not waited for
	case err != nil:
		return fromBackplane(err)
	case receivers != 0: // nobody counted, or strangers too, who listen by a pattern
		if n, err := b.Subscribers(ctx, channel); err == nil {
			receivers = n
		}
	}
	if receivers == 0 && len(p.answer) == 0 {
		return fmt.Errorf("%w: Connection '%s' does not exist", ErrNoConnection, connectionID)
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for gone := false; ; {
		select {
		case r := <-p.answer:
			return r.decode(result)
		case <-again.C: // its node may have gone, and nobody is left to say so
			if gone {
				return disconnected(connectionID)
			}
			n, err := b.Subscribers(ctx, channel)
			gone = err == nil && n == 0 // an answer that was given just before may still be on its way
		case <-ctx.Done():
			return canceled(ctx)
		}
	}
}

func canceled(ctx context.Context) error {
	return fmt.Errorf("invocation canceled by the server: %w", context.Cause(ctx))
}

func disconnected(connectionID string) error {
	return fmt.Errorf("%w: Connection '%s' disconnected", ErrNoConnection, connectionID)
}

func (r clientResult) decode(result any) error {
	switch {
	case r.failed != nil:
		return r.failed
	case r.value == nil:
		return &Error{"Client didn't provide a result."}
	case result == nil:
		return nil
	}
	if err := r.codec.Unmarshal(r.value, result); err != nil {
		return Errorf("Error trying to deserialize result to %s. %v", reflect.TypeOf(result).Elem(), err)
	}
	return nil
}

// clientResult acts on a client's answer. It returns false when nobody waits for it, and an error, which ends the connection,
// when it was not this client that was asked.
func (c *Connection) clientResult(m *protocol.Message) error {
	h := c.host
	p := h.results.get(m.InvocationID)
	switch {
	case p == nil:
		return nil
	case p.conn != c:
		return fmt.Errorf("Connection ID '%s' is not valid for invocation ID '%s'.", c.id, m.InvocationID) //nolint // the text of ASP.NET Core
	case h.results.take(m.InvocationID) == nil:
		return nil
	}
	if p.relay != "" {
		m.Headers = nil
		frame, err := c.protocol().Append(nil, m)
		if err != nil {
			return err
		}
		h.relayResult(p.relay, c.protocol(), frame)
		return nil
	}
	r := clientResult{codec: c.protocol(), value: bytes.Clone(m.Result)}
	if m.HasError {
		r.failed = &Error{m.Error}
	}
	p.answer <- r
	return nil
}

// relayResult sends a client's answer to the node that asked. It waits for the backplane on a goroutine of its own: whoever
// reads from the client or from the backplane must not.
func (h *host) relayResult(channel string, codec protocol.Codec, frame []byte) {
	if !h.server.enter() {
		return
	}
	payload := protocol.AppendClusterCompletion(nil, protocol.ClusterCompletion{Protocol: codec.Name(), Frame: frame})
	go func() {
		defer h.server.leave()
		ctx, cancel := context.WithTimeout(h.server.hard, ackTimeout)
		defer cancel()
		if _, err := h.server.backplane.Publish(ctx, payload, channel); err != nil {
			h.log.Warn("a client's result could not be passed on to the node that asked for it", "error", err)
		}
	}()
}

// expectResult enters an answer that another node waits for.
func (h *host) expectResult(c *Connection, inv *protocol.ClusterInvocation) error {
	if !h.results.add(inv.InvocationID, &pendingResult{conn: c, relay: inv.ReturnChannel}) {
		h.relayError(inv.ReturnChannel, c.protocol(), inv.InvocationID, "ID collision occurred when using client results.")
		return fmt.Errorf("the id %q of a client result is taken", inv.InvocationID)
	}
	return nil
}

func (h *host) relayError(channel string, codec protocol.Codec, id, text string) {
	frame, err := codec.Append(nil, &protocol.Message{Type: protocol.TypeCompletion, InvocationID: id, Error: text, HasError: true})
	if err == nil {
		h.relayResult(channel, codec, frame)
	}
}

// textDisconnected is what nodes tell each other of a client that leaves before it has answered, word for word as ASP.NET Core's do.
const textDisconnected = "Connection disconnected."

// disappoint tells all who wait for an answer of c that there will be none.
func (c *Connection) disappoint() {
	for id, p := range c.host.results.of(c) {
		if p.relay != "" {
			c.host.relayError(p.relay, c.protocol(), id, textDisconnected)
			continue
		}
		p.answer <- clientResult{failed: disconnected(c.id)}
	}
}

// returned acts on an answer that another node has passed on.
func (h *host) returned(payload []byte) error {
	done, err := protocol.DecodeClusterCompletion(payload)
	if err != nil {
		return err
	}
	for _, codec := range h.codecs {
		if codec.Name() != done.Protocol {
			continue
		}
		body, n, err := codec.Next(done.Frame)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("a client result that is no whole message")
		}
		var m protocol.Message
		if err := codec.Decode(body, &m); err != nil {
			return err
		}
		p := h.results.get(m.InvocationID)
		if p == nil || p.conn != nil || h.results.take(m.InvocationID) == nil {
			return nil // whoever asked does not wait any more, or did not ask another node
		}
		r := clientResult{codec: codec, value: bytes.Clone(m.Result)}
		switch {
		case m.HasError && m.Error == textDisconnected:
			r.failed = disconnected(p.id)
		case m.HasError:
			r.failed = &Error{m.Error}
		}
		p.answer <- r
		return nil
	}
	return fmt.Errorf("received a client result for protocol %s which is not supported by this server; the nodes have different versions", done.Protocol)
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// lifecycleTimeout bounds the context of OnConnected and OnDisconnected.
const lifecycleTimeout = 30 * time.Second

// accept takes over a connection from the transport.
func (h *host) accept(conn transport.Conn, r *transport.Request) {
	if !h.server.enter() {
		conn.Abort()
		return
	}
	c := &Connection{id: conn.ID(), host: h, request: r, accepted: h.server.clock()}
	c.setLink(conn)
	c.identity, _ = r.Identity.(Identity)
	r.Identity = nil
	c.renew(c.identity)
	c.out.max = h.limits.MaxQueue
	c.out.run = c.write
	go c.serve()
}

// serve is the life of a connection. It runs on the goroutine that reads from it, which may hand on to another one (rest), and
// when the last has returned nothing of the connection is left but invocations that are still running.
func (c *Connection) serve() {
	c.host.server.beat.add(c)
	in := &inbox{limit: c.host.limits.MaxMessageSize}
	switch {
	case !c.handshake(in):
		c.vanish(in)
	case c.begin() && c.process(in):
		c.receive(in)
	default:
		c.over(in)
	}
}

// over waits until all of the connection has ended, but for invocations.
func (c *Connection) over(in *inbox) {
	c.finishing.Wait()
	c.closeSession()
	// The transport is closed, so the writer ends by itself; nothing of ours may outlive this goroutine.
	for !c.out.idle(time.Minute) {
		c.log().Error("the writer of a closed connection does not end")
	}
	c.vanish(in)
}

// vanish is the last thing that the reader does.
func (c *Connection) vanish(in *inbox) {
	in.release()
	c.host.server.beat.remove(c)
	c.host.server.leave()
}

// begin makes the connection part of its hub. It returns false when it is over already.
func (c *Connection) begin() bool {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.reading.Store(true) // it is not idle, whatever it has sent
	defer c.reading.Store(false)
	call1(c.host.hooks.Connected, c.link().Kind())
	c.log().Debug("connected", "transport", c.Transport(), "remote", c.request.RemoteAddr)
	c.open()
	c.connected = !c.hasEnded() && c.callConnected()
	return c.connected
}

// leave undoes begin, as soon as nothing that the client sent is being dispatched any more.
func (c *Connection) leave() {
	c.busy.Lock()
	defer c.busy.Unlock()
	h := c.host
	h.server.options.Presence.Remove(c.id)
	if c.connected {
		c.callDisconnected()
	}
	h.unregister(c)
	call3(h.hooks.Disconnected, c.link().Kind(), c.ending.reason, time.Duration(h.server.clock()-c.opened.Load()))
	c.log().Debug("disconnected", "reason", c.ending.reason, "error", c.ending.err)
}

func (c *Connection) callConnected() bool {
	h := c.host
	if h.onConnected == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(h.server.hard, lifecycleTimeout)
	defer cancel()
	call := &Call{ctx: ctx, conn: c, method: "OnConnected"}
	c.joining.Store(true)
	err := contain(call, func() error { return h.onConnected(call) })
	c.joining.Store(false)
	call.answered(err)
	if err == nil {
		return true
	}
	call.Logger().Error("OnConnected failed; the client is refused", "error", err)
	c.end(endRefused, err)
	return false
}

func (c *Connection) callDisconnected() {
	h := c.host
	if h.onDisconnected == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lifecycleTimeout)
	defer cancel()
	call := &Call{ctx: ctx, conn: c, method: "OnDisconnected"}
	if err := contain(call, func() error { h.onDisconnected(call, c.ending.err); return nil }); err != nil {
		call.Logger().Error("OnDisconnected failed", "error", err)
	}
}

// The phases of a handshake. Whoever changes it from shaking may speak to the client.
const (
	shaking int32 = iota
	shaken
	refused
)

// handshake reads the handshake request, which must come whole within its timeout, and answers it. It returns false when
// the connection is over.
func (c *Connection) handshake(in *inbox) bool {
	h := c.host
	var phase atomic.Int32
	fired := make(chan struct{})
	timer := time.AfterFunc(h.limits.HandshakeTimeout, func() {
		defer close(fired)
		if phase.CompareAndSwap(shaking, refused) {
			c.refuse(HandshakeTimeout, "Handshake was canceled.")
		}
	})
	defer func() {
		if !timer.Stop() {
			<-fired
		}
	}()
	request, why, text := c.readHandshake(in)
	codec := -1
	if why == "" {
		chosen, err := request.Choose(h.codecs, c.link().Kind() != transport.ServerSentEvents)
		if codec = slices.Index(h.server.codecs, chosen); err != nil {
			why, text = HandshakeUnsupported, err.Error()
		}
	}
	if why == "" && phase.CompareAndSwap(shaking, shaken) {
		c.codec = codec
		c.startSession(request.Version)
		return true
	}
	if phase.CompareAndSwap(shaking, refused) {
		c.refuse(why, text)
	}
	return false
}

// readHandshake returns the request, or why there is none and what to tell the client.
func (c *Connection) readHandshake(in *inbox) (request protocol.HandshakeRequest, why HandshakeFailure, text string) {
	for {
		r, err := c.link().Next()
		if err != nil {
			return request, HandshakeClosed, ""
		}
		for more := true; more; {
			more, err = in.fill(r)
			if err != nil {
				return request, HandshakeClosed, ""
			}
			request, n, err := protocol.ParseHandshakeRequest(in.window())
			if err != nil {
				text := explain("An unexpected error occurred during connection handshake.", invalidData(err.Error()), c.host.limits.DetailedErrors)
				return request, HandshakeMalformed, text
			}
			if n > 0 {
				in.take(n)
				return request, "", ""
			}
			if in.overflowed() {
				return request, HandshakeTooBig, "Handshake was canceled."
			}
		}
	}
}

// refuse ends a connection that did not get through its handshake. An empty text means that nobody is there to read it.
func (c *Connection) refuse(why HandshakeFailure, text string) {
	c.log().Debug("handshake failed", "reason", why, "answer", text)
	call1(c.host.hooks.HandshakeFailed, why)
	if text == "" {
		c.link().Abort()
		return
	}
	if err := c.link().Write([]*transport.Frame{handshakeReply(text, false)}); err != nil {
		c.link().Abort()
		return
	}
	c.link().Close(nil)
}

func handshakeReply(errText string, binary bool) *transport.Frame {
	buf := protocol.AppendHandshakeResponse(make([]byte, transport.Headroom, 128), errText)
	return transport.NewFrame(buf, binary)
}

// open registers the connection and then answers the handshake. In this order: once the client knows that it is connected,
// nothing that is sent to it, its user or everyone can be missed. What comes earlier waits behind the answer.
func (c *Connection) open() {
	if c.protocol().Binary() {
		c.link().SetBinary()
	}
	now := c.host.server.clock()
	c.lastPing.Store(now)
	c.lastBatch.Store(now)
	c.opened.Store(now)
	c.out.hold()
	c.host.register(c)
	if err := c.link().Write([]*transport.Frame{handshakeReply("", c.protocol().Binary())}); err != nil {
		c.out.discard()
		c.end(endTransport, err)
	}
	if c.out.release() {
		go c.out.run()
	}
}

// receive reads and dispatches messages until the connection ends, or nothing but pings comes: then it hands on to rest.
func (c *Connection) receive(in *inbox) {
	for {
		if in.rest() && !in.lively {
			go c.rest()
			return
		}
		in.lively = false
		r, err := c.link().Next()
		if err == nil {
			err = c.consume(in, r)
		}
		if err == nil || err != errEnded && c.awaitSocket(in, err) {
			continue
		}
		c.readFailed(in, err)
		c.over(in)
		return
	}
}

// rest waits for a client that is idle. A goroutine's stack grows with what it has done, and never becomes as small again as a new
// one's, of which thousands that wait would be most of a node's memory. A client that does more than ping is read from without a
// change of goroutines.
func (c *Connection) rest() {
	c.link().Rest()
	c.wake()
}

// wake reads what has come.
func (c *Connection) wake() {
	in := &inbox{limit: c.host.limits.MaxMessageSize, lively: true}
	c.receive(in)
}

var errEnded = errors.New("hub: the connection has ended")

// consume dispatches all that r has.
func (c *Connection) consume(in *inbox, r io.Reader) error {
	for {
		more, err := in.fill(r)
		if err != nil {
			return err
		}
		if (!more || in.worthwhile()) && !c.process(in) {
			return errEnded
		}
		if !more {
			return nil
		}
	}
}

func (c *Connection) readFailed(in *inbox, err error) {
	switch {
	case err == errEnded: // whoever ended it has said why
	case errors.Is(err, io.EOF) && in.len() == 0:
		c.end(endClient, nil)
	case errors.Is(err, io.EOF):
		c.end(endClient, invalidData("Connection terminated while reading a message."))
	default:
		c.transportFailed(err)
	}
}

// decoded are messages for process, so that one which comes costs no allocation: nothing of what is dispatched keeps it.
var decoded = sync.Pool{New: func() any { return new(protocol.Message) }}

// process dispatches the whole messages in the inbox. It returns false when the connection is over.
func (c *Connection) process(in *inbox) bool {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.reading.Store(true)
	defer func() {
		c.lastBatch.Store(c.host.server.clock())
		c.reading.Store(false)
	}()
	codec := c.protocol()
	messages, size := 0, 0
	defer func() {
		if messages > 0 {
			call2(c.host.hooks.Received, messages, size)
		}
	}()
	m := decoded.Get().(*protocol.Message)
	defer func() {
		*m = protocol.Message{}
		decoded.Put(m)
	}()
	for {
		body, n, err := codec.Next(in.window())
		if err == nil && n > 0 {
			messages, size = messages+1, size+n
			if err = codec.Decode(body, m); err == nil {
				in.lively = in.lively || m.Type != protocol.TypePing
				err = c.dispatch(m)
			}
		}
		if err != nil {
			if err != errEnded {
				c.log().Info("the client broke the protocol", "error", err)
				c.end(endProtocol, invalidData(err.Error()))
			}
			return false
		}
		if n == 0 {
			break
		}
		in.take(n)
	}
	in.tried = in.len()
	if in.overflowed() {
		err := fmt.Sprintf("The maximum message size of %dB was exceeded. The message size can be configured in AddHubOptions.", in.limit)
		c.log().Info("the client sent too large a message", "max_message_size", in.limit)
		c.end(endTooBig, invalidData(err))
		return false
	}
	return true
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// client is one connection to a hub.
type client struct {
	w       *worker
	index   int // in worker.clients
	number  int // of the receiver in the plan, or of the sender
	sends   bool
	channel int // whose messages it gets

	link    atomic.Pointer[link] // nil until it is connected
	closing atomic.Bool          // its end is our doing
	gone    sync.WaitGroup

	mu        sync.Mutex // for what follows; the reading goroutine holds it while it works on what came
	pending   []byte     // the beginning of a hub message whose end has not come
	latencies []int64    // of what the current read brought
	bytes     int
	sequences []sequence // by sender; of calls there is one
	verdict   verdict
	calls     uint64 // made
	streams   []stream
	answer    chan error // of the invocation answerID; nil when none is waited for
	lost      bool       // it broke: what it missed is no error of its own
}

// answerID is the id of an invocation that somebody waits for; those of calls and streams are numbers.
const answerID = "answer"

var errClosed = errors.New("the server closed the connection")

// start begins to read from a connection that has shaken hands.
func (c *client) start(o *opened) {
	l := newLink(o.net, o.rest)
	c.mu.Lock()
	c.pending, c.lost = nil, false
	c.closing.Store(false)
	c.link.Store(l)
	c.mu.Unlock()
	c.w.stats.open.Add(1)
	c.gone.Go(func() {
		err := c.hear(o.said)
		if err == nil {
			err = l.run(c.frame, c.batch)
		}
		_ = l.net.Close()
		c.w.stats.open.Add(-1)
		if c.closing.Load() {
			return
		}
		if errors.Is(err, io.EOF) {
			err = errClosed
		}
		c.broke(err)
	})
}

// broke notes that the connection has ended unasked.
func (c *client) broke(err error) {
	c.w.stats.fail("connection lost", err)
	c.mu.Lock()
	c.lost = true
	if c.answer != nil {
		c.answer <- err
		c.answer = nil
	}
	open := 0
	for i := range c.streams {
		if c.streams[i].running {
			c.streams[i].running, open = false, open+1
		}
	}
	c.mu.Unlock()
	c.w.outstanding.Add(-int64(open))
	if !c.sends || c.w.plan.Scenario == scenarioBroadcast {
		c.w.present[c.channel].Add(-1)
	}
}

// up says whether the connection was ever open.
func (c *client) up() bool { return c.link.Load() != nil }

// close ends the connection from our side and waits for its reader.
func (c *client) close() {
	if !c.up() {
		return
	}
	c.closing.Store(true)
	_ = c.link.Load().write(appendFrame(nil, opClose, []byte{0x03, 0xe8}, true)) // whoever has gone already needs no goodbye
	c.cut()
}

// cut breaks the network connection and waits for the reader.
func (c *client) cut() {
	c.closing.Store(true)
	_ = c.link.Load().net.Close()
	c.gone.Wait()
}

// frame acts on one WebSocket frame.
func (c *client) frame(op byte, payload []byte) error {
	switch op {
	case opText, opBinary, opContinuation:
		return c.hear(payload)
	case opPing:
		return c.link.Load().write(appendFrame(nil, opPong, payload, true))
	case opClose:
		return errClosed
	}
	return nil
}

// hear acts on the hub messages in what came; the last may be cut short.
func (c *client) hear(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += len(b)
	if len(c.pending) > 0 {
		c.pending = append(c.pending, b...)
		b = c.pending
	}
	at := now()
	for {
		body, n, err := c.w.codec.Next(b)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := c.message(body, at); err != nil {
			return err
		}
		b = b[n:]
	}
	if len(b) == 0 {
		c.pending = nil
	} else {
		c.pending = append(c.pending[:0:0], b...)
	}
	return nil
}

// batch hands on what one read brought.
func (c *client) batch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes == 0 {
		return
	}
	c.w.stats.count(c.index, c.bytes, c.latencies)
	c.bytes, c.latencies = 0, c.latencies[:0]
	if cap(c.latencies) > 256 {
		c.latencies = nil
	}
}

// message acts on one hub message that came at that time. c.mu is held.
func (c *client) message(body []byte, at int64) error {
	if st, intact, ok := c.w.stamper.find(body); ok {
		if !intact {
			c.verdict.Damaged++
			return nil
		}
		return c.stamped(st, at)
	}
	var m protocol.Message
	if err := c.w.codec.Decode(body, &m); err != nil {
		return err
	}
	switch m.Type {
	case protocol.TypePing:
		c.w.stats.pinged(c.index)
	case protocol.TypeClose:
		if m.Error != "" {
			return fmt.Errorf("%w: %s", errClosed, m.Error)
		}
		return errClosed
	case protocol.TypeStreamItem:
		return c.item(&m, at)
	case protocol.TypeCompletion:
		return c.completion(&m)
	}
	return nil
}

// stamped acts on a message of ours.
func (c *client) stamped(st stamp, at int64) error {
	if c.w.plan.Scenario == scenarioEcho {
		return c.echoed(st, at)
	}
	if st.channel != c.channel || st.sender >= len(c.sequences) {
		c.verdict.Misrouted++
		return nil
	}
	if !c.sequences[st.sender].arrived(st.number, &c.verdict) {
		return nil
	}
	c.latencies = append(c.latencies, at-st.due)
	if f := c.w.flights[st.sender]; f != nil {
		f.landed(st)
	}
	return nil
}

func (c *client) completion(m *protocol.Message) error {
	var err error
	if m.HasError {
		err = errors.New(m.Error)
	}
	switch {
	case m.InvocationID == answerID:
		if c.answer != nil {
			c.answer <- err
			c.answer = nil
		}
	case c.w.plan.Scenario == scenarioEcho:
		if err == nil {
			err = errors.New("another value came back")
		}
		c.w.stats.fail("call failed", err)
		return c.called(now())
	case c.w.plan.Scenario == scenarioStreams:
		return c.streamEnded(m.InvocationID, err)
	}
	return nil
}

// send writes a hub message.
func (c *client) send(message []byte) error {
	buf := sendBuffers.Get().(*sendBuffer)
	defer sendBuffers.Put(buf)
	op := byte(opText)
	if c.w.codec.Binary() {
		op = opBinary
	}
	buf.b = appendFrame(buf.b[:0], op, message, true)
	return c.link.Load().write(buf.b)
}

type sendBuffer struct{ b []byte }

var sendBuffers = sync.Pool{New: func() any { return new(sendBuffer) }}

// invoke calls a method and waits for its end.
func (c *client) invoke(method string, args ...any) error {
	b, err := c.w.codec.AppendInvocation(nil, answerID, method, args)
	if err != nil {
		return err
	}
	answer := make(chan error, 1)
	c.mu.Lock()
	c.answer = answer
	c.mu.Unlock()
	if err := c.send(b); err != nil {
		return err
	}
	return c.w.within(answer)
}

// ping sends SignalR's own.
func (c *client) ping() error {
	b, err := c.w.codec.Append(nil, &protocol.Message{Type: protocol.TypePing})
	if err != nil {
		return err
	}
	if err := c.send(b); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

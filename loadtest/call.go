package main

import (
	"errors"
	"strconv"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// call makes a call that was due at that time. c.mu is held.
func (c *client) call(due int64) error {
	n := c.calls
	c.calls++
	text := c.w.stamper.append(nil, stamp{sender: 0, channel: c.number, number: n, due: due})
	b, err := c.w.codec.AppendInvocation(nil, strconv.FormatUint(n, 10), c.w.plan.Echo, []any{string(text)})
	if err != nil {
		return err
	}
	c.w.outstanding.Add(1)
	c.w.stats.sent.Add(1)
	return c.send(b)
}

// echoed acts on the answer to a call. Servers may answer calls in any order.
func (c *client) echoed(st stamp, at int64) error {
	if st.channel != c.number {
		c.verdict.Misrouted++
		return nil
	}
	before := c.verdict.OutOfOrder
	first := c.sequences[0].arrived(st.number, &c.verdict)
	c.verdict.OutOfOrder = before
	if !first {
		return nil
	}
	c.latencies = append(c.latencies, at-st.due)
	return c.called(at)
}

// called makes the next call of a closed loop.
func (c *client) called(at int64) error {
	c.w.outstanding.Add(-1)
	if c.w.plan.Rate > 0 || !c.w.running.Load() {
		return nil
	}
	return c.call(at)
}

// stream is a stream from the server under way; its place in client.streams is the id.
type stream struct {
	running bool
	due     int64
	items   sequence
	cut     bool // we asked for its end
}

// openStream asks for a stream. c.mu is held.
func (c *client) openStream(id int) error {
	p := &c.w.plan
	args, err := c.w.codec.AppendValue(nil, []any{p.StreamItems, p.StreamDelay.Milliseconds()})
	if err != nil {
		return err
	}
	b, err := c.w.codec.Append(nil, &protocol.Message{
		Type: protocol.TypeStreamInvocation, InvocationID: strconv.Itoa(id), Target: p.Stream, Arguments: args,
	})
	if err != nil {
		return err
	}
	c.streams[id] = stream{running: true, due: now()}
	c.w.outstanding.Add(1)
	c.w.stats.sent.Add(1)
	return c.send(b)
}

// cutStreams asks the server to end all streams.
func (c *client) cutStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.streams {
		if !c.streams[id].running {
			continue
		}
		c.streams[id].cut = true
		b, err := c.w.codec.Append(nil, &protocol.Message{Type: protocol.TypeCancelInvocation, InvocationID: strconv.Itoa(id)})
		if err == nil {
			err = c.send(b)
		}
		if err != nil {
			c.w.stats.fail("cancelling a stream", err)
		}
	}
}

func (c *client) findStream(id string) (int, *stream) {
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(c.streams) || !c.streams[i].running {
		return 0, nil
	}
	return i, &c.streams[i]
}

// item acts on an item of a stream, which is the number of the item.
func (c *client) item(m *protocol.Message, at int64) error {
	_, s := c.findStream(m.InvocationID)
	if s == nil {
		c.verdict.Misrouted++
		return nil
	}
	var n int
	if err := c.w.codec.Unmarshal(m.Item, &n); err != nil || n < 0 {
		c.verdict.Damaged++
		return nil
	}
	if s.items.arrived(uint64(n), &c.verdict) {
		c.latencies = append(c.latencies, at-s.due-int64(n)*int64(c.w.plan.StreamDelay))
	}
	return nil
}

// streamEnded opens the next stream.
func (c *client) streamEnded(id string, err error) error {
	i, s := c.findStream(id)
	if s == nil {
		c.verdict.Misrouted++
		return nil
	}
	s.running = false
	c.w.outstanding.Add(-1)
	switch {
	case err != nil:
		c.w.stats.fail("stream failed", err)
	case !s.cut:
		s.items.finish(uint64(c.w.plan.StreamItems), &c.verdict)
		if s.items.next > uint64(c.w.plan.StreamItems) {
			err = errors.New("a stream has more items than were asked for")
		}
	}
	if err != nil || !c.w.running.Load() {
		return err
	}
	return c.openStream(i)
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// The channels of a hub, behind its name. They, and what travels on them, are those of
// Microsoft.AspNetCore.SignalR.StackExchangeRedis, so that Go and .NET nodes can share a hub.
const (
	channelAll        = ":all"
	channelConnection = ":connection:"
	channelUser       = ":user:"
	channelGroup      = ":group:"
	channelCommands   = ":internal:groups"
	channelAck        = ":internal:ack:"
	channelReturn     = ":internal:return:"
)

// ackTimeout is how long the node that has a connection may take to confirm a group command.
const ackTimeout = 30 * time.Second

// askAgain is how often it is asked, while another node's answer is waited for, whether there still is such a connection.
const askAgain = time.Second

// maxCommands bounds the group commands from other nodes that wait for one connection.
const maxCommands = 1024

// standing are the channels that a node is subscribed to from the start.
func (h *host) standing() []string {
	own := []string{h.name + channelAck + h.nodeName, h.name + channelReturn + h.nodeName}
	if h.server.remote {
		return own
	}
	return append(own, h.name+channelAll, h.name+channelCommands)
}

// publish sends an invocation to channels, encoded for every protocol that any node may have clients of in this hub.
func (h *host) publish(ctx context.Context, t Target, channels []string, method string, args []any) error {
	s := scratches.Get().(*scratch)
	defer s.release()
	inv := protocol.ClusterInvocation{Excluded: t.except}
	buf := s.buf[:0]
	for _, codec := range h.codecs {
		start := len(buf)
		var err error
		if buf, err = codec.AppendInvocation(buf, "", method, args); err != nil {
			return err
		}
		// Should buf move when it grows, what was cut from it before stays valid.
		inv.Payloads = append(inv.Payloads, protocol.Payload{Protocol: codec.Name(), Frame: buf[start:]})
	}
	s.buf = buf
	payload := protocol.AppendClusterInvocation(make([]byte, 0, len(buf)+64), inv)
	if t.pipe != nil {
		return t.pipe.enqueue(ctx, payload, channels)
	}
	_, err := h.server.backplane.Publish(ctx, payload, channels...)
	return publishError(ctx, err)
}

// publishError keeps an error of the caller's own context apart from one of the backplane.
func publishError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var maybe interface{ MaybeSent() bool }
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) && !(errors.As(err, &maybe) && maybe.MaybeSent()) {
		return err
	}
	return fromBackplane(err)
}

// deliver hands what came from the backplane to the hub it is for. It never blocks.
func (s *Server) deliver(channel string, payload []byte) {
	if isFleet(channel) {
		if err := s.fleet.received(channel, payload); err != nil {
			s.log.Error("a message from the backplane was dropped", "channel", channel, "error", err)
		}
		return
	}
	name, rest, ok := strings.Cut(channel, ":")
	s.mu.RLock()
	h := s.byName[name]
	s.mu.RUnlock()
	if !ok || h == nil {
		return // a hub that another server of this process has
	}
	w := newWakeList()
	if err := h.received(channel, ":"+rest, payload, w); err != nil {
		call0(h.hooks.Dropped)
		h.log.Error("a message from the backplane was dropped", "channel", channel, "error", err)
	}
	s.later(w)
}

// later keeps the writers to be started until the backplane has delivered all it has.
func (s *Server) later(w *wakeList) {
	if len(w.conns) == 0 {
		w.flush()
		return
	}
	s.wakes.mu.Lock()
	s.wakes.lists = append(s.wakes.lists, w)
	s.wakes.mu.Unlock()
}

// flush starts the writers of all connections that deliver has queued something for.
func (s *Server) flush() {
	s.wakes.mu.Lock()
	lists := s.wakes.lists
	s.wakes.lists = s.wakes.spare
	s.wakes.spare = nil
	s.wakes.mu.Unlock()
	for i, w := range lists {
		s.starter.start(w)
		lists[i] = nil
	}
	s.wakes.mu.Lock()
	s.wakes.spare = lists[:0]
	s.wakes.mu.Unlock()
}

// wakes are lists of writers to be started at the next flush.
type wakes struct {
	mu    sync.Mutex
	lists []*wakeList
	spare []*wakeList
}

// received acts on one message; kind is the channel without the hub's name.
func (h *host) received(channel, kind string, payload []byte, w *wakeList) error {
	switch {
	case kind == channelAll:
		return h.fanOut(&h.all, ScopeAll, payload, w)
	case strings.HasPrefix(kind, channelGroup):
		return h.fanOut(h.channels.audience(channel), ScopeGroup, payload, w)
	case strings.HasPrefix(kind, channelUser):
		return h.fanOut(h.channels.audience(channel), ScopeUser, payload, w)
	case strings.HasPrefix(kind, channelConnection):
		return h.toConnection(h.connections.get(strings.TrimPrefix(kind, channelConnection)), payload, w)
	case kind == channelCommands:
		return h.groupCommand(payload)
	case kind == channelAck+h.nodeName:
		id, err := protocol.DecodeAck(payload)
		if err == nil {
			h.acks.done(id)
		}
		return err
	case kind == channelReturn+h.nodeName:
		return h.returned(payload)
	}
	return fmt.Errorf("nothing is known of a channel %q", channel)
}

// fanOut queues an invocation from the backplane for the members of an audience; nil has none.
func (h *host) fanOut(a *audience, scope Scope, payload []byte, w *wakeList) error {
	if a == nil {
		return nil // the last member left while the message was under way
	}
	m, inv, err := h.decode(payload)
	if err != nil {
		return err
	}
	excluded := inv.Excluded
	if scope == ScopeUser {
		excluded = nil // they mean nothing there
	}
	reached, err := a.deliver(m, excluded, w)
	call2(h.hooks.FannedOut, scope, reached)
	return err
}

func (h *host) toConnection(c *Connection, payload []byte, w *wakeList) error {
	if c == nil {
		return nil
	}
	m, inv, err := h.decode(payload)
	if err != nil {
		return err
	}
	if inv.InvocationID != "" {
		if err := h.expectResult(c, inv); err != nil {
			return err
		}
		if c.hasEnded() {
			c.disappoint() // it may have told those who waited before this one was entered
			return nil
		}
	}
	if err := m.make(c.codec); err != nil {
		return err
	}
	call2(h.hooks.FannedOut, ScopeConnection, 1)
	w.push(c, m)
	return nil
}

// decode reads an invocation, whose frames are made for the protocols that are needed.
func (h *host) decode(payload []byte) (*outgoing, *protocol.ClusterInvocation, error) {
	inv := &protocol.ClusterInvocation{}
	if err := protocol.DecodeClusterInvocation(payload, inv); err != nil {
		return nil, nil, err
	}
	return &outgoing{encode: func(i int) (*frame, error) {
		codec := h.server.codecs[i]
		for _, p := range inv.Payloads {
			if p.Protocol == codec.Name() {
				return frameOf(codec, p.Frame), nil
			}
		}
		return nil, nil
	}}, inv, nil
}

// commandGroup asks the node that has the connection to change one of its groups, and waits until it has done so.
func (h *host) commandGroup(ctx context.Context, action protocol.GroupAction, connectionID, group string) error {
	b := h.server.backplane
	// Every connection has a channel of its own, so a connection that nobody listens for does not exist. Without this
	// question only the ack's timeout would tell.
	n, err := b.Subscribers(ctx, h.name+channelConnection+connectionID)
	if err != nil {
		return publishError(ctx, err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %q", ErrNoConnection, connectionID)
	}
	silent := fmt.Errorf("%w: the node that has connection %q did not confirm the change within %v", ErrIncomplete, connectionID, ackTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, ackTimeout, silent)
	defer cancel()
	if err := h.listening(ctx); err != nil {
		return err
	}
	id, acked := h.acks.add()
	defer h.acks.done(id)
	payload := protocol.AppendGroupCommand(nil, protocol.GroupCommand{
		ID: id, Server: h.nodeName, Action: action, Group: group, Connection: connectionID,
	})
	if _, err := b.Publish(ctx, payload, h.name+channelCommands); err != nil {
		return publishError(ctx, err)
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case <-acked:
			return nil
		case <-again.C: // its node, or the connection itself, may have gone meanwhile
			if n, err := b.Subscribers(ctx, h.name+channelConnection+connectionID); err == nil && n == 0 {
				return fmt.Errorf("%w: %q", ErrNoConnection, connectionID)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrMaybeSent, context.Cause(ctx)) // the node may obey yet
		}
	}
}

// acks are the group commands of this node that wait to be confirmed. How many there are is bounded by those who wait.
type acks struct {
	mu      sync.Mutex
	last    int32
	waiting map[int32]chan struct{}
}

func (a *acks) add() (int32, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[int32]chan struct{}{}
	}
	a.last++
	ch := make(chan struct{})
	a.waiting[a.last] = ch
	return a.last, ch
}

func (a *acks) done(id int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch, ok := a.waiting[id]; ok {
		close(ch)
		delete(a.waiting, id)
	}
}

type groupCommand = protocol.GroupCommand

// groupCommand hands a command to the goroutine that works on those of its connection, in order; others ignore it.
func (h *host) groupCommand(payload []byte) error {
	cmd, err := protocol.DecodeGroupCommand(payload)
	if err != nil {
		return err
	}
	c := h.connections.get(cmd.Connection)
	if c == nil {
		return nil // it is another node's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.commands) >= maxCommands {
		call0(h.hooks.CommandRefused)
		return fmt.Errorf("connection %q has %d group commands waiting; no more are taken, and their senders see no ack", c.id, maxCommands)
	}
	if c.left {
		return nil // it has ended, and as soon as it is unsubscribed, whoever asks is told so
	}
	if c.commands = append(c.commands, cmd); len(c.commands) == 1 && !c.obeying {
		c.obeying = true
		h.server.work.Add(1) // never the first: who has not left is at work
		go c.obey()
	}
	return nil
}

// obey carries out the group commands that wait for c, and then ends.
func (c *Connection) obey() {
	h := c.host
	defer h.server.leave()
	for {
		c.mu.Lock()
		if len(c.commands) == 0 {
			c.commands, c.obeying = nil, false
			c.mu.Unlock()
			return
		}
		cmd := c.commands[0]
		c.commands = c.commands[1:]
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(h.server.hard, ackTimeout)
		err := c.changeGroup(ctx, cmd.Action, cmd.Group)
		if err == nil {
			_, err = h.server.backplane.Publish(ctx, protocol.AppendAck(nil, cmd.ID), h.name+channelAck+cmd.Server)
		}
		cancel()
		if err != nil {
			c.log().Error("a group command from another node failed; its sender sees no ack", "group", cmd.Group, "error", err)
		}
	}
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Groups changes who is in which group. Groups need not be created: they exist while they have members. Names are
// compared byte by byte. A connection leaves its groups when it ends.
type Groups struct{ host *host }

var (
	errGroupName = errors.New("hub: a group needs a name that is not empty")
	errUserID    = errors.New("hub: a user id must not be empty: that stands for everyone who is anonymous")
)

// Add puts a connection, on whatever node it is, into a group. When it has returned nil, what anyone sends to the group
// reaches the connection. Adding twice is no error.
//
// The error wraps ErrNoConnection when no node has the connection, and ErrUnavailable when the backplane cannot be
// reached; the connection is then not a member (with ErrMaybeSent, it may be one). When the connection's node does not confirm
// within 30 s, because it hangs, has too much to do or cannot subscribe, the error wraps ErrIncomplete and ErrMaybeSent, and when ctx
// ends before, its cause and ErrMaybeSent: the connection may be a member, or become one later. Doing it again does no harm.
func (g Groups) Add(ctx context.Context, connectionID, group string) error {
	return g.host.changeGroup(ctx, protocol.GroupAdd, connectionID, group)
}

// Remove takes a connection out of a group. Removing one that is not a member is no error; for the rest see Add.
func (g Groups) Remove(ctx context.Context, connectionID, group string) error {
	return g.host.changeGroup(ctx, protocol.GroupRemove, connectionID, group)
}

func (h *host) changeGroup(ctx context.Context, action protocol.GroupAction, connectionID, group string) error {
	if group == "" {
		return errGroupName
	}
	if c := h.connections.get(connectionID); c != nil {
		return c.changeGroup(ctx, action, group)
	}
	if h.server.backplane == nil {
		return fmt.Errorf("%w: %q", ErrNoConnection, connectionID)
	}
	return h.commandGroup(ctx, action, connectionID, group)
}

func (c *Connection) changeGroup(ctx context.Context, action protocol.GroupAction, group string) error {
	h := c.host
	name := h.name + channelGroup + group
	if action == protocol.GroupRemove {
		if c.forget(name) {
			h.channels.leave(name, c)
		}
		return nil
	}
	if err := h.channels.join(ctx, name, c, confirmedOnly); err != nil {
		return err
	}
	if !c.remember(name) {
		h.channels.leave(name, c) // it ended while it was joining
		return fmt.Errorf("%w: %q has ended", ErrNoConnection, c.id)
	}
	return nil
}

// remember notes a group that c has joined, so that it is left when c ends. It returns false when c has ended already.
func (c *Connection) remember(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	if c.groups == nil {
		c.groups = map[string]struct{}{}
	}
	c.groups[channel] = struct{}{}
	return true
}

// forget undoes remember; it says whether c was in the group.
func (c *Connection) forget(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.groups[channel]
	delete(c.groups, channel)
	return ok
}

// leaveAll returns the groups to leave; from now on c joins none.
func (c *Connection) leaveAll() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	names := make([]string, 0, len(c.groups))
	for n := range c.groups {
		names = append(names, n)
	}
	c.groups = nil
	slices.Sort(names)
	return names
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Bounds of one page of connections.
const (
	// MaxPage is how many members Groups.Members returns at most.
	MaxPage = 1000
	// maxReplyBytes ends a node's page early, so that long user ids do not make messages too large. One member always fits.
	maxReplyBytes = 256 << 10
)

// answer does what a request asks for with the connections of this node.
func (f *fleet) answer(ctx context.Context, q protocol.FleetRequest) protocol.FleetReply {
	s := f.server
	p := protocol.FleetReply{ID: q.ID, Node: f.id, Name: s.options.NodeName}
	var errs []error
	for _, h := range s.named(q.Hub) {
		errs = append(errs, h.answer(ctx, q, &p))
	}
	if err := errors.Join(errs...); err != nil {
		p.Failed = err.Error()
	}
	return p
}

// named are the hubs that a request is about: one, or all.
func (s *Server) named(name string) []*host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if name != "" {
		if h := s.byName[name]; h != nil {
			return []*host{h}
		}
		return nil
	}
	all := make([]*host, 0, len(s.byName))
	for _, h := range s.byName {
		all = append(all, h)
	}
	return all
}

// countRefused counts a request that was not taken.
func (s *Server) countRefused(name string) {
	for _, h := range s.named(name) {
		if f := h.hooks.CommandRefused; f != nil {
			f()
			return
		}
	}
}

func (h *host) answer(ctx context.Context, q protocol.FleetRequest, p *protocol.FleetReply) error {
	chosen, err := h.chosen(q)
	if err != nil {
		return err
	}
	switch q.Action {
	case protocol.FleetList:
		h.list(q, chosen, p)
	case protocol.FleetCount:
		for c := range chosen {
			if q.Group == "" || c.isIn(q.Group) {
				p.Count++
			}
		}
	case protocol.FleetDisconnect:
		for c := range chosen {
			c.end(endAborted, nil)
			p.Count++
		}
	case protocol.FleetJoin, protocol.FleetLeave:
		return h.regroup(ctx, q, chosen, p)
	case protocol.FleetLeaveAll:
		for c := range chosen {
			for _, channel := range c.inGroups() {
				if c.forget(channel) {
					h.channels.leave(channel, c)
				}
			}
			p.Count++
		}
	default:
		return fmt.Errorf("it does not know what is asked for (action %d); the nodes have different versions", q.Action)
	}
	return nil
}

// regroup puts connections into a group, or takes them out. One that ends meanwhile does not count.
func (h *host) regroup(ctx context.Context, q protocol.FleetRequest, chosen iter.Seq[*Connection], p *protocol.FleetReply) error {
	action := protocol.GroupAdd
	if q.Action == protocol.FleetLeave {
		action = protocol.GroupRemove
	}
	if q.Group == "" {
		return errGroupName
	}
	var failed error
	for c := range chosen {
		err := c.changeGroup(ctx, action, q.Group)
		switch {
		case err == nil:
			p.Count++
		case !errors.Is(err, ErrNoConnection):
			failed = err
		}
	}
	return failed
}

// chosen are the connections of this node that a request is about, each once.
func (h *host) chosen(q protocol.FleetRequest) (iter.Seq[*Connection], error) {
	var audiences []*audience
	switch q.Choice {
	case protocol.FleetAll:
		audiences = []*audience{&h.all}
	case protocol.FleetConnections:
	case protocol.FleetGroups:
		audiences = h.audiences(channelGroup, q.Names)
	case protocol.FleetUsers:
		audiences = h.audiences(channelUser, q.Names)
	default:
		return nil, fmt.Errorf("it does not know whom the request means (choice %d); the nodes have different versions", q.Choice)
	}
	return func(yield func(*Connection) bool) {
		var seen map[*Connection]struct{}
		if len(q.Names) > 1 {
			seen = map[*Connection]struct{}{}
		}
		each := func(c *Connection) bool {
			if c == nil || slices.Contains(q.Except, c.id) || c.hasEnded() {
				return true
			}
			if seen != nil {
				if _, twice := seen[c]; twice {
					return true
				}
				seen[c] = struct{}{}
			}
			return yield(c)
		}
		if q.Choice == protocol.FleetConnections {
			for _, id := range q.Names {
				if !each(h.connections.get(id)) {
					return
				}
			}
		}
		for _, a := range audiences {
			for _, c := range a.snapshot() {
				if !each(c) {
					return
				}
			}
		}
	}, nil
}

func (h *host) audiences(kind string, names []string) []*audience {
	var all []*audience
	for _, name := range h.channelNames(kind, names) {
		if a := h.channels.audience(name); a != nil {
			all = append(all, a)
		}
	}
	return all
}

// list adds the connections behind q.After, in the order of their ids, to a reply, as many as are wanted and fit.
func (h *host) list(q protocol.FleetRequest, chosen iter.Seq[*Connection], p *protocol.FleetReply) {
	limit := min(int(q.Limit), MaxPage)
	ids, more := lowest(func(yield func(string) bool) {
		for c := range chosen {
			if !yield(c.id) {
				return
			}
		}
	}, q.After, limit)
	size := 0
	for _, id := range ids {
		c := h.connections.get(id)
		if c == nil {
			continue // it has gone meanwhile
		}
		m := c.member()
		size += len(m.Hub) + len(m.Connection) + len(m.User) + len(m.Transport) + 16
		if size > maxReplyBytes && len(p.Members) > 0 {
			more = true
			break
		}
		p.Members = append(p.Members, m)
		if q.Group == "" || c.isIn(q.Group) {
			p.Count++
		}
	}
	p.More = p.More || more
}

// member is what other nodes are told of c.
func (c *Connection) member() protocol.FleetMember {
	return protocol.FleetMember{
		Hub: c.host.name, Connection: c.id, User: c.identity.UserID, Transport: c.Transport(), Since: c.since().UnixMilli(),
	}
}

// since is when the connection came.
func (c *Connection) since() time.Time { return c.host.server.epoch.Add(time.Duration(c.accepted)) }

// lowest returns the lowest texts behind after, in order and at most limit, and whether there are more. It keeps no more than
// twice as many at a time.
func lowest(texts iter.Seq[string], after string, limit int) (page []string, more bool) {
	limit = max(limit, 1)
	top := "" // nothing from here on is wanted; empty: nothing is known to be unwanted
	for text := range texts {
		if text <= after {
			continue
		}
		if top != "" && text >= top {
			more = true
			continue
		}
		if page = append(page, text); len(page) >= 2*limit {
			slices.Sort(page)
			page, top, more = page[:limit], page[limit], true
		}
	}
	slices.Sort(page)
	if len(page) > limit {
		page, more = page[:limit], true
	}
	return page, more
}

// isIn says whether c is a member of a group.
func (c *Connection) isIn(group string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.groups[c.host.name+channelGroup+group]
	return ok
}

// inGroups are the channels of the groups that c is in.
func (c *Connection) inGroups() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.groups))
	for n := range c.groups {
		names = append(names, n)
	}
	return names
}

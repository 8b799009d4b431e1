package hub

import (
	"context"
	"errors"
	"slices"
)

// Clients chooses the connections of a hub that a message goes to, on all nodes.
type Clients struct {
	host *host
	from *Connection // whose call it is; nil outside a hub
	pipe *Call       // whose answer waits for what is sent; nil when the sends do
}

// CallClients is Clients as a hub method has it: it knows who called.
type CallClients struct{ clients }

// clients is what CallClients embeds: under its own name it would hide its method Clients.
type clients = Clients

// All is every connection of the hub.
func (c Clients) All() Target { return c.target(toAll, nil, nil) }

// AllExcept is every connection but those with the given ids.
func (c Clients) AllExcept(connectionIDs ...string) Target {
	return c.target(toAll, nil, connectionIDs)
}

// Client is the connection with the given id. Sending to one that does not exist succeeds, and reaches nobody.
func (c Clients) Client(connectionID string) Target {
	return c.target(toConnections, []string{connectionID}, nil)
}

// Clients is the connections with the given ids. An id that is given twice counts once.
func (c Clients) Clients(connectionIDs ...string) Target {
	return c.target(toConnections, connectionIDs, nil)
}

// Group is the members of a group. A group without members is no error.
func (c Clients) Group(group string) Target { return c.target(toGroups, []string{group}, nil) }

// Groups is the members of several groups. A member of two of them receives the message twice.
func (c Clients) Groups(groups ...string) Target { return c.target(toGroups, groups, nil) }

// GroupExcept is the members of a group but the connections with the given ids.
func (c Clients) GroupExcept(group string, connectionIDs ...string) Target {
	return c.target(toGroups, []string{group}, connectionIDs)
}

// User is all connections of a user.
func (c Clients) User(userID string) Target { return c.target(toUsers, []string{userID}, nil) }

// Users is all connections of several users.
func (c Clients) Users(userIDs ...string) Target { return c.target(toUsers, userIDs, nil) }

// Caller is the connection that called.
func (c CallClients) Caller() Target { return c.Client(c.from.id) }

// Others is every connection but the one that called.
func (c CallClients) Others() Target { return c.AllExcept(c.from.id) }

// OthersInGroup is the members of a group but the one that called.
func (c CallClients) OthersInGroup(group string) Target { return c.GroupExcept(group, c.from.id) }

func (c Clients) target(to targetKind, names, except []string) Target {
	return Target{host: c.host, from: c.from, pipe: c.pipe, to: to, names: names, except: except}
}

type targetKind uint8

const (
	toAll targetKind = iota
	toConnections
	toGroups
	toUsers
)

// Target is a choice of connections. It is a value; it may be kept and used concurrently.
type Target struct {
	host   *host
	from   *Connection
	pipe   *Call
	to     targetKind
	names  []string
	except []string
}

var errEmptyGroup = errors.New("hub: cannot send to an empty group name")

// Send invokes a method on every client of the target, with the given arguments, and wants no answer. It returns when the
// message has been queued here and the backplane, if any, has taken it; it does not wait for delivery.
//
// With a target of Call.Pipelined it does not wait for the backplane; the answer of the call does.
//
// Messages that one goroutine sends to one target, each after the last Send returned, arrive in that order.
// The error wraps ErrUnavailable when the backplane cannot be reached, and ErrMaybeSent too when its answer was lost;
// or it says which argument could not be encoded. Nothing refers to args after Send has returned.
func (t Target) Send(ctx context.Context, method string, args ...any) error {
	h := t.host
	names := distinct(t.names)
	switch t.to {
	case toAll:
		return h.broadcast(ctx, t, &h.all, []string{h.name + channelAll}, ScopeAll, method, args)
	case toConnections:
		return h.sendToConnections(ctx, t, names, method, args)
	case toGroups:
		if slices.Contains(names, "") {
			return errEmptyGroup
		}
		return h.broadcast(ctx, t, nil, h.channelNames(channelGroup, names), ScopeGroup, method, args)
	default:
		names = slices.DeleteFunc(names, func(u string) bool { return u == "" })
		return h.broadcast(ctx, t, nil, h.channelNames(channelUser, names), ScopeUser, method, args)
	}
}

// distinct returns names without repetitions; it is names itself when there are none. Few names are the rule.
func distinct(names []string) []string {
	if len(names) < 2 {
		return names
	}
	seen := make(map[string]struct{}, len(names))
	out := make([]string, 0, len(names))
	for _, n := range names {
		if _, twice := seen[n]; !twice {
			seen[n] = struct{}{}
			out = append(out, n)
		}
	}
	return out
}

// broadcast sends to whole channels: through the backplane if there is one, so that everybody, this node included, gets
// the messages of a channel in one order; else to the local members. audience is that of the only channel, if it is known.
func (h *host) broadcast(ctx context.Context, t Target, audience *audience, channels []string, scope Scope, method string, args []any) error {
	if len(channels) == 0 {
		return nil
	}
	if h.server.backplane != nil {
		return h.publish(ctx, t, channels, method, args)
	}
	m := h.outgoing(method, args)
	w := newWakeList()
	defer h.server.starter.start(w)
	for _, name := range channels {
		a := audience
		if a == nil {
			a = h.channels.audience(name)
		}
		reached := 0
		if a != nil {
			var err error
			if reached, err = a.deliver(m, t.except, w); err != nil {
				return err
			}
		}
		call2(h.hooks.FannedOut, scope, reached)
	}
	if m.made == [maxCodecs]bool{} {
		return m.make(0) // arguments that cannot be encoded are an error also when nobody listens
	}
	return nil
}

// sendToConnections sends to single connections: those of this node directly, in one path whatever the target was called, and
// the others through the backplane.
func (h *host) sendToConnections(ctx context.Context, t Target, ids []string, method string, args []any) error {
	m := h.outgoing(method, args)
	var remote []string
	for _, id := range ids {
		c := h.connections.get(id)
		if c == nil {
			remote = append(remote, h.name+channelConnection+id)
			continue
		}
		if !m.made[c.codec] {
			if err := m.make(c.codec); err != nil {
				return err
			}
		}
		call2(h.hooks.FannedOut, ScopeConnection, 1)
		if err := c.sendFrom(ctx, t.from, m.frames[c.codec]); err != nil {
			return err
		}
	}
	if len(remote) == 0 || h.server.backplane == nil {
		return nil
	}
	return h.publish(ctx, t, remote, method, args)
}

// sendFrom queues f. When the connection sends to itself it waits for room, like for any reply: it asked for it. When others
// send they never wait.
func (c *Connection) sendFrom(ctx context.Context, from *Connection, f *frame) error {
	if from == c {
		return c.replyWithin(ctx, f)
	}
	c.push(f)
	return nil
}

// outgoing is an invocation that is encoded as it is needed.
func (h *host) outgoing(method string, args []any) *outgoing {
	return &outgoing{encode: func(i int) (*frame, error) {
		codec := h.server.codecs[i]
		return encode(codec, func(dst []byte) ([]byte, error) { return codec.AppendInvocation(dst, "", method, args) })
	}}
}

package hub

import (
	"context"
	"fmt"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Changed says what came of a change to connections on all nodes.
type Changed struct {
	Answered
	// Connections is how many the nodes that have answered have changed.
	Connections int
}

// Disconnect ends the connections of the target, on all nodes: their clients are told not to reconnect. When it has returned nil,
// every live node has confirmed that it has begun to close those that it had; none of them is no error. Nodes have 10 s, or what
// ctx leaves them; 1 s if they did not answer the last time.
//
// The error wraps ErrIncomplete when a live node did not confirm, and ErrUnavailable when the others could not be asked: nothing was
// done then, unless it is also ErrMaybeSent. Doing it again does no harm.
func (t Target) Disconnect(ctx context.Context) (Changed, error) {
	q := protocol.FleetRequest{Action: protocol.FleetDisconnect, Names: distinct(t.names), Except: t.except}
	switch t.to {
	case toAll:
		q.Choice = protocol.FleetAll
	case toConnections:
		q.Choice = protocol.FleetConnections
	case toGroups:
		q.Choice = protocol.FleetGroups
	default:
		q.Choice = protocol.FleetUsers
	}
	return t.host.control(ctx, q)
}

// AddUser puts all connections that a user has now, on whatever nodes, into a group. When it has returned nil, what anyone sends to the
// group reaches all of them. Connections that the user opens later are not in it: a group has connections, not users.
//
// Changed says how many connections there were; none is no error. The error wraps ErrIncomplete when a live node did not
// confirm within 10 s, or could not subscribe to the group: then some may be members, and doing it again does no harm.
// It wraps ErrUnavailable when the other nodes could not be asked: none is a member then, unless the error is also ErrMaybeSent.
func (g Groups) AddUser(ctx context.Context, userID, group string) (Changed, error) {
	return g.regroupUser(ctx, protocol.FleetJoin, userID, group)
}

// RemoveUser takes all connections that a user has now out of a group; for the rest see AddUser.
func (g Groups) RemoveUser(ctx context.Context, userID, group string) (Changed, error) {
	return g.regroupUser(ctx, protocol.FleetLeave, userID, group)
}

func (g Groups) regroupUser(ctx context.Context, action protocol.FleetAction, userID, group string) (Changed, error) {
	switch {
	case group == "":
		return Changed{}, errGroupName
	case userID == "":
		return Changed{}, errUserID
	}
	return g.host.control(ctx, protocol.FleetRequest{
		Action: action, Choice: protocol.FleetUsers, Names: []string{userID}, Group: group,
	})
}

// RemoveFromAll takes a connection, on whatever node it is, out of all its groups. The error wraps ErrNoConnection when no
// node has it; for the rest see AddUser.
func (g Groups) RemoveFromAll(ctx context.Context, connectionID string) (Changed, error) {
	o, err := g.host.control(ctx, protocol.FleetRequest{
		Action: protocol.FleetLeaveAll, Choice: protocol.FleetConnections, Names: []string{connectionID},
	})
	if err == nil && o.Connections == 0 {
		err = fmt.Errorf("%w: %q", ErrNoConnection, connectionID)
	}
	return o, err
}

// control has a change made on all nodes; connections that are all of this node need no others.
func (h *host) control(ctx context.Context, q protocol.FleetRequest) (Changed, error) {
	q.Hub = h.name
	f := &h.server.fleet
	var a answers
	if h.hasAll(q) {
		a.add(f.answer(ctx, q))
	} else {
		one := func(p protocol.FleetReply) bool {
			return q.Choice == protocol.FleetConnections && len(q.Names) == 1 && p.Count > 0
		}
		var err error
		if a, err = f.ask(ctx, q, controlTimeout, one); err != nil {
			return Changed{Answered: a.answered(), Connections: a.count()}, err
		}
		for _, p := range a.replies {
			if one(p) {
				a.missing = nil // it was on one node, and that has answered
			}
		}
	}
	return Changed{Answered: a.answered(), Connections: a.count()}, a.incomplete()
}

// hasAll says whether a request is about single connections, and all of them are here.
func (h *host) hasAll(q protocol.FleetRequest) bool {
	if q.Choice != protocol.FleetConnections {
		return false
	}
	for _, id := range q.Names {
		if h.connections.get(id) == nil {
			return false
		}
	}
	return true
}

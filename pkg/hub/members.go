package hub

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Answered says which nodes an answer about all nodes comes from. Nodes of other servers that share the hub over the backplane,
// such as ASP.NET Core's, are never asked and never counted.
type Answered struct {
	// Nodes is how many nodes have answered.
	Nodes int
	// Missing are the ids of the live nodes that have not; "unknown" stands for one whose id is not known.
	Missing []string
}

// Complete says whether all live nodes have answered.
func (a Answered) Complete() bool { return len(a.Missing) == 0 }

// Member is a connection, as its node describes it.
type Member struct {
	ConnectionID string
	UserID       string // empty: anonymous
	Hub          string // the hub's name
	NodeID       string // the id of the node that has it
	Node         string // what that node is called
	Transport    string // "WebSockets", "ServerSentEvents" or "LongPolling"
	Since        time.Time
}

// Members is a page of the members of a group.
type Members struct {
	Answered
	// List has them in the order of their connection ids.
	List []Member
	// Next is where the next page begins, for the parameter after; empty when this is the last one.
	Next string
}

// Members lists the members of a group on all nodes: at most limit of those whose connection id is greater than after, which is empty for
// the first page. A limit of 0, or above MaxPage, means MaxPage. Who is in which group is stored nowhere: all live nodes are
// asked, and have 2 s, or what ctx leaves them. Those that do not answer in time are in Missing, which is no error. A node that let
// the last question's time run out, and has said nothing since, has 0.2 s; one that has not got the question, or is known to be
// dead (Options.Gone), is not waited for, and who is dead is not missed.
//
// The error wraps ErrUnavailable when the other nodes cannot be asked; what this node knows is returned all the same.
func (g Groups) Members(ctx context.Context, group, after string, limit int) (Members, error) {
	if group == "" {
		return Members{}, errGroupName
	}
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	a, err := g.host.server.fleet.ask(ctx, protocol.FleetRequest{
		Hub: g.host.name, Action: protocol.FleetList, Choice: protocol.FleetGroups, Names: []string{group}, After: after, Limit: uint32(limit),
	}, queryTimeout, nil)
	m := Members{Answered: a.answered()}
	m.List, m.Next = a.page(limit)
	return m, err
}

// Count is how many members a group has on all nodes, and which of them have answered; see Members.
func (g Groups) Count(ctx context.Context, group string) (int, Answered, error) {
	if group == "" {
		return 0, Answered{}, errGroupName
	}
	a, err := g.host.server.fleet.ask(ctx, protocol.FleetRequest{
		Hub: g.host.name, Action: protocol.FleetCount, Choice: protocol.FleetGroups, Names: []string{group},
	}, queryTimeout, nil)
	return a.count(), a.answered(), err
}

// Has says whether a connection, on whatever node it is, is a member of a group. The error wraps ErrNoConnection when no
// node has the connection, ErrIncomplete when none of those that answered has it, and ErrUnavailable when they cannot be asked.
func (g Groups) Has(ctx context.Context, connectionID, group string) (bool, error) {
	if group == "" {
		return false, errGroupName
	}
	if c := g.host.connections.get(connectionID); c != nil {
		return c.isIn(group), nil
	}
	_, in, err := g.host.server.fleet.find(ctx, g.host.name, connectionID, group)
	return in, err
}

// Find says where a connection is. The error is as that of Groups.Has.
func (c Clients) Find(ctx context.Context, connectionID string) (Member, error) {
	m, _, err := c.host.server.fleet.find(ctx, c.host.name, connectionID, "")
	return m, err
}

// Find says where a connection is, of whatever hub. The error is as that of Groups.Has.
func (s *Server) Find(ctx context.Context, connectionID string) (Member, error) {
	m, _, err := s.fleet.find(ctx, "", connectionID, "")
	return m, err
}

// find asks for one connection of a hub, or of all, and whether it is in a group.
func (f *fleet) find(ctx context.Context, hub, id, group string) (m Member, in bool, err error) {
	q := protocol.FleetRequest{
		Hub: hub, Action: protocol.FleetList, Choice: protocol.FleetConnections, Names: []string{id}, Group: group, Limit: 1,
	}
	has := func(p protocol.FleetReply) bool { return len(p.Members) > 0 }
	if own := f.answer(ctx, q); has(own) {
		return memberOf(own, own.Members[0]), own.Count > 0, nil
	}
	a, err := f.ask(ctx, q, queryTimeout, has)
	for _, p := range a.replies {
		if has(p) {
			return memberOf(p, p.Members[0]), p.Count > 0, nil
		}
	}
	if err == nil {
		err = a.nobody(id)
	}
	return Member{}, false, err
}

// nobody is why a connection was not found.
func (a answers) nobody(id string) error {
	if err := a.incomplete(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %q", ErrNoConnection, id)
}

// incomplete is nil when all live nodes have answered.
func (a answers) incomplete() error {
	if len(a.missing) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d did, not %s", len(a.replies)-len(a.failed), strings.Join(a.missing, ", "))
	if len(a.failed) > 0 {
		text += "; " + strings.Join(a.failed, "; ")
	}
	return fmt.Errorf("%w: %s", ErrIncomplete, text)
}

func (a answers) answered() Answered {
	return Answered{Nodes: len(a.replies) - len(a.failed), Missing: a.missing}
}

func (a answers) count() int {
	n := 0
	for _, p := range a.replies {
		n += int(p.Count)
	}
	return n
}

// page joins the nodes' pages. It ends where the first of those ends that is not that node's last: behind it, connections of
// that node may be missing.
func (a answers) page(limit int) (list []Member, next string) {
	end := ""
	for _, p := range a.replies {
		for _, m := range p.Members {
			list = append(list, memberOf(p, m))
		}
		if n := len(p.Members); p.More && n > 0 && (end == "" || p.Members[n-1].Connection < end) {
			end = p.Members[n-1].Connection
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.ConnectionID, b.ConnectionID) })
	if end != "" {
		list = slices.DeleteFunc(list, func(m Member) bool { return m.ConnectionID > end })
	}
	if len(list) > limit {
		list = list[:limit]
		end = list[limit-1].ConnectionID
	}
	return list, end
}

func memberOf(p protocol.FleetReply, m protocol.FleetMember) Member {
	return Member{
		ConnectionID: m.Connection, UserID: m.User, Hub: m.Hub, NodeID: p.Node, Node: p.Name, Transport: m.Transport,
		Since: time.UnixMilli(min(m.Since, math.MaxInt64/1000)).UTC(),
	}
}

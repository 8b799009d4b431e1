package main

import (
	"context"
	"iter"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

//go:generate go run github.com/hubfleet/hubfleet/cmd/hubgen -hub ChatHub -client ChatClient -o ../../e2e/types/chat.ts

// ChatClient are the methods of clients that the hub calls.
type ChatClient struct {
	// ReceiveMessage shows what a user says.
	ReceiveMessage func(user, message string) error
	// SystemMessage shows what the server has to say.
	SystemMessage func(text string) error
	// PresenceChanged says that a user has come online, or gone. It is called after WatchPresence.
	PresenceChanged func(userID string, online bool) error
}

// to calls methods of the clients that the target chooses.
func to(c *hub.Call, target hub.Target) ChatClient { return hub.Typed[ChatClient](c, target) }

// ChatHub is the sample hub. The type's name is the hub's name on the backplane, where an ASP.NET Core hub of the same
// name can join it.
type ChatHub struct {
	node string
}

// SendMessage sends to everyone.
func (h *ChatHub) SendMessage(c *hub.Call, user, message string) error {
	return to(c, c.Pipelined().All()).ReceiveMessage(user, message)
}

// SendToOthers sends to everyone but the caller.
func (h *ChatHub) SendToOthers(c *hub.Call, user, message string) error {
	return to(c, c.Pipelined().Others()).ReceiveMessage(user, message)
}

// SendToUser sends to all connections of a user.
func (h *ChatHub) SendToUser(c *hub.Call, userID, user, message string) error {
	return to(c, c.Pipelined().User(userID)).ReceiveMessage(user, message)
}

// SendToConnection sends to one connection.
func (h *ChatHub) SendToConnection(c *hub.Call, connectionID, user, message string) error {
	return to(c, c.Clients().Client(connectionID)).ReceiveMessage(user, message)
}

// JoinRoom makes the caller a member of a room, and tells all members, the caller included.
func (h *ChatHub) JoinRoom(c *hub.Call, room string) error {
	if err := checkRoom(room); err != nil {
		return err
	}
	if err := c.Groups().Add(c, c.ConnectionID(), room); err != nil {
		return err
	}
	return to(c, c.Clients().Group(room)).SystemMessage(c.ConnectionID() + " joined " + room)
}

// LeaveRoom ends the caller's membership, and tells those who stay.
func (h *ChatHub) LeaveRoom(c *hub.Call, room string) error {
	if err := checkRoom(room); err != nil {
		return err
	}
	if err := c.Groups().Remove(c, c.ConnectionID(), room); err != nil {
		return err
	}
	return to(c, c.Clients().Group(room)).SystemMessage(c.ConnectionID() + " left " + room)
}

// SendToRoom sends to all members of a room; one need not be a member.
func (h *ChatHub) SendToRoom(c *hub.Call, room, user, message string) error {
	if err := checkRoom(room); err != nil {
		return err
	}
	return to(c, c.Pipelined().Group(room)).ReceiveMessage(user, message)
}

// checkRoom tells the client what a room's name must be.
func checkRoom(room string) error {
	if room == "" {
		return hub.Errorf("A room must have a name.")
	}
	return nil
}

// Echo returns the value as it came, without looking at it.
func (h *ChatHub) Echo(_ *hub.Call, value hub.Raw) (hub.Raw, error) { return value, nil }

// The bounds of Counter.
const (
	maxCount   = 1_000_000
	maxDelayMs = 60_000
)

// Counter streams the numbers from 0 to count-1, each delayMs milliseconds after the one before.
func (h *ChatHub) Counter(c *hub.Call, count, delayMs int) (iter.Seq2[int, error], error) {
	switch {
	case count < 0 || count > maxCount:
		return nil, hub.Errorf("Counter counts from 0 to at most %d, not to %d.", maxCount, count)
	case delayMs < 0 || delayMs > maxDelayMs:
		return nil, hub.Errorf("Counter waits between 0 and %d ms, not %d.", maxDelayMs, delayMs)
	}
	return func(yield func(int, error) bool) {
		pause := time.NewTimer(0)
		defer pause.Stop()
		for i := range count {
			if i > 0 && delayMs > 0 {
				pause.Reset(time.Duration(delayMs) * time.Millisecond)
				select {
				case <-pause.C:
				case <-c.Done():
					return
				}
			}
			if !yield(i, nil) {
				return
			}
		}
	}, nil
}

// Sum adds up what the caller streams.
func (h *ChatHub) Sum(c *hub.Call, numbers iter.Seq2[float64, error]) (float64, error) {
	sum := 0.0
	for n, err := range numbers {
		if err != nil {
			return 0, hub.Errorf("The stream of numbers broke: %v", err)
		}
		sum += n
	}
	return sum, nil
}

// identity is the answer of WhoAmI.
type identity struct {
	ConnectionID string  `json:"connectionId"`
	UserID       *string `json:"userId"` // null for an anonymous caller
	Node         string  `json:"node"`
	Transport    string  `json:"transport"`
}

// WhoAmI says how the caller is connected.
func (h *ChatHub) WhoAmI(c *hub.Call) (identity, error) {
	return identity{c.ConnectionID(), orNull(c.UserID()), h.node, c.Connection().Transport()}, nil
}

// The bounds of Online.
const maxOnline = 1000

// Online returns those of the users who are online, on any node, in the order asked.
func (h *ChatHub) Online(c *hub.Call, userIDs []string) ([]string, error) {
	if len(userIDs) > maxOnline {
		return nil, hub.Errorf("Online takes %d users at a time, not %d.", maxOnline, len(userIDs))
	}
	online, err := c.Presence().Online(c, userIDs...)
	if err != nil {
		return nil, err
	}
	found := make([]string, 0, len(userIDs))
	for i, user := range userIDs {
		if online[i] {
			found = append(found, user)
		}
	}
	return found, nil
}

// member is one connection in a room.
type member struct {
	ConnectionID string  `json:"connectionId"`
	UserID       *string `json:"userId"` // null for an anonymous one
}

// Bounds of RoomMembers.
const (
	maxMembers = 10_000
	// askAgainAfter is when the nodes are asked once more, if one did not answer: its link to the others may have broken, and be back.
	askAgainAfter = 250 * time.Millisecond
)

// RoomMembers returns who is in a room, on all nodes. If one of them does not answer, that is who is in the room on the others, after
// three seconds at most, and the log says so.
func (h *ChatHub) RoomMembers(c *hub.Call, room string) ([]member, error) {
	if err := checkRoom(room); err != nil {
		return nil, err
	}
	members, missing, err := roomMembers(c, room)
	if err == nil && len(missing) > 0 {
		again := time.NewTimer(askAgainAfter)
		defer again.Stop()
		select {
		case <-again.C:
		case <-c.Done():
			return nil, context.Cause(c)
		}
		members, missing, err = roomMembers(c, room)
	}
	if err == nil && len(missing) > 0 {
		c.Logger().Warn("not all nodes have said who is in a room", "room", room, "missing", missing)
	}
	return members, err
}

// roomMembers asks all nodes who is in a room. missing are those that have not answered.
func roomMembers(c *hub.Call, room string) (members []member, missing []string, err error) {
	members = []member{}
	for after := ""; ; {
		page, err := c.Groups().Members(c, room, after, hub.MaxPage)
		if err != nil {
			return nil, nil, err
		}
		if len(members)+len(page.List) > maxMembers {
			return nil, nil, hub.Errorf("The room has more than %d members.", maxMembers)
		}
		for _, m := range page.List {
			members = append(members, member{m.ConnectionID, orNull(m.UserID)})
		}
		if !page.Complete() {
			missing = page.Missing
		}
		if after = page.Next; after == "" {
			return members, missing, nil
		}
	}
}

// maxWatched is how many online users WatchPresence returns.
const maxWatched = 1000

// WatchPresence returns the users who are online now, the first thousand of them. From then on PresenceChanged is called for every
// user who comes or goes.
func (h *ChatHub) WatchPresence(c *hub.Call) ([]string, error) {
	return c.Presence().Notify(c, "PresenceChanged", maxWatched)
}

// orNull is how a user id is shown: null for an anonymous user.
func orNull(userID string) *string {
	if userID == "" {
		return nil
	}
	return &userID
}

// Fail fails with a message that is meant for the caller.
func (h *ChatHub) Fail(_ *hub.Call, message string) error { return &hub.Error{Message: message} }

// Package hub lets Go programs serve hubs to SignalR clients.
//
// A hub is one long-lived Go value. Its exported methods whose first parameter is a *Call are what clients can invoke, by name and
// without regard to case; the other parameters and the result are ordinary Go values:
//
//	type Chat struct{}
//
//	func (Chat) SendMessage(c *hub.Call, user, message string) error {
//		return c.Clients().All().Send(c, "ReceiveMessage", user, message)
//	}
//
// A method returns nothing, an error, a value, or a value and an error. The text of an error reaches the client only
// if it is an *Error. A hub may have the methods OnConnected(*Call) error and OnDisconnected(*Call, error).
//
// One process needs nothing else. Several share their hubs through a Backplane; then every message to a group, a user or to all
// travels through it, and comes back to the node that sent it too, so that all receivers see one channel's messages in
// the same order. Only messages to a single connection of the sending node go there directly.
//
// A send returns when the backplane has taken the message. A method whose sends need not be waited for one by one uses Call.Pipelined: the
// answer to its caller waits for them instead.
//
// The wire protocol is the SignalR hub protocol as ASP.NET Core speaks it
// (https://github.com/dotnet/aspnetcore/tree/main/src/SignalR/docs/specs).
package hub

// Package transport connects SignalR clients to a hub: negotiate, WebSockets, Server-Sent Events and long polling on one side,
// an ordered stream of bytes in each direction on the other. It knows nothing of hubs or messages.
//
// Negotiate keeps no state. What a later request must show is a connection token, signed with the cluster's secret, which
// any node can check; the first use of a token claims its connection id, so that each is used once.
package transport

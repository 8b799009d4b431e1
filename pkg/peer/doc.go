// Package peer carries requests from the node on which they landed to the node that owns their connection, so that a cluster
// needs no sticky sessions.
//
// A forwarded request has one more header, which is signed with the cluster's secret and names the client's address. Whatever comes to
// the peer port without it reaches nothing, and on the port for clients it means nothing. A request is forwarded once at
// most, and never repeated. The package knows no hubs and no tokens: it is told which node to go to, and asks where that is.
package peer

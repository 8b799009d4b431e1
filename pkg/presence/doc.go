// Package presence knows who is connected, where, and who is online.
//
// A user is online from its first connection to the last one that left, plus a grace period, on whatever nodes of the cluster
// those are. [Redis] keeps that for a cluster, [Memory] for the nodes of one process. Both are a [Tracker]: a node tells it of its own
// connections, and asks it about all.
//
// It knows no hubs and no transports, and of the cluster only this node's [Lease].
package presence

// Package clustertest has no code but tests: a cluster of real processes, thousands of clients, and a model of the truth beside
// them.
//
// Nodes are cmd/node, built with the race detector, around one redis-server. Clients come and go, join and leave rooms, send
// and lose their sockets, all by a seed, while nodes are killed, stopped, paused and started again and Redis is restarted
// empty. Each round ends with everything at rest, and then what clients got is held against what was sent to them:
//
//   - never twice, and what one sender sent to one channel in its order;
//   - one order of a channel's messages for all receivers;
//   - whatever was sent, and not while Redis was away, has reached everybody who was there and stayed;
//   - nothing that was for others;
//   - connections that nothing was done to are still there, and their calls have worked;
//   - who is online, who is in which room, and what watchers were told.
//
// TestCluster is the short form. `make cluster-test` runs the long one, with SEED and DURATION. A failure says what happened to
// the message, the connection and the cluster, and when.
//
// Benchmarks measure what Redis does for one connect, one join, one message; `make measure-redis` runs them.
package clustertest

// Package cluster holds what the nodes of a cluster share: who this node is, the secret that signs connection tokens,
// and which connection ids have been used.
//
// [Redis] keeps it in Redis, [Memory] in this process for several servers in one. It knows no hubs, and what the
// secret signs is the business of others.
package cluster

// Package cluster holds what the nodes of a cluster share: who this node is and where the others are, the secret that signs
// connection tokens, which connection ids have been used, and which node has them.
//
// [Redis] keeps it in Redis, [Memory] in this process for several servers in one. It knows no hubs, and what the
// secret signs is the business of others.
package cluster

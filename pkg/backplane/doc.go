// Package backplane carries opaque payloads between the nodes of a cluster over named channels.
//
// It knows no hubs and no protocols. There are two backplanes with one behaviour: [Memory] joins several servers in one
// process, and [Redis] joins processes through Redis Pub/Sub (PUBLISH and SUBSCRIBE, literal channel names, nothing is
// stored). Both promise the same, and one contract suite holds them to it:
//
//   - Order: what is published to one channel, each Publish or Enqueue begun after the last returned, is delivered in that order, and
//     every node sees the messages of one channel in the same order. Between channels no order is promised.
//   - Once: a payload is delivered at most once per channel named. A publish whose reply was lost is never repeated; it
//     fails with an error whose MaybeSent method says true.
//   - Subscribe returns when the broker has confirmed: what anybody publishes afterwards is delivered.
//   - The publisher's own node is no exception: what it publishes comes back to it if it is subscribed.
//   - deliver never waits for anything, and so nobody waits for a node that is slow.
//
// Messages published while a node's link to Redis was interrupted are lost to that node. Every interruption is logged and
// counted with its length ([Hooks].Gap), from the last sign of life of the old link to the moment at which the broker has
// confirmed every channel on the new one.
package backplane

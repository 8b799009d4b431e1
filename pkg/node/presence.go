package node

import (
	"context"

	"github.com/hubfleet/hubfleet/internal/hubpresence"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// joinPresence gives the hubs who is online: in the whole cluster, or on this node if that is all.
func (n *Node) joinPresence(o *hub.Options) (err error) {
	c := n.config
	if n.cluster != nil {
		n.presence, err = presence.NewRedis(presence.RedisOptions{
			URL:    c.Redis,
			Prefix: c.RedisPrefix,
			Lease:  n.cluster,
			Grace:  c.PresenceGrace,
			Logger: c.Logger,
			Hooks:  n.metrics.Presence(),

			Farewell: keptBack(c.DrainTimeout) / presencePart,
		})
		o.Presence = hubpresence.New(n.presence)
		return err
	}
	id := n.name
	if o.Cluster != nil {
		id = o.Cluster.NodeID()
	}
	n.alone = presence.NewMemory(presence.MemoryOptions{Grace: c.PresenceGrace, Hooks: n.metrics.Presence()}).Node(id)
	o.Presence = hubpresence.New(n.alone)
	return nil
}

// liveNodes are the ids of the nodes that hold a lease.
func (n *Node) liveNodes(ctx context.Context) ([]string, error) {
	nodes, err := n.cluster.Nodes(ctx)
	ids := make([]string, len(nodes))
	for i, info := range nodes {
		ids[i] = info.ID
	}
	return ids, err
}

package node

import (
	"context"

	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// alone is the cluster of a node without Redis whose secret was given: tokens then stay valid over a restart.
type alone struct {
	secret []byte
	node   *cluster.MemoryNode
}

func (a *alone) NodeID() string          { return a.node.NodeID() }
func (a *alone) Secret() ([]byte, error) { return a.secret, nil }
func (a *alone) Claim(ctx context.Context, id string) (bool, error) {
	return a.node.Claim(ctx, id)
}

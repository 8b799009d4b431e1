package node

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/peer"
)

const (
	// holdInterval is the longest time between two calls of cluster.Redis.Hold.
	holdInterval = 20 * time.Second
	// holdRetry is how soon it is tried again while Redis is away.
	holdRetry = 2 * time.Second
)

// joinPeers makes the hubs forward what other nodes own.
func (n *Node) joinPeers(o *hub.Options) {
	if n.config.PeerListen == Off {
		return
	}
	n.peer = peer.New(peer.Options{
		Secret:       n.cluster.Secret,
		Address:      n.cluster.Address,
		WriteTimeout: n.config.SendTimeout,
		Release:      func(path, token string) (leaves, stays bool) { return n.hubs.Release(path, token) },
		Logger:       n.config.Logger,
		Hooks:        n.metrics.Peer(),
	})
	o.Forward, o.Holder, o.Gone = n.peer.Forward, n.cluster.Holder, n.peer.Gone
}

// listenForPeers opens the peer listener, and says in the directory where that is.
func (n *Node) listenForPeers() (err error) {
	if n.peer == nil {
		return nil
	}
	if n.peers, err = listen("other nodes", n.config.PeerListen); err != nil {
		return err
	}
	address := n.config.Advertise
	if address == "" {
		reachable := false
		if address, reachable = advertised(n.peers.Addr()); !reachable {
			n.config.Logger.Warn("only nodes on this host can reach this one; name an address for the others with --advertise", "advertise", address)
		}
	}
	n.advertise = address
	n.cluster.Announce(cluster.NodeInfo{Address: address, Version: n.config.Version, Started: time.Now().UTC()})
	return nil
}

// servePeers makes the HTTP server for what other nodes forward. It reaches nothing but the hubs.
func (n *Node) servePeers(ctx context.Context) *http.Server {
	s := n.serve(ctx, n.peer.Handler(n.hubs))
	s.MaxHeaderBytes = 2 * maxHeaderBytes // a request that got through to the other node gets through here, with a header more
	return s
}

// holdSessions tells the cluster again and again which stateful connections are here, until ctx ends. It does so at once when this
// node has taken a new lease: Redis may have come back empty, and clients whose sockets break must be found.
func (n *Node) holdSessions(ctx context.Context) {
	for {
		lease := n.cluster.LeaseChanged()
		pause := n.holdEvery/2 + rand.N(n.holdEvery/2) // so that nodes that started together do not all do it at once
		if err := n.cluster.Hold(ctx, n.hubs.Sessions()); err != nil {
			pause = min(pause, holdRetry)
			n.config.Logger.Debug("stateful connections cannot be found from other nodes for the moment", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-lease:
		case <-time.After(pause):
		}
	}
}

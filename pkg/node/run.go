package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/peer"
)

// Bounds of the HTTP servers. There is no bound on a whole request or response: connections are meant to last.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10 // tokens with many claims are a few KiB
)

// Run serves until ctx ends, Drain is called or something fails, then stops, from the outside in: the node says that it is not ready, leads
// new clients to other nodes for a while, takes no more, says goodbye to those it has in such a way that they reconnect elsewhere,
// winds down what it forwards, and leaves the backplane and the other nodes last: until then they forward to it.
// It returns within DrainTimeout, and nothing of the node is left then. The error is nil unless something has failed.
func (n *Node) Run(ctx context.Context) error {
	if err := n.Listen(); err != nil {
		return err
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	// The lease is given up last: as long as it is held, what this node says of its clients counts.
	inCluster, leaveCluster := context.WithCancel(context.WithoutCancel(ctx))
	defer leaveCluster()
	var parts, last sync.WaitGroup
	failed := make(chan error, 6) // one for each part, so that none waits to be heard

	if n.backplane != nil {
		parts.Go(func() { report(failed, "backplane", n.backplane.Run(background)) })
		parts.Go(func() { _ = n.probe.Run(background) }) // it has no errors
		parts.Go(func() { n.watchNodes(background) })
		parts.Go(func() { report(failed, "presence", n.presence.Run(background)) })
		parts.Go(func() { n.holdSessions(background) })
		last.Go(func() { report(failed, "cluster", n.cluster.Run(inCluster)) })
	}
	servers := servers{clients: n.serve(background, n.closeWhenStopping(peer.Strip(n.mux)))}
	parts.Go(func() { report(failed, "clients", listenOn(servers.clients, n.clients)) })
	if n.admin != nil {
		servers.admin = n.serve(background, n.adminHandler())
		parts.Go(func() { report(failed, "admin", listenOn(servers.admin, n.admin)) })
	}
	if n.peers != nil {
		servers.peers = n.servePeers(background)
		parts.Go(func() { report(failed, "peers", listenOn(servers.peers, n.peers)) })
	}
	n.config.Logger.Info("serving", "listen", n.Addr().String(), "admin", n.adminText(), "peers", n.peersText(), "version", n.config.Version)

	var err error
	select {
	case <-ctx.Done():
	case <-n.drains.requested:
	case err = <-failed:
		n.config.Logger.Error("stopping, because a part has failed", "error", err)
	}
	n.drain(servers.clients)
	stopBackground()
	// What still asks a Redis that does not answer must not hold up the end: it fails when the cluster's part ends.
	late := time.AfterFunc(keptBack(n.config.DrainTimeout)/presencePart, leaveCluster)
	defer late.Stop()
	servers.end(keptBack(n.config.DrainTimeout) / presencePart)
	if n.alone != nil {
		n.alone.Close()
	}
	parts.Wait()
	leaveCluster()
	last.Wait()
	return err
}

// servers are the HTTP servers of a node.
type servers struct{ clients, admin, peers *http.Server }

// end closes them all, and waits for what they still serve; the contexts of all requests have ended by now.
func (s servers) end(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for _, server := range []*http.Server{s.clients, s.peers, s.admin} {
		if server != nil && server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
}

func (n *Node) adminText() string {
	if n.admin == nil {
		return Off
	}
	return n.admin.Addr().String()
}

// peersText is where other nodes reach this one.
func (n *Node) peersText() string {
	if n.peers == nil {
		return Off
	}
	return n.advertise
}

// report hands on the failure of a part.
func report(failed chan<- error, what string, err error) {
	if err != nil {
		failed <- fmt.Errorf("node: %s: %w", what, err)
	}
}

// serve makes an HTTP server whose requests end with ctx.
func (n *Node) serve(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(n.config.Logger.Handler(), slog.LevelDebug), // what it says is about clients' faults
	}
}

// listenOn serves a listener until the server is closed; that is no error.
func listenOn(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listening on %s: %w", l.Addr(), err)
	}
	return nil
}

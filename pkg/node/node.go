package node

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/metrics"
	"github.com/hubfleet/hubfleet/pkg/peer"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// Node is one node of a cluster. New, Map and Handle come first, then Run, once.
type Node struct {
	config  Config
	name    string
	hubs    *hub.Server
	metrics *metrics.Metrics
	mux     *http.ServeMux

	backplane *backplane.Redis     // nil without Redis
	probe     *backplane.Probe     // around backplane
	cluster   *cluster.Redis       // nil without Redis
	presence  *presence.Redis      // nil without Redis
	alone     *presence.MemoryNode // nil with Redis
	peer      *peer.Peer           // nil without Redis, and when that is off
	auth      *auth.Verifier       // nil without a secret

	clients, admin, peers net.Listener // from Listen on
	advertise             string       // from Listen on: the peer listener's URL
	holdEvery             time.Duration
	orderTimeout          time.Duration
	stopping              atomic.Bool
	drains                draining
	others                others
}

// New makes a node. It starts nothing and connects to nothing. The error says which setting is wrong.
func New(c Config) (*Node, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	n := &Node{config: c, name: c.NodeName, mux: http.NewServeMux(), holdEvery: holdInterval, orderTimeout: orderTimeout}
	n.drains.requested, n.drains.begun, n.drains.phase = make(chan struct{}), make(chan struct{}), phaseServing
	nodeID := cluster.NewNodeID(n.name) // the operator may give a name again; an id is never given again
	if n.name == "" {
		n.name = cluster.NewNodeName()
		nodeID = n.name
	}
	n.config.Logger = c.Logger.With("node", n.name)
	n.metrics = metrics.New(metrics.Options{Version: c.Version, Revision: c.Revision, Backplane: c.Redis != "", Readings: n.readings()})

	options := hub.Options{
		Limits:         c.Limits,
		AllowedOrigins: c.AllowedOrigins,
		NodeName:       n.name,
		Logger:         n.config.Logger,
		Hooks:          n.metrics.Hub,
		Ready:          n.accepting,
		MintFor:        n.mintFor,
		Farewell:       keptBack(n.config.DrainTimeout) / cutOffPart,
	}
	if err := errors.Join(n.joinCluster(&options, nodeID), n.setAuthenticate(&options)); err != nil {
		return nil, err
	}
	if err := n.joinPresence(&options); err != nil {
		return nil, err
	}
	n.hubs = hub.NewServer(options)
	return n, nil
}

// joinCluster gives the hubs what they need of the other nodes.
func (n *Node) joinCluster(o *hub.Options, nodeID string) error {
	c := n.config
	if c.Redis == "" {
		if len(c.ClusterSecret) > 0 {
			o.Cluster = &alone{secret: bytes.Clone(c.ClusterSecret), node: cluster.NewMemory().Node()}
		}
		return nil
	}
	var err error
	n.backplane, err = backplane.NewRedis(backplane.RedisOptions{
		URL:    c.Redis,
		Prefix: c.RedisPrefix,
		Logger: c.Logger,
		Hooks:  n.metrics.Backplane(),

		SubscribeConnections: c.RedisConnections,
		Sharded:              c.RedisSharded,
	})
	if err != nil {
		return err
	}
	var secret []byte
	if len(c.ClusterSecret) > 0 {
		secret = bytes.Clone(c.ClusterSecret)
	}
	n.cluster, err = cluster.NewRedis(cluster.RedisOptions{
		URL:    c.Redis,
		Prefix: c.RedisPrefix,
		NodeID: nodeID,
		Secret: secret,
		Logger: c.Logger,
		Hooks:  n.metrics.Cluster(),

		Farewell:    keptBack(c.DrainTimeout) / leasePart,
		Connections: func() int { return n.hubs.Connections() },
	})
	if err != nil {
		return err
	}
	n.probe = backplane.NewProbe(n.backplane, "probe:"+nodeID, n.metrics.Probe())
	o.Backplane, o.Cluster, o.Nodes = n.probe, n.cluster, n.liveNodes
	n.joinPeers(o)
	return nil
}

// setAuthenticate tells the hubs how to find out who a client is.
func (n *Node) setAuthenticate(o *hub.Options) error {
	c := n.config
	if c.Authenticate != nil {
		o.Authenticate = c.Authenticate
		return nil
	}
	if len(c.JWT.Secret) == 0 {
		if c.JWT.Issuer != "" || c.JWT.Audience != "" {
			return errors.New("node: JWT has an Issuer or an Audience but no Secret, so that nobody would be asked for a token")
		}
		return nil
	}
	verifier, err := auth.NewVerifier(c.JWT)
	if err != nil {
		return err
	}
	for _, reason := range auth.Reasons {
		n.metrics.AuthReasons(string(reason))
	}
	n.auth = verifier
	o.Authenticate = n.authenticate
	return nil
}

// authenticate checks the bearer token of a request, and counts refusals.
func (n *Node) authenticate(r *http.Request) (hub.Identity, error) {
	id, err := n.auth.Authenticate(r)
	if err != nil {
		var refused *auth.Error
		if errors.As(err, &refused) {
			n.metrics.AuthFailed(string(refused.Reason))
		}
		n.config.Logger.Debug("token refused", "path", r.URL.Path, "client", r.RemoteAddr, "error", err)
		return hub.Identity{}, err
	}
	return hub.Identity{UserID: id.UserID, Claims: id.Claims, Expires: id.Expires.Add(n.auth.Leeway())}, nil
}

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Registry is where a program can add metrics of its own to those on /metrics.
func (n *Node) Registry() *prometheus.Registry { return n.metrics.Registry() }

// Map makes a hub available at a path; see hub.Server.Map. It must not be called after Run.
func (n *Node) Map(path string, h any, options ...hub.HubOptions) error {
	if err := n.hubs.Map(path, h, options...); err != nil {
		return err
	}
	n.mux.Handle(path, n.hubs)
	if path != "/" {
		n.mux.Handle(path+"/", n.hubs)
	}
	return nil
}

// Handle serves something else than a hub to clients. The pattern is one of http.ServeMux; a path that neither a hub nor a
// handler has is 404. It panics if the pattern is in use. It must not be called after Run.
func (n *Node) Handle(pattern string, h http.Handler) { n.mux.Handle(pattern, h) }

// Hub gives Clients and Groups of a hub to the rest of the program; nil if no hub is mapped at the path.
func (n *Node) Hub(path string) *hub.Context { return n.hubs.Hub(path) }

// Listen opens the listeners, so that Addr, AdminAddr and PeerAddr can be asked before Run, which calls Listen if need be.
func (n *Node) Listen() (err error) {
	if n.clients != nil {
		return nil
	}
	defer func() {
		if err != nil {
			n.unlisten()
		}
	}()
	if n.clients, err = listen("clients", n.config.Listen); err != nil {
		return err
	}
	if n.config.AdminListen != Off {
		if n.admin, err = listen("the operator", n.config.AdminListen); err != nil {
			return err
		}
	}
	return n.listenForPeers()
}

// unlisten closes the listeners that are open.
func (n *Node) unlisten() {
	for _, l := range []*net.Listener{&n.clients, &n.admin, &n.peers} {
		if *l != nil {
			_ = (*l).Close()
			*l = nil
		}
	}
}

func listen(whom, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("node: cannot listen for %s on %s: %w", whom, address, err)
	}
	return &listener{TCPListener: l.(*net.TCPListener)}, nil
}

// Addr is where the node listens for clients; nil before Listen.
func (n *Node) Addr() net.Addr { return addr(n.clients) }

// AdminAddr is where the node listens for the operator; nil before Listen, and when that is off.
func (n *Node) AdminAddr() net.Addr { return addr(n.admin) }

// PeerAddr is where the node listens for other nodes; nil before Listen, without Redis, and when that is off.
func (n *Node) PeerAddr() net.Addr { return addr(n.peers) }

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

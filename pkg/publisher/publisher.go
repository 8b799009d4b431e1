// Package publisher reaches the hubs of a cluster from any Go program that knows the address of their Redis: it sends to clients,
// groups and users, changes groups, disconnects, and asks who is online and who is where.
//
//	p, err := publisher.Connect(ctx, publisher.Options{Redis: "redis://localhost:6379"})
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	return p.Hub("ChatHub").Clients().User("ada").Send(ctx, "ReceiveMessage", "ops", "Your export is ready.")
//
// It listens on no port, and is no node: nobody connects to it, and no node waits for it.
//
// While Redis is away, the Redis client below writes a line to standard error for each attempt to connect, whatever Options.Logger is. Its
// logger is one for the whole program, and so the program's to set: logging.Disable() of github.com/redis/go-redis/v9/logging ends it,
// and redis.SetLogger puts another in its place. Nothing is missed: Options.Logger is told when Redis goes and comes.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/internal/hubpresence"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/presence"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// DefaultRedisPrefix is that of nodes that were told nothing else.
const DefaultRedisPrefix = "hubfleet:"

// NoPrefix in place of Options.RedisPrefix means none at all.
const NoPrefix = "\x00"

// Options say where the cluster is. Only Redis is required. All but Name and Logger must be as on the nodes.
type Options struct {
	// Redis is the URL of the cluster's Redis; see --redis of the node.
	Redis string
	// RedisPrefix stands in front of every channel and key. Empty means DefaultRedisPrefix; NoPrefix, none.
	RedisPrefix string
	// RedisSharded uses the sharded Pub/Sub of Redis Cluster.
	RedisSharded bool
	// Protocols are the hub protocols that clients may speak. Nil means JSON and MessagePack.
	Protocols []protocol.Codec
	// Name names this process in logs and on the backplane. Empty means the host's name and something random.
	Name string
	// Logger hears when Redis goes and comes. Nil discards. The Redis client has its own; see above.
	Logger *slog.Logger
}

// Publisher is a connection to a cluster. It is safe for concurrent use. While Redis is away everything fails, with errors that wrap
// hub.ErrUnavailable: at once, but where Redis has only become silent and that is not known yet, which takes a few seconds at most. It
// comes back by itself.
type Publisher struct {
	hubs    *hub.Publisher
	cluster *cluster.Redis
	link    *backplane.Redis
	stop    context.CancelFunc
	parts   sync.WaitGroup
	close   func() error
}

// Connect reaches the cluster. It returns when everything works, or when ctx ends; the error then says what was the matter. Afterwards
// ctx means nothing: Close ends the publisher.
func Connect(ctx context.Context, o Options) (*Publisher, error) {
	if o.Redis == "" {
		return nil, errors.New("publisher: Redis is empty; give the URL of the cluster's Redis, such as redis://localhost:6379")
	}
	switch o.RedisPrefix {
	case "":
		o.RedisPrefix = DefaultRedisPrefix
	case NoPrefix:
		o.RedisPrefix = ""
	}
	if o.Name == "" {
		o.Name = cluster.NewNodeName()
	}
	b, err := backplane.NewRedis(backplane.RedisOptions{URL: o.Redis, Prefix: o.RedisPrefix, Sharded: o.RedisSharded, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	t, err := presence.NewRedis(presence.RedisOptions{URL: o.Redis, Prefix: o.RedisPrefix, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	p := &Publisher{link: b}
	// It is only asked who lives. Run would take a lease, and make a node of this process.
	p.cluster, err = cluster.NewRedis(cluster.RedisOptions{URL: o.Redis, Prefix: o.RedisPrefix, NodeID: cluster.NewNodeID(o.Name)})
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	p.hubs, err = hub.NewPublisher(hub.Options{
		Backplane: b, Nodes: p.liveNodes, Presence: hubpresence.New(t), Protocols: o.Protocols, NodeName: o.Name, Logger: o.Logger,
	})
	if err != nil {
		return nil, errors.Join(err, t.Close(), p.cluster.Close())
	}
	p.close = sync.OnceValue(p.end)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.parts.Go(func() { _ = b.Run(background) }) // the only error is that it was called twice
	p.parts.Go(func() { _ = t.Run(background) })
	works := func() (bool, error) {
		link, online := b.State(), t.State()
		// Who has never looked does not see when Redis loses what it knows.
		return link.Up && online.EverUp, errors.Join(link.Err, online.Err)
	}
	if err := whole(ctx, works); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// lookAgain is how often it is looked whether everything works.
const lookAgain = 10 * time.Millisecond

// whole waits until everything works. The error that works returns is why something does not.
func whole(ctx context.Context, works func() (bool, error)) error {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		ok, why := works()
		if ok {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("publisher: Redis was not reached: %w: %w", context.Cause(ctx), errors.Join(hub.ErrUnavailable, why))
		}
	}
}

func (p *Publisher) liveNodes(ctx context.Context) ([]string, error) {
	nodes, err := p.Nodes(ctx)
	ids := make([]string, len(nodes))
	for i, info := range nodes {
		ids[i] = info.ID
	}
	return ids, err
}

// Hub returns a hub by its name on the backplane: that of its Go type, unless hub.HubOptions.Name says otherwise, and for hubs that
// ASP.NET Core serves, the full name of the .NET type. It is nil when no hub can have the name, because it is empty or has a colon.
func (p *Publisher) Hub(name string) *hub.Context { return p.hubs.Hub(name) }

// Nodes are the nodes that live, in the order of their ids.
func (p *Publisher) Nodes(ctx context.Context) ([]cluster.NodeInfo, error) {
	if err := p.link.State().Err; err != nil {
		return nil, fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
	}
	nodes, err := p.cluster.Nodes(ctx)
	if err != nil {
		err = fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
	}
	return nodes, err
}

// Close ends the publisher, and waits for all that it has started. It may be called again.
func (p *Publisher) Close() error { return p.close() }

// closeTimeout bounds the wait for what a publisher still does when it is closed.
const closeTimeout = 5 * time.Second

func (p *Publisher) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := p.hubs.Shutdown(ctx)
	p.stop()
	p.parts.Wait()
	return errors.Join(err, p.cluster.Close())
}

package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redisurl"
)

// relayChannel is the one channel that bare servers talk over.
const relayChannel = "hubfleet:loadtest:bare"

// relay joins bare servers: what one publishes, all deliver, itself included. What waits is published as one pipeline.
type relay struct {
	server *bareServer
	client *redis.Client
	link   *redis.Client
	pubsub *redis.PubSub
	queue  chan string
	end    context.CancelFunc
	done   sync.WaitGroup
	dirty  []*bareConn // owned by the receiving goroutine
}

func startRelay(ctx context.Context, url string, s *bareServer) (*relay, error) {
	where, err := redisurl.Parse(url)
	if err != nil {
		return nil, err
	}
	if where.Kind != redisurl.Standalone {
		return nil, errors.New("bare servers are joined by a single Redis server only")
	}
	o := &where.Options
	ctx, cancel := context.WithCancel(ctx)
	r := &relay{server: s, client: redis.NewClient(o), queue: make(chan string, 1024), end: cancel}
	subscribed := *o
	dial := redis.NewDialer(o)
	subscribed.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		return &relayConn{Conn: c, relay: r}, err
	}
	r.link = redis.NewClient(&subscribed)
	r.pubsub = r.link.Subscribe(ctx, relayChannel)
	if _, err := r.pubsub.Receive(ctx); err != nil {
		r.stop()
		return nil, err
	}
	r.done.Go(func() { r.publishAll(ctx) })
	r.done.Go(func() { r.receive(ctx) })
	return r, nil
}

func (r *relay) stop() {
	r.end()
	_ = r.pubsub.Close() // all three are of no more use, whatever they say
	_ = r.link.Close()
	_ = r.client.Close()
	r.done.Wait()
}

// The marks in front of a payload: which opcode its frame has.
const (
	markText   = "t"
	markBinary = "b"
)

// publish hands a message to Redis: the mark, the name of the group, a zero byte, the message.
func (r *relay) publish(name string, message []byte, binary bool) error {
	mark := markText
	if binary {
		mark = markBinary
	}
	r.queue <- mark + name + "\x00" + string(message)
	return nil
}

func (r *relay) publishAll(ctx context.Context) {
	const most = 256
	for {
		var payload string
		select {
		case payload = <-r.queue:
		case <-ctx.Done():
			return
		}
		pipe := r.client.Pipeline()
		pipe.Publish(ctx, relayChannel, payload)
		for n := 1; n < most; n++ {
			select {
			case payload = <-r.queue:
				pipe.Publish(ctx, relayChannel, payload)
				continue
			default:
			}
			break
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return // the load test sees that nothing arrives
		}
	}
}

func (r *relay) receive(ctx context.Context) {
	for {
		m, err := r.pubsub.ReceiveMessage(ctx)
		if err != nil {
			return
		}
		name, message, ok := strings.Cut(m.Payload, "\x00")
		if !ok || name == "" {
			continue
		}
		r.dirty = r.server.deliver(name[1:], []byte(message), name[:1] == markBinary, r.dirty)
	}
}

// relayConn sees the moment before each read, when all that came before has been delivered.
type relayConn struct {
	net.Conn
	relay *relay
}

func (c *relayConn) Read(p []byte) (int, error) {
	if r := c.relay; len(r.dirty) > 0 {
		flush(r.dirty)
		clear(r.dirty)
		r.dirty = r.dirty[:0]
	}
	return c.Conn.Read(p)
}

package backplane

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// silentRounds is how often in a row a link may be silent, although it was pinged, before it is given up.
const silentRounds = 3

// feed is the subscription link's network connection. It sees the moment before each read from the socket, at which all
// that earlier reads brought has been handed on: the same goroutine reads, parses and delivers.
//
// It keeps the clock itself, below go-redis: a timeout there (ReceiveTimeout) can strike in the middle of a message, whose
// second half would then be taken for the beginning of the next one.
type feed struct {
	net.Conn
	client *redis.Client
	pubsub *redis.PubSub

	silence  time.Duration
	idle     func()                    // called before each read
	pings    chan struct{}             // asks the writer for a PING; room for one
	untie    func()                    // from the topology
	moved    atomic.Pointer[time.Time] // until when this was surely the right server; nil while it is
	live     bool                      // the handshake is over; owned by the reading goroutine
	lastRead time.Time                 // when bytes last came; owned by the reading goroutine
	failed   error                     // why there is nothing more to read; owned by the reading goroutine
}

// feed opens a connection for subscriptions to the server for a slot. It has answered a PING when feed returns.
func (d *dialer) feed(ctx context.Context, slot int, silence time.Duration, idle func()) (*feed, error) {
	ctx, cancel := context.WithTimeout(ctx, d.connectTimeout)
	defer cancel()
	raw, server, err := d.dial(ctx, slot)
	if err != nil {
		return nil, err
	}
	f := &feed{Conn: raw, silence: silence, idle: idle, pings: make(chan struct{}, 1), untie: func() {}}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	f.client = d.client(f)
	f.pubsub = f.client.Subscribe(ctx)
	err = f.pubsub.Ping(ctx)
	if err == nil {
		_, err = f.pubsub.ReceiveTimeout(ctx, d.connectTimeout)
	}
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	_ = raw.SetReadDeadline(time.Time{})
	f.live, f.lastRead = true, time.Now()
	f.untie = d.topology.tie(slot, server, func(asOf time.Time) {
		f.moved.Store(&asOf)
		_ = f.Conn.Close()
	})
	return f, nil
}

// ended says until when the link brought everything, and why it ended, if its reader ended with err.
func (f *feed) ended(err error) (until time.Time, why error) {
	if asOf := f.moved.Load(); asOf != nil {
		if asOf.Before(f.lastRead) {
			return *asOf, errMoved
		}
		return f.lastRead, errMoved
	}
	return f.lastRead, err
}

// Read waits for bytes, with a PING for each round of silence. Once it has failed it fails at once: with RESP 3, go-redis looks
// at what comes next before it reads it, forgets an error of that look, and reads again.
func (f *feed) Read(p []byte) (n int, err error) {
	if !f.live {
		return f.Conn.Read(p)
	}
	if f.failed == nil {
		n, f.failed = f.wait(p)
	}
	return n, f.failed
}

func (f *feed) wait(p []byte) (int, error) {
	f.idle()
	for silent := 0; ; {
		if err := f.Conn.SetReadDeadline(time.Now().Add(f.silence)); err != nil {
			return 0, err
		}
		n, err := f.Conn.Read(p)
		if n > 0 {
			f.lastRead = time.Now()
			return n, nil // an error that came with them comes again
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if silent++; silent > silentRounds {
			return 0, errSilent
		}
		select {
		case f.pings <- struct{}{}:
		default:
		}
	}
}

// SetReadDeadline does nothing once the link is live.
func (f *feed) SetReadDeadline(t time.Time) error {
	if f.live {
		return nil
	}
	return f.Conn.SetReadDeadline(t)
}

// close ends the connection; the reader and the writer of it fail then. It may be called more than once.
func (f *feed) close() {
	f.untie()
	_ = f.Conn.Close() // first: go-redis may hold its lock in a write
	_ = f.pubsub.Close()
	_ = f.client.Close()
}

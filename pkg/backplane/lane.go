package backplane

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A batch is bounded so that the first message of it need not wait long for the last.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// lane sends the commands of its channels in the order in which they were queued, over one connection: what waits goes out
// together, as one pipeline. Nothing is ever sent twice.
type lane struct {
	link    int // its number in health
	dialer  *dialer
	prober  *prober
	health  *health
	prefix  string
	slot    int  // whose server it publishes to
	sharded bool // with SPUBLISH
	timeout time.Duration
	silence time.Duration // how often a connection that had nothing to do since half of that is tried with a PING
	young   time.Duration // a connection that lived less than this does not count as a success
	hook    func(commands int)

	queue chan *part
	down  atomic.Pointer[error] // why it cannot send; nil while it can
}

func newLane(link int, o RedisOptions, d *dialer, p *prober, h *health) *lane {
	l := &lane{
		link: link, dialer: d, prober: p, health: h, prefix: o.Prefix, slot: anySlot, timeout: o.ReplyTimeout,
		silence: o.Silence, young: o.RetryMax, hook: o.Hooks.Pipelined, queue: make(chan *part, o.Queue),
	}
	l.setDown(errNotYet)
	return l
}

func (l *lane) setDown(err error) { l.down.Store(&err) }

// lost notes why the lane cannot send. It comes before the parts that this costs hear of it, so that their callers' next
// calls fail at once, and State tells them the same.
func (l *lane) lost(err error) {
	l.setDown(err)
	l.health.down(l.link, err)
}

// put queues a part, and waits for room until the caller's context ends. The part gets an end in every case: what is queued
// when nobody is left to take it is refused here, or by the last look into the queue after stopped was closed.
func (l *lane) put(ctx context.Context, p *part, stopped <-chan struct{}) {
	select {
	case l.queue <- p:
	default:
		select {
		case l.queue <- p:
		case <-ctx.Done():
			p.refuse(context.Cause(ctx))
			return
		case <-stopped:
		}
	}
	select {
	case <-stopped:
		p.refuse(errStopped)
	default:
	}
}

// empty refuses what is queued.
func (l *lane) empty(why error) {
	for {
		select {
		case p := <-l.queue:
			p.refuse(why)
		default:
			return
		}
	}
}

// run connects, sends, and connects again, until ctx ends.
func (l *lane) run(ctx context.Context) {
	young := 0
	for ctx.Err() == nil {
		conn := l.connect(ctx, young)
		if conn == nil {
			break
		}
		start := time.Now()
		l.down.Store(nil)
		l.health.up(l.link)
		err := l.dialer.explain(l.serve(ctx, conn))
		if ctx.Err() != nil {
			err = errStopped
		}
		l.lost(err)
		conn.close()
		if young++; time.Since(start) >= l.young {
			young = 0
		}
	}
	l.lost(errStopped)
	l.empty(errStopped)
}

// connect tries until there is a connection, or ctx ends (then nil). Whatever is queued meanwhile fails at once.
func (l *lane) connect(ctx context.Context, young int) (conn *laneConn) {
	over := make(chan struct{})
	go func() { // ends with ctx or with a connection; waited for below
		defer close(over)
		l.prober.connect(ctx, young, func(ctx context.Context) error {
			c, err := l.dialer.lane(ctx, l.slot)
			if err != nil && ctx.Err() == nil {
				err = l.dialer.explain(err)
				l.lost(err)
			}
			conn = c
			return err
		})
	}()
	for {
		select {
		case <-over:
			return conn
		case p := <-l.queue:
			p.refuse(*l.down.Load())
		}
	}
}

// serve sends what is queued until the connection ends, and says why it did.
func (l *lane) serve(ctx context.Context, conn *laneConn) error {
	stop := context.AfterFunc(ctx, func() { conn.end(errStopped) })
	defer stop()
	batch := make([]*part, 0, maxBatch)
	pipe := conn.client.Pipeline() // empty again after each batch
	used := time.Now()
	idle := time.NewTimer(l.untilBeat())
	defer idle.Stop()
	for {
		select {
		case <-conn.dead:
			return conn.cause
		case <-conn.moved:
			return errMoved
		case first := <-l.queue:
			batch = l.gather(batch[:0], first)
			if err := l.send(conn, pipe, batch); err != nil {
				return err
			}
			clear(batch) // the payloads are the callers' again
			used = time.Now()
		case <-idle.C:
			if time.Since(used) >= l.silence/2 {
				if err := l.ping(conn); err != nil {
					return err
				}
				used = time.Now()
			}
			idle.Reset(l.untilBeat())
		}
	}
}

// beats is when the process began to count the time between PINGs.
var beats = time.Now()

// untilBeat is how long it is until a lane may be tried again. All lanes are at the same moment, so that a process at rest is woken once.
func (l *lane) untilBeat() time.Duration { return l.silence - time.Since(beats)%l.silence }

// ping tries whether a connection that had nothing to do still works, so that the lane is down before somebody sends, and not because of
// it: what was sent into a black hole may have been sent. What is queued meanwhile waits for it, and fails as surely not sent.
func (l *lane) ping(conn *laneConn) error {
	conn.expect(l.timeout)
	err := conn.client.Ping(context.Background()).Err()
	conn.expect(0)
	select {
	case <-conn.dead:
		return conn.cause
	default:
	}
	if reply := redis.Error(nil); errors.As(err, &reply) {
		return nil // it refuses, as while a script runs for too long: it is there
	}
	return err
}

// gather takes what waits behind first, as much as fits into one batch.
func (l *lane) gather(batch []*part, first *part) []*part {
	size := 0
	for p := first; ; {
		if p.take() {
			batch = append(batch, p)
			size += len(p.call.payload)
		}
		if len(batch) == maxBatch || size >= maxBatchBytes {
			return batch
		}
		select {
		case p = <-l.queue:
		default:
			return batch
		}
	}
}

// send sends a batch as one pipeline and gives each part its result. An error means that the connection is over.
func (l *lane) send(conn *laneConn, pipe redis.Pipeliner, batch []*part) error {
	if len(batch) == 0 {
		return nil
	}
	select {
	case <-conn.dead:
		err := l.dialer.explain(conn.cause)
		l.lost(err)
		for _, p := range batch {
			p.finish(0, false, err)
		}
		return conn.cause
	default:
	}
	if l.hook != nil {
		l.hook(len(batch))
	}
	commands := make([]*command, len(batch))
	for i, p := range batch {
		commands[i] = newCommand(p, l.prefix, l.sharded)
		_ = pipe.Process(context.Background(), commands[i]) // only queues it
	}
	conn.wrote.Store(false)
	conn.expect(l.timeout)
	_, _ = pipe.Exec(context.Background()) // each command has its own error
	conn.expect(0)
	return l.settle(conn, batch, commands)
}

// settle gives each part of a batch the result of its command.
func (l *lane) settle(conn *laneConn, batch []*part, commands []*command) error {
	wrote := conn.wrote.Load()
	var lost, explained error
	for i, p := range batch {
		c := commands[i]
		if c.answered {
			err := c.Err()
			if err != nil { // Redis said no: surely not sent
				if lost == nil && misplaced(err) {
					lost = errMoved
					explained = l.dialer.explain(lost)
					l.lost(explained)
				}
				err = l.dialer.explain(err)
			}
			p.finish(c.value(), false, err)
			continue
		}
		if lost == nil || lost == errMoved {
			lost = cmdError(conn, c)
			explained = l.dialer.explain(lost)
			l.lost(explained)
		}
		p.finish(0, wrote, explained)
	}
	return lost
}

// cmdError is why a command has no answer: the end of the connection, if it has ended, says more than what go-redis made of it.
func cmdError(conn *laneConn, c *command) error {
	select {
	case <-conn.dead:
		if conn.cause != nil {
			return conn.cause
		}
	default:
	}
	if err := c.Err(); err != nil {
		return err
	}
	return errors.New("no answer")
}

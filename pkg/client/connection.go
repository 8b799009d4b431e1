package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// connection is one connection to the hub, with one id. It outlives its link when it can be resumed.
type connection struct {
	client *Client
	o      *Options
	codec  protocol.Codec
	log    *slog.Logger
	route  route
	web    *requester

	ctx context.Context // ends with the connection, for its links and handlers
	end context.CancelCauseFunc

	out   *outbox
	calls calls
	in    receipts
	pulse pulse
	buf   []byte // received and not yet handled; belongs to whoever reads

	mu    sync.Mutex
	link  link
	sever context.CancelCauseFunc // ends the link; nil while there is none
}

func (c *Client) newConnection(r route, web *requester) *connection {
	conn := &connection{
		client: c,
		o:      &c.o,
		codec:  c.o.Codec,
		route:  r,
		web:    web,
		out:    newOutbox(c.o.SendBuffer),
		pulse:  pulse{start: time.Now()},
	}
	conn.log = c.o.Logger.With("connection", r.id, "transport", string(r.transport))
	conn.ctx, conn.end = context.WithCancelCause(c.life)
	return conn
}

// serve carries messages until the connection has ended, and says why it has. When it returns, nothing of it is left but
// calls that are about to return.
func (c *connection) serve() error {
	c.log.Info("connected")
	var own sync.WaitGroup
	own.Go(c.heartbeat)
	err := c.carry()
	for c.resumable(err) {
		c.log.Info("resuming", "reason", err)
		if failed := c.resume(); failed != nil {
			err = fmt.Errorf("%w (and it could not be resumed: %w)", err, failed)
			break
		}
		err = c.carry()
	}
	c.abandon(err)
	own.Wait()
	c.log.Info("disconnected", "reason", err)
	return err
}

// abandon ends the connection where it stands.
func (c *connection) abandon(reason error) {
	failure := loss(reason)
	c.out.close(failure)
	c.calls.fail(failure)
	c.end(failure)
	c.link.abort()
}

// carry moves messages over the link until it is over, and says why it is.
func (c *connection) carry() error {
	l := c.link
	ctx, sever := context.WithCancelCause(c.ctx)
	defer sever(nil)
	defer context.AfterFunc(ctx, l.abort)()
	c.mu.Lock()
	c.sever = sever
	c.mu.Unlock()
	c.pulse.beat()
	var writer sync.WaitGroup
	writer.Go(func() { sever(c.transmit(ctx, l)) })
	err := c.receive(ctx, l)
	var farewell *closeError
	if errors.As(err, &farewell) {
		c.seeOff(ctx, l)
	}
	sever(err)
	writer.Wait()
	if decided(err) {
		return err // whatever the writer came upon meanwhile
	}
	return context.Cause(ctx)
}

// decided says whether the server ended the link in an orderly way, or broke the rules.
func decided(err error) bool {
	var farewell *closeError
	var breach *protocol.Error
	return errors.As(err, &farewell) || errors.As(err, &breach) || errors.Is(err, errEnded)
}

// cut gives up the link.
func (c *connection) cut(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sever != nil {
		c.sever(reason)
	}
}

// transmit writes what is to be sent until ctx ends or the link fails.
func (c *connection) transmit(ctx context.Context, l link) error {
	var batch []byte
	for {
		var upTo int64
		var err error
		if batch, upTo, err = c.out.take(ctx, batch[:0]); err != nil {
			return err
		}
		if err := l.write(batch); err != nil {
			return err
		}
		c.out.sent(upTo)
		if cap(batch) > 4*maxBatch {
			batch = nil // do not keep what one large message needed
		}
	}
}

// receive handles what comes over the link until it ends.
func (c *connection) receive(ctx context.Context, l link) error {
	if err := c.parse(ctx); err != nil { // what came with the handshake
		return err
	}
	for {
		r, err := l.next()
		if err != nil {
			return err
		}
		if err := c.read(r, func() error { return c.parse(ctx) }); err != nil {
			return err
		}
	}
}

// minBuffer is what the receive buffer begins with; one that is larger than maxIdle is not kept for later.
const (
	minBuffer = 4 << 10
	maxIdle   = 64 << 10
)

// read takes in one piece of what the server sends. It calls look when the buffer is full, and at the end of the piece, rather than
// after each part that comes, as looking for the end of a large message so often would take long.
func (c *connection) read(r io.Reader, look func() error) error {
	for {
		if len(c.buf) == cap(c.buf) {
			grown := make([]byte, len(c.buf), max(minBuffer, 2*cap(c.buf)))
			copy(grown, c.buf)
			c.buf = grown
		}
		n, err := r.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n > 0 {
			c.pulse.beat()
		}
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || len(c.buf) == cap(c.buf) {
			if failed := look(); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// bounded says whether a message may have size bytes.
func (c *connection) bounded(size int) error {
	if limit := c.o.MaxMessageSize; limit > 0 && int64(size) > limit {
		return ErrTooLarge
	}
	return nil
}

// parse handles the whole messages in the buffer, and keeps what is behind them.
func (c *connection) parse(ctx context.Context) error {
	rest := c.buf
	var m protocol.Message
	for {
		body, n, err := c.codec.Next(rest)
		if err != nil {
			return fmt.Errorf("client: the server broke the protocol: %w", err)
		}
		size := n
		if n == 0 {
			size = len(rest) // so far
		}
		if err := c.bounded(size); err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := c.codec.Decode(body, &m); err != nil {
			return fmt.Errorf("client: the server broke the protocol: %w", err)
		}
		if err := c.dispatch(ctx, &m, n); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if len(rest) == 0 && cap(c.buf) > maxIdle {
		c.buf = nil
		return nil
	}
	c.buf = c.buf[:copy(c.buf, rest)]
	return nil
}

// dispatch handles one message, of n bytes; what it holds is valid only until dispatch returns.
func (c *connection) dispatch(ctx context.Context, m *protocol.Message, n int) error {
	if !c.in.fresh(m.Type) {
		return nil
	}
	switch m.Type {
	case protocol.TypeInvocation:
		return c.invoked(ctx, m, n)
	case protocol.TypeStreamItem:
		return c.item(ctx, m)
	case protocol.TypeCompletion:
		c.completed(m)
	case protocol.TypeClose:
		return &closeError{text: m.Error, reconnect: m.Reconnect}
	case protocol.TypeAck:
		c.out.acked(m.SequenceID)
	case protocol.TypeSequence:
		return c.in.sequence(m.SequenceID)
	case protocol.TypePing, protocol.TypeStreamInvocation, protocol.TypeCancelInvocation:
	default:
		c.log.Debug("message of an unknown type", "type", m.Type)
	}
	return nil
}

// item hands a stream's item to its reader, waiting for room.
func (c *connection) item(ctx context.Context, m *protocol.Message) error {
	call := c.calls.find(m.InvocationID)
	if call == nil || call.items == nil {
		return nil // cancelled meanwhile
	}
	done := c.pulse.busy()
	defer done()
	err := call.items.put(ctx, append([]byte(nil), m.Item...), len(m.Item)+overhead, c.o.ServerTimeout, &c.calls)
	if errors.Is(err, ErrSlow) {
		c.log.Warn("a stream is not read fast enough and is cancelled", "stream", m.InvocationID)
		c.cancel(call)
		call.items.close(ErrSlow)
		return nil
	}
	return err
}

// overhead is what an item or a message costs in memory beside its bytes, roughly: without it, empty ones would be free.
const overhead = 64

func (c *connection) completed(m *protocol.Message) {
	call := c.calls.take(m.InvocationID)
	if call == nil {
		return // cancelled meanwhile
	}
	a := answer{value: append([]byte(nil), m.Result...)}
	if m.HasError {
		a = answer{err: &HubError{Message: m.Error}}
	}
	call.complete(a)
}

// frame writes a message without values, which cannot fail.
func (c *connection) frame(m *protocol.Message) []byte {
	frame, err := c.codec.Append(nil, m)
	if err != nil {
		c.log.Error("a message cannot be written", "type", m.Type, "error", err)
	}
	return frame
}

// closeTimeout bounds how long a server that has said goodbye may take to end the link.
const closeTimeout = 5 * time.Second

// seeOff ends the link in an orderly way with a server that has said goodbye: it waits for the client to go first.
func (c *connection) seeOff(ctx context.Context, l link) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	var closing sync.WaitGroup
	closing.Go(func() { l.close(ctx) })
	defer closing.Wait()
	for {
		r, err := l.next()
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
	}
}

// goodbye tells the server that the client leaves, and closes the link.
func (c *connection) goodbye(ctx context.Context) {
	if err := c.out.finish(ctx, c.frame(&protocol.Message{Type: protocol.TypeClose})); err != nil {
		return
	}
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	l.close(ctx)
}

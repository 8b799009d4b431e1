package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// connect opens a connection to the hub: it negotiates, opens the first transport that works, and shakes hands. ctx bounds
// that; what it opens lives on.
func (c *Client) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(ErrClosed) })()
	if c.o.SkipNegotiation {
		conn, err := c.open(ctx, route{url: c.url, transport: WebSockets}, newRequester(&c.o))
		if err != nil {
			return nil, err
		}
		return conn, conn.handshake(ctx)
	}
	var tried []Transport
	var failures []error
	for {
		r, web, err := c.negotiate(ctx)
		if err != nil {
			return nil, errors.Join(append(failures, err)...)
		}
		if r.transport, err = c.choose(&r, tried); err != nil {
			return nil, errors.Join(append(failures, err)...)
		}
		r.stateful = r.stateful && r.transport == WebSockets
		conn, err := c.open(ctx, r, web)
		if err == nil {
			return conn, conn.handshake(ctx)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		c.o.Logger.Info("transport does not work", "transport", string(r.transport), "error", err)
		// The connection that was negotiated is bound to the transport now, so that the next one needs another.
		tried, failures = append(tried, r.transport), append(failures, fmt.Errorf("client: %s: %w", r.transport, err))
		if _, err := c.choose(&r, tried); err != nil {
			return nil, errors.Join(failures...)
		}
	}
}

// open opens the transport chosen.
func (c *Client) open(ctx context.Context, r route, web *requester) (*connection, error) {
	conn := c.newConnection(r, web)
	ctx, cancel := context.WithTimeout(ctx, c.o.HandshakeTimeout)
	defer cancel()
	var err error
	if conn.link, err = conn.dial(ctx); err != nil {
		conn.end(err)
		return nil, err
	}
	if r.stateful {
		conn.keepState()
	}
	return conn, nil
}

// handshake agrees with the server on the hub protocol. A connection with which that fails is abandoned.
func (c *connection) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.HandshakeTimeout, errors.New("client: the server did not answer the handshake in time"))
	defer cancel()
	stop := context.AfterFunc(ctx, c.link.abort)
	err := c.shakeHands()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.abandon(err)
	}
	return err
}

func (c *connection) shakeHands() error {
	req := protocol.HandshakeRequest{Protocol: c.codec.Name(), Version: 1}
	if c.route.stateful {
		req.Version = 2
	}
	if err := c.link.write(protocol.AppendHandshakeRequest(nil, req)); err != nil {
		return err
	}
	for {
		r, err := c.link.next()
		if err == nil {
			err = c.read(r, func() error { return c.bounded(len(c.buf)) })
		}
		if err != nil {
			return fmt.Errorf("client: waiting for the answer to the handshake: %w", err)
		}
		refusal, n, err := protocol.ParseHandshakeResponse(c.buf)
		switch {
		case err != nil:
			return fmt.Errorf("client: the answer to the handshake: %w", err)
		case refusal != "":
			return fmt.Errorf("client: the server refused the handshake: %w", &HubError{Message: refusal})
		case n > 0:
			c.buf = c.buf[:copy(c.buf, c.buf[n:])] // what is behind it are messages
			return nil
		}
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// link carries bytes to and from the server over one transport. One goroutine may read while another writes; abort and
// close may be called by any.
type link interface {
	// next waits for the next piece of what the server sends. It must be read to its end. The error is errEnded when the
	// server ended the link in an orderly way.
	next() (io.Reader, error)
	// write sends whole messages.
	write(p []byte) error
	// close ends the link in an orderly way, until ctx ends.
	close(ctx context.Context)
	// abort ends it at once, for which next and write fail.
	abort()
}

// errEnded is how a link ends that the server has closed, without a Close message.
var errEnded = errors.New("client: the server ended the connection")

// brokenError is how a WebSocket ends that was not closed in an orderly way, so that it may be resumed.
type brokenError struct{ cause error }

func (e *brokenError) Error() string { return fmt.Sprintf("client: the connection broke: %v", e.cause) }
func (e *brokenError) Unwrap() error { return e.cause }

// dial opens a link over the transport that was chosen. ctx bounds only the opening.
func (c *connection) dial(ctx context.Context) (link, error) {
	switch c.route.transport {
	case WebSockets:
		return c.dialWebSocket(ctx)
	case ServerSentEvents:
		return c.dialEvents(ctx)
	default:
		return c.dialPolls(ctx)
	}
}

// span returns a context for a link, which lives as long as the connection, and dies when ctx ends while the link is being opened:
// until opened is called.
func (c *connection) span(ctx context.Context) (life context.Context, abort context.CancelFunc, opened func()) {
	life, cancel := context.WithCancelCause(c.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return life, func() { cancel(nil) }, func() { stop() }
}

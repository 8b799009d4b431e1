package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

// webSocket is a link over a WebSocket.
type webSocket struct {
	ws   *websocket.Conn
	kind websocket.MessageType
	life context.Context
	end  func()
}

func (c *connection) dialWebSocket(ctx context.Context) (link, error) {
	life, end, opened := c.span(ctx)
	defer opened()
	ws, err := c.openWebSocket(ctx, false)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized && c.web.renewable() {
		ws, err = c.openWebSocket(ctx, true)
	}
	if err != nil {
		end()
		return nil, err
	}
	ws.SetReadLimit(-1) // a piece may hold many messages; each is bounded by MaxMessageSize
	l := &webSocket{ws, websocket.MessageText, life, end}
	if c.codec.Binary() {
		l.kind = websocket.MessageBinary
	}
	return l, nil
}

func (c *connection) openWebSocket(ctx context.Context, renew bool) (*websocket.Conn, error) {
	header, err := c.web.headers(ctx, renew)
	if err != nil {
		return nil, err
	}
	u := c.route.address()
	ws, res, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: c.o.HTTPClient, HTTPHeader: header})
	switch {
	case err == nil:
		return ws, nil
	case res != nil && res.StatusCode != http.StatusSwitchingProtocols:
		return nil, statusError(http.MethodGet, u, res.StatusCode)
	}
	return nil, requestError(http.MethodGet, u, err)
}

func (l *webSocket) next() (io.Reader, error) {
	_, r, err := l.ws.Reader(l.life)
	if err != nil {
		return nil, socketError(err)
	}
	return pieceReader{r}, nil
}

// pieceReader reads one WebSocket message.
type pieceReader struct{ r io.Reader }

func (p pieceReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF {
		err = socketError(err)
	}
	return n, err
}

// socketError tells an orderly end from a broken connection.
func socketError(err error) error {
	var frame websocket.CloseError
	switch {
	case !errors.As(err, &frame):
		return &brokenError{err}
	case frame.Code == websocket.StatusNormalClosure && frame.Reason == "":
		return errEnded
	}
	return fmt.Errorf("%w with WebSocket status %d %q", errEnded, int(frame.Code), frame.Reason)
}

func (l *webSocket) write(p []byte) error {
	if err := l.ws.Write(l.life, l.kind, p); err != nil {
		return socketError(err)
	}
	return nil
}

// close needs a reader at work, as it waits for the server's close frame.
func (l *webSocket) close(ctx context.Context) {
	defer context.AfterFunc(ctx, l.end)()
	_ = l.ws.Close(websocket.StatusNormalClosure, "") // whether the server answered in time matters to nobody
}

func (l *webSocket) abort() {
	l.end()
	_ = l.ws.CloseNow()
}

package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// requestTimeout bounds one poll, and one request that sends. Servers answer idle polls after 90 seconds.
const requestTimeout = 2 * time.Minute

// poster sends over HTTP requests, for the transports that can only receive.
type poster struct {
	web  *requester
	url  *url.URL
	life context.Context
	end  func()
}

func (p *poster) write(data []byte) error {
	ctx, cancel := context.WithTimeout(p.life, requestTimeout)
	defer cancel()
	res, err := p.web.do(ctx, request{method: http.MethodPost, url: p.url, body: data})
	if err != nil {
		return err
	}
	return dispose(res)
}

func (p *poster) abort() { p.end() }

// polls is a link over long polling.
type polls struct {
	poster
	last   *http.Response // being read
	cancel context.CancelFunc
}

func (c *connection) dialPolls(ctx context.Context) (link, error) {
	life, abort, opened := c.span(ctx)
	defer opened()
	l := &polls{poster: poster{c.web, c.route.address(), life, abort}}
	// The first poll is answered at once: it only begins the connection.
	res, err := l.poll()
	if err == nil && res.StatusCode != http.StatusOK {
		err = statusError(http.MethodGet, l.url, res.StatusCode)
	}
	l.done()
	if err != nil {
		abort()
		return nil, err
	}
	return l, nil
}

func (l *polls) poll() (*http.Response, error) {
	var ctx context.Context
	ctx, l.cancel = context.WithTimeout(l.life, requestTimeout)
	res, err := l.web.do(ctx, request{method: http.MethodGet, url: l.url, long: true})
	if err == nil {
		l.last = res
	}
	return res, err
}

// done ends the poll that was read last.
func (l *polls) done() {
	if l.last != nil {
		l.last.Body.Close()
		l.last = nil
	}
	l.cancel()
}

func (l *polls) next() (io.Reader, error) {
	l.done()
	for {
		res, err := l.poll()
		switch {
		case err != nil:
			l.done()
			return nil, err
		case res.StatusCode == http.StatusNoContent:
			l.done()
			return nil, errEnded
		case res.ContentLength != 0:
			return pollReader{l}, nil
		}
		l.done() // nothing has come for a while
	}
}

// pollReader reads the answer to a poll, and ends the poll behind it.
type pollReader struct{ l *polls }

func (r pollReader) Read(p []byte) (int, error) {
	n, err := r.l.last.Body.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("client: reading the answer to a poll: %w", err)
	}
	return n, err
}

// close ends the poll that waits, and the connection.
func (l *polls) close(ctx context.Context) {
	l.abort()
	res, err := l.web.do(ctx, request{method: http.MethodDelete, url: l.url})
	if err == nil {
		_ = dispose(res)
	}
}

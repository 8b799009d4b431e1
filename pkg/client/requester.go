package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// requester sends the HTTP requests of one connection, with its token.
type requester struct {
	client   *http.Client
	patient  *http.Client // has no timeout: for requests that wait for messages
	header   http.Header
	provider func(ctx context.Context) (string, error)

	mu    sync.Mutex
	token string
	known bool // token is what the provider returned
	fixed bool // the server gave the token; the provider is not asked
}

func newRequester(o *Options) *requester {
	patient := *o.HTTPClient
	patient.Timeout = 0
	return &requester{client: o.HTTPClient, patient: &patient, header: o.Header, provider: o.AccessToken}
}

// request is an HTTP request to be.
type request struct {
	method string
	url    *url.URL
	body   []byte
	accept string
	long   bool // it waits for messages
}

// do sends a request, with another token once more if the first is refused. The answer is one of success.
func (r *requester) do(ctx context.Context, q request) (*http.Response, error) {
	res, err := r.try(ctx, q, false)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized && r.renewable() {
		return r.try(ctx, q, true)
	}
	return res, err
}

func (r *requester) try(ctx context.Context, q request, renew bool) (*http.Response, error) {
	header, err := r.headers(ctx, renew)
	if err != nil {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(q.body)
	if q.long {
		// A request without a body is sent once more when its connection breaks. A poll must not be: what the first one took
		// with it would be missed, and nobody would know.
		body = empty{}
	}
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header = header
	if q.accept != "" {
		req.Header.Set("Accept", q.accept)
	}
	client := r.client
	if q.long {
		client = r.patient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, requestError(q.method, q.url, err)
	}
	if res.StatusCode/100 != 2 {
		_ = dispose(res)
		return nil, statusError(q.method, q.url, res.StatusCode)
	}
	return res, nil
}

// empty is a body that http.Transport cannot know to be one, and so does not repeat.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// headers returns the headers of a request. The token is asked for when there is none yet, or to be renewed.
func (r *requester) headers(ctx context.Context, renew bool) (http.Header, error) {
	h := r.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", "hubfleet-client (Go)")
	}
	h.Set("X-Requested-With", "XMLHttpRequest") // cookie authentication then answers 401 rather than with a login page
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.provider != nil && !r.fixed && (renew || !r.known) {
		token, err := r.provider(ctx)
		if err != nil {
			return nil, fmt.Errorf("client: Options.AccessToken: %w", err)
		}
		r.token, r.known = token, true
	}
	if r.token != "" {
		h.Set("Authorization", "Bearer "+r.token)
	}
	return h, nil
}

// renewable says whether there may be another token.
func (r *requester) renewable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.provider != nil && !r.fixed
}

// fix makes the token that the server gave stand for the provider's.
func (r *requester) fix(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.fixed = token, true
}

func statusError(method string, u *url.URL, code int) error {
	return &StatusError{Method: method, URL: bare(u), Code: code}
}

// requestError says which request failed, and why, without the whole URL that net/http puts in: the query holds tokens.
func requestError(method string, u *url.URL, err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("client: %s %s: %w", method, bare(u), err)
}

// bare is a URL for people to read: without what may be secret.
func bare(u *url.URL) string {
	b := *u
	b.RawQuery, b.User = "", nil
	return b.String()
}

// maxDisposed is how much of an answer that nobody wants is read, so that its connection can be used again.
const maxDisposed = 64 << 10

// dispose ends a response whose body is of no interest.
func dispose(res *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxDisposed))
	return errors.Join(err, res.Body.Close())
}

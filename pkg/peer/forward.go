package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// Forward sends a request to another node and its answer to the client, upgrades included. It returns when the response has ended,
// and false when it has written nothing: the owner is gone or did not answer, or the request has been forwarded before. The
// request may have been sent all the same, and part of its body may have been read.
func (p *Peer) Forward(w http.ResponseWriter, r *http.Request, node string) (answered bool) {
	if !p.enter() {
		return false
	}
	defer p.underWay.Done()
	began := time.Now()
	if isForwarded(r.Context()) {
		p.fail(Loop, node, errLoop, began)
		return false
	}
	target, err := p.locate(r.Context(), node)
	if err != nil {
		p.fail(NoOwner, node, err, began)
		return false
	}
	signature, err := p.signer.sign(r.Method, r.URL.RequestURI(), r.RemoteAddr, time.Now())
	if err != nil {
		p.fail(NoOwner, node, err, began)
		return false
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()
	c := newClient(ctx, w, p.writeTimeout)
	f := &forwarding{peer: p, client: c, target: target, signature: signature, node: node, began: began, request: r, cancel: cancel}
	p.note(f)
	defer p.forget(f)
	defer func() { c.finish(f.answered) }() // also when the proxy panics, to tell the server that a response broke off
	f.run(r.WithContext(ctx))
	return f.answered
}

var (
	errLoop     = errors.New("peer: the request has been forwarded before; the node that it was meant for is another one now")
	errRejected = errors.New("peer: the owner did not accept the signature: it has another cluster secret, or its clock differs by more than 30 s")
)

// locate finds the URL of another node's peer port.
func (p *Peer) locate(ctx context.Context, node string) (*url.URL, error) {
	address, err := p.address(ctx, node)
	if err != nil {
		return nil, err
	}
	return url.Parse(address)
}

// fail counts and logs a request that did not get to its owner.
func (p *Peer) fail(outcome Outcome, node string, err error, began time.Time) {
	p.hooks.forwarded(outcome, time.Since(began))
	switch outcome {
	case NoOwner, Abandoned: // nodes and clients come and go
		p.log.Debug("a request was not forwarded", "owner", node, "outcome", string(outcome), "error", err)
	default:
		if more, ok := p.complaints.allow(time.Now()); ok {
			p.log.Warn("a request was not forwarded", "owner", node, "outcome", string(outcome), "error", err, "more", more)
		}
	}
}

// forwarding is one request on its way.
type forwarding struct {
	peer      *Peer
	client    *client
	target    *url.URL
	signature string
	node      string
	began     time.Time
	request   *http.Request
	cancel    context.CancelFunc
	answered  bool // the owner has begun to answer
}

// run does the work of a proxy, with what differs for us.
func (f *forwarding) run(r *http.Request) {
	proxy := httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f.peer.transport,
		FlushInterval:  -1, // events and polls are late enough
		BufferPool:     buffers{},
		ModifyResponse: f.answer,
		ErrorHandler:   f.failed,
		ErrorLog:       slog.NewLogLogger(f.peer.log.Handler(), slog.LevelDebug), // what it says is of connections that broke
	}
	proxy.ServeHTTP(f.client, r)
}

// rewrite makes the request for the owner. It is the client's: what proxies said of it in front of us still holds, and its query
// is signed as it is.
func (f *forwarding) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = f.target.Scheme, f.target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	r.Out.Header.Set(Header, f.signature)
	if r.Out.Body == nil {
		// A request without a body is sent once more when its connection breaks. A poll must not be: what the first one
		// took with it would be missed, and nobody would know.
		r.Out.Body = io.NopCloser(empty{})
	}
}

// empty is a body that http.Transport cannot know to be one, and so does not repeat.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// answer is called when the owner begins to answer.
func (f *forwarding) answer(res *http.Response) error {
	if res.Header.Get(Header) == rejected && res.StatusCode == http.StatusForbidden {
		return errRejected
	}
	f.peer.hooks.forwarded(Answered, time.Since(f.began))
	f.answered = true
	clear(f.client.Header()) // the owner writes the whole response
	if _, named := res.Header["Content-Type"]; !named {
		f.client.Header()["Content-Type"] = nil // nor is it guessed, as it would be when the body is there before the header has gone out
	}
	return nil
}

// failed is called when there is no answer, or when it cannot be handed on; then it is too late for another.
func (f *forwarding) failed(_ http.ResponseWriter, r *http.Request, err error) {
	outcome := Unreachable
	switch {
	case f.answered:
		f.peer.log.Debug("a forwarded response was cut short", "owner", f.node, "error", err)
		return
	case errors.Is(err, errRejected):
		outcome = Rejected
	case r.Context().Err() != nil:
		outcome = Abandoned
	}
	f.peer.fail(outcome, f.node, err, f.began)
}

// bufferSize is for event streams, each of which has a buffer for as long as it lasts.
const bufferSize = 8 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// buffers is where the proxy gets its buffers from.
type buffers struct{}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }

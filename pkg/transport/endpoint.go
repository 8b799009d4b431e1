package transport

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ErrForbidden makes an error of Authenticate refuse with 403: it is known who asks, and that they may not.
var ErrForbidden = errors.New("forbidden")

// Defaults of an Endpoint.
const (
	DefaultSendTimeout       = 10 * time.Second
	DefaultCloseTimeout      = 5 * time.Second
	DefaultPollTimeout       = 90 * time.Second
	DefaultDisconnectTimeout = 15 * time.Second
)

// Endpoint serves one hub's URL: negotiate and the transports. Fill it in, then use it as an http.Handler; it must not
// be changed afterwards, nor copied. It is safe for concurrent use.
type Endpoint struct {
	// Path is the hub's URL path, without the /negotiate. Required.
	Path string
	// Tokens signs and checks connection tokens. Required.
	Tokens *Tokens
	// Claim records the first use of a connection id across the cluster; it says false when the id was used before.
	// An error means that nobody could be asked: the id is then admitted only if this node minted it.
	// Nil means that this process is the whole cluster.
	Claim func(ctx context.Context, id string) (bool, error)
	// Authenticate says who asks; an error refuses with 401, or with 403 when it wraps ErrForbidden.
	// What it returns is handed to Accept as it is. Nil means that nobody is asked.
	Authenticate func(r *http.Request) (any, error)
	// Accept takes over a new connection, and must end it by its Close or Abort. It must not block: it starts a goroutine
	// and returns. Required.
	Accept func(c Conn, r *Request)
	// Resume says what takes over another WebSocket of a connection with this id: attach, which must not block, and must end the
	// Conn by its Close or Abort; and what Authenticate had returned for the connection. With known true and a nil attach the
	// connection is here but takes none. Nil means that negotiate grants no stateful reconnect.
	Resume func(id string) (attach func(Conn), identity any, known bool)
	// SameUser says whether two results of Authenticate stand for the same user. The requests of one connection must all be of one
	// user; who is another one is refused with 403. That they know the connection's token is
	// proof enough when it is nil.
	SameUser func(a, b any) bool
	// Renew is told what Authenticate returned for a later poll, or another WebSocket, of the connection with this id: it may
	// prove for longer who the user is. Nil means that nobody wants to know.
	Renew func(id string, identity any)
	// Forward hands a request over Server-Sent Events or long polling to the node that minted its token, on which its connection
	// lives; it is called only for nodes other than this one, before CORS, origin and Authenticate, which are that node's business
	// (behind them only for a WebSocket with so young a token that it is first tried as a new one).
	// While Claim fails, it gets new WebSockets with the tokens of other nodes as well, which only those may let in.
	// It returns false if it has not answered; the request is then refused like one with an unknown token, as it is when Forward is nil.
	Forward func(w http.ResponseWriter, r *http.Request, node string) (handled bool)
	// Holder finds the node on which a stateful connection is, when it is not here: its client brings it another WebSocket, which is
	// then handed to Forward. Nil, or an error, means that nobody knows.
	Holder func(ctx context.Context, id string) (node string, err error)
	// Redirect sends a client that negotiates somewhere else: to a url, for which it gets an access token if that is not empty. With
	// an empty url it stays. Nil means that all stay.
	Redirect func(r *http.Request) (url, accessToken string)
	// MintFor names the node in whose name tokens are minted, so that connections over Server-Sent Events and long polling live there; a
	// WebSocket lives where it lands. Empty, or a nil func, means this one.
	MintFor func() string
	// Ready says why no new client can be served yet (answered with 503 and Retry-After, but not told to the client); nil
	// error or nil func: they can be.
	// It is asked on negotiate, and by a WebSocket that comes without negotiation. A token is served whatever it says:
	// a client whose WebSocket is refused with 503 falls down to lesser transports.
	Ready func() error

	// AllowedOrigins are the origins besides its own whose pages may connect; "*" means any. See CheckOrigin.
	AllowedOrigins []string
	// MinVersion is the oldest version of negotiate that is answered: 0 or 1.
	MinVersion int
	// Transports are those that are offered, in any order. None means all.
	Transports []Kind
	// SendTimeout bounds one write to one client. Zero means 10 s; negative, no bound.
	SendTimeout time.Duration
	// CloseTimeout bounds the wait for a client's close frame, or for its last poll. Zero means 5 s, which for the former is also
	// the most there is; negative, no wait.
	CloseTimeout time.Duration
	// PollTimeout is how long a poll waits for something to answer. Zero means 90 s; official clients give up after 100 s.
	PollTimeout time.Duration
	// DisconnectTimeout is how long a long-polling connection stays without a poll, and how long what was posted waits for the GET
	// that opens the connection. Zero means 15 s.
	DisconnectTimeout time.Duration
	// Hooks are told what happens.
	Hooks Hooks

	claims claims
}

// Hooks are called as things happen, nil ones not at all. They must be quick and safe for concurrent use.
type Hooks struct {
	// Negotiated is called for each negotiate request, with one of NegotiateResults.
	Negotiated func(result string)
	// Refused is called for each transport request that was refused, with one of RefusalReasons.
	Refused func(reason string)
}

// The results of negotiate, and (all but the first two) reasons for refusing a transport request. A closed set, fit for a metric's label.
const (
	ResultOK           = "ok"
	ResultRedirected   = "redirected"    // told to negotiate elsewhere
	ResultUnauthorized = "unauthorized"  // 401
	ResultForbidden    = "forbidden"     // 403: by Authenticate, or by the origin on negotiate
	ResultUnavailable  = "unavailable"   // not ready
	ResultBadRequest   = "bad_request"   // wrong method, version or upgrade, or no id
	RefusedOrigin      = "origin"        // 403
	RefusedNoTransport = "no_transport"  // a transport that is not offered
	RefusedUnknown     = "unknown_token" // no token at all, forged, of another hub, or its connection is no more
	RefusedStale       = "stale_token"   // not used in time
	RefusedUsed        = "used_token"    // used before
	RefusedUpgrade     = "upgrade"       // the WebSocket handshake failed half-way
	RefusedBusy        = "busy"          // too many POST requests of one connection at the same time
)

// NegotiateResults are all that Hooks.Negotiated is called with.
var NegotiateResults = []string{ResultOK, ResultRedirected, ResultUnauthorized, ResultForbidden, ResultUnavailable, ResultBadRequest}

// RefusalReasons are all that Hooks.Refused is called with.
var RefusalReasons = []string{ResultUnauthorized, ResultForbidden, ResultUnavailable, ResultBadRequest, RefusedOrigin, RefusedNoTransport,
	RefusedUnknown, RefusedStale, RefusedUsed, RefusedUpgrade, RefusedBusy}

// ServeHTTP answers negotiate at Path/negotiate and the transports at Path, each also with a slash behind it, as ASP.NET
// Core does; any other path is 404. Order: Forward, CORS, origin, Authenticate, then SignalR.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base, path := strings.TrimSuffix(e.Path, "/"), strings.TrimSuffix(r.URL.Path, "/")
	negotiate := path == base+"/negotiate"
	if !negotiate && path != base {
		http.NotFound(w, r)
		return
	}
	if !negotiate && e.forward(w, r) {
		return
	}
	refused := e.refused
	if negotiate {
		refused = e.negotiated
	}
	if e.crossOrigin(w, r, negotiate) {
		return
	}
	var identity any
	if e.Authenticate != nil {
		var err error
		if identity, err = e.Authenticate(r); errors.Is(err, ErrForbidden) {
			refused(ResultForbidden)
			reply(w, http.StatusForbidden, "", "")
			return
		} else if err != nil {
			refused(ResultUnauthorized)
			w.Header().Set("WWW-Authenticate", "Bearer")
			reply(w, http.StatusUnauthorized, "", "")
			return
		}
	}
	if negotiate {
		e.serveNegotiate(w, r)
		return
	}
	e.serveTransport(w, r, identity)
}

func (e *Endpoint) renew(id string, identity any) {
	if e.Renew != nil {
		e.Renew(id, identity)
	}
}

func (e *Endpoint) negotiated(result string) {
	if e.Hooks.Negotiated != nil {
		e.Hooks.Negotiated(result)
	}
}

func (e *Endpoint) refused(reason string) {
	if e.Hooks.Refused != nil {
		e.Hooks.Refused(reason)
	}
}

// offers says whether a transport may be used.
func (e *Endpoint) offers(kind Kind) bool {
	return len(e.Transports) == 0 || slices.Contains(e.Transports, kind)
}

func (e *Endpoint) disconnectTimeout() time.Duration {
	return orDefault(e.DisconnectTimeout, DefaultDisconnectTimeout)
}

func (e *Endpoint) ready() error {
	if e.Ready == nil {
		return nil
	}
	return e.Ready()
}

const textPlain = "text/plain" // as ASP.NET Core writes it, without a charset

// reply writes a whole response. An empty content type means that there is none, and that Go must not guess one.
func reply(w http.ResponseWriter, status int, contentType, body string) {
	h := w.Header()
	h["Content-Type"] = nil
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	if body != "" {
		_, _ = w.Write([]byte(body)) // a client that has gone needs no answer
	}
}

// unavailable asks the client to come again in a moment. The reason may name addresses that are nobody's business outside.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	reply(w, http.StatusServiceUnavailable, textPlain, "This node cannot take on clients at the moment. Try again soon.")
}

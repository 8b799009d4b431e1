package transport

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// session is a connection that is made of several HTTP requests: what Server-Sent Events and long polling have in common. It begins
// with the first request that names it, be it a GET, which chooses the transport, or a POST, whose bytes wait for one.
type session struct {
	endpoint *Endpoint
	token    Token
	identity any   // of its first request
	in       input // what was posted
	seen     atomic.Int64
	posts    atomic.Int32  // POST requests under way
	turn     chan struct{} // taken by the POST that is being read
	admitted chan struct{} // closed when it is known whether the token was good for it
	gone     chan struct{} // closed when it is over

	mu       sync.Mutex
	kind     Kind      // empty until a GET came
	polls    *longPoll // when kind is LongPolling
	over     bool
	resting  bool // no request keeps it alive, so it expires
	restedAt time.Time
	expiry   *time.Timer
}

func newSession(e *Endpoint, token Token, identity any) *session {
	return &session{
		endpoint: e, token: token, identity: identity, in: newInput(),
		turn: make(chan struct{}, 1), admitted: make(chan struct{}), gone: make(chan struct{}),
	}
}

// What a Conn of either transport has.

func (s *session) ID() string          { return s.token.ID }
func (s *session) LastRead() time.Time { return time.Unix(0, s.seen.Load()) }

// SetBinary changes nothing: Server-Sent Events carry text only, and to long polling it is all the same.
func (s *session) SetBinary() {}

// Ping does nothing: there is nothing that a client would answer by itself.
func (s *session) Ping() {}

// Next waits for the body of a POST, or part of it.
func (s *session) Next() (io.Reader, error) {
	if err := s.in.wait(); err != nil {
		return nil, err
	}
	return &s.in, nil
}

func (s *session) Rest() { _ = s.in.wait() } // an error is found again

// see notes a sign of life.
func (s *session) see() { s.seen.Store(time.Now().UnixNano()) }

// errExpired is why a session ends that no GET keeps alive.
func (s *session) errExpired() error {
	return fmt.Errorf("transport: the client did not poll for %v", s.endpoint.disconnectTimeout())
}

// attach makes the session one of a transport. The status is 0 when the caller may serve it, else what to refuse with. Only
// long polling may attach more than once.
func (s *session) attach(kind Kind) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return http.StatusNotFound
	case s.kind == "":
		s.kind = kind
		s.stay()
		if kind == LongPolling {
			s.polls = newLongPoll(s)
		}
	case s.kind != kind:
		return http.StatusBadRequest
	case kind == ServerSentEvents:
		return http.StatusConflict
	}
	return 0
}

// chosen is the transport; empty until a GET has chosen it.
func (s *session) chosen() Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kind
}

// rest starts the time after which the session is over unless a request comes. s.mu must be held.
func (s *session) rest() {
	if s.over {
		return
	}
	s.resting, s.restedAt = true, time.Now()
	d := s.endpoint.disconnectTimeout()
	if s.expiry == nil {
		s.expiry = time.AfterFunc(d, s.expire)
		return
	}
	s.expiry.Reset(d)
}

// stay ends rest. s.mu must be held.
func (s *session) stay() {
	s.resting = false
	if s.expiry != nil {
		s.expiry.Stop()
	}
}

func (s *session) expire() {
	s.mu.Lock()
	polls := s.polls
	// The timer may have gone off while a poll came and went, which has set it anew.
	due := s.resting && time.Since(s.restedAt) >= s.endpoint.disconnectTimeout()
	s.mu.Unlock()
	switch {
	case !due:
	case polls != nil:
		polls.end(s.errExpired(), false)
	default:
		s.end(s.errExpired(), true)
	}
}

// end makes the session be no more: its token is used up, and its reader gets err, after what has come unless that is dropped.
// It returns false when it was over already. The caller must not hold s.mu.
func (s *session) end(err error, drop bool) bool {
	s.in.end(err, drop)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over = true
	s.stay()
	s.endpoint.claims.end(s.token.key, s.token.Issued, time.Now())
	close(s.gone)
	return true
}

// Release frees whoever passes on a request of the connection with this token: a poll that waits is answered with nothing, so that the
// client comes again by another way. An event stream cannot move, nor can a WebSocket, so their connections must be ended by whoever was
// given them: then id is the connection's. found is false when the token has no connection here.
func (e *Endpoint) Release(token string) (id string, found bool) {
	parsed, err := e.Tokens.Parse(e.Path, token)
	if err != nil {
		return "", false
	}
	s, here := e.claims.find(parsed.key)
	if s == nil {
		return parsed.ID, here
	}
	s.mu.Lock()
	kind, polls := s.kind, s.polls
	s.mu.Unlock()
	switch {
	case polls != nil:
		polls.release()
		return "", true
	case kind == ServerSentEvents:
		return s.ID(), true
	}
	return "", false
}

// session finds the session with this token, or begins it. When there is none, reason says why; an empty one, that the token
// is in use by a WebSocket here.
func (e *Endpoint) session(r *http.Request, token Token, identity any) (s *session, reason string) {
	s, here := e.claims.find(token.key)
	if !here {
		s = newSession(e, token, identity)
		holder, use, reason := e.admit(r, token, s)
		s.begin(reason == "")
		switch {
		case reason == "":
			return s, ""
		case use != live:
			return nil, reason
		}
		s = holder // another request was first
	}
	if s == nil {
		return nil, ""
	}
	return s, e.mayUse(r, s, identity)
}

// begin says whether the token was good for the session. Until then those who found it wait.
func (s *session) begin(admitted bool) {
	s.see()
	if !admitted {
		s.in.end(net.ErrClosed, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if admitted {
		s.rest() // until a GET attaches
	} else {
		s.over = true
		close(s.gone)
	}
	close(s.admitted)
}

// mayUse says why a request may not be part of a session that another one began; an empty reason, that it may.
func (e *Endpoint) mayUse(r *http.Request, s *session, identity any) (reason string) {
	select {
	case <-s.admitted:
	case <-r.Context().Done():
		return RefusedUnknown
	}
	if e.SameUser != nil && e.Authenticate != nil && !e.SameUser(s.identity, identity) {
		return ResultForbidden
	}
	s.see()
	return ""
}

// refuseSession answers a request for which there is no session.
func (e *Endpoint) refuseSession(w http.ResponseWriter, reason string) {
	e.refused(reason)
	switch reason {
	case RefusedUsed:
		reply(w, http.StatusConflict, textPlain, "")
	case ResultForbidden:
		reply(w, http.StatusForbidden, textPlain, "")
	default:
		reply(w, http.StatusNotFound, textPlain, textUnknownID)
	}
}

// attached finds or begins the session that a GET asks for with a transport. It answers and returns nil when it cannot be had.
func (e *Endpoint) attached(w http.ResponseWriter, r *http.Request, identity any, kind Kind) *session {
	token, ok := e.ownToken(w, r)
	if !ok {
		return nil
	}
	if !e.offers(kind) || kind == ServerSentEvents && !canFlush(w) {
		if !e.knows(token) {
			e.refuseSession(w, RefusedUnknown)
			return nil
		}
		e.refused(RefusedNoTransport)
		reply(w, http.StatusNotFound, textPlain, string(kind)+textNotSupported)
		return nil
	}
	s, reason := e.session(r, token, identity)
	if reason != "" {
		e.refuseSession(w, reason)
		return nil
	}
	status := http.StatusBadRequest // for the transport of a WebSocket cannot be changed either
	if s != nil {
		status = s.attach(kind)
	}
	switch status {
	case 0:
		return s
	case http.StatusBadRequest:
		e.refused(ResultBadRequest)
		reply(w, status, textPlain, textNoChange)
	case http.StatusConflict:
		e.refused(RefusedUsed)
		reply(w, status, textPlain, "")
	default: // it ended while we looked
		e.refused(RefusedUnknown)
		reply(w, status, textPlain, "")
	}
	return nil
}

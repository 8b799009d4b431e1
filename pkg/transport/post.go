package transport

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxPosts is how many POST requests of one connection may be under way. Official clients send one at a time.
	maxPosts = 100
	// postBuffer is how much of a body is read at once.
	postBuffer = 4 << 10
)

var postBuffers = sync.Pool{New: func() any { return new([postBuffer]byte) }}

// servePost takes what a client sends over Server-Sent Events or long polling. It may come before the GET that chooses.
func (e *Endpoint) servePost(w http.ResponseWriter, r *http.Request, identity any) {
	token, ok := e.ownToken(w, r)
	if !ok {
		return
	}
	if !e.offers(ServerSentEvents) && !e.offers(LongPolling) {
		if _, here := e.claims.find(token.key); !here {
			e.refuseSession(w, RefusedUnknown)
			return
		}
	}
	s, reason := e.session(r, token, identity)
	switch {
	case reason == RefusedUsed: // by a connection that is not here
		e.refuseSession(w, RefusedUnknown)
	case reason != "":
		e.refuseSession(w, reason)
	case s == nil:
		e.refused(ResultBadRequest)
		reply(w, http.StatusMethodNotAllowed, textPlain, textNoPost)
	default:
		s.servePost(w, r)
	}
}

// servePost answers once the whole body has become part of the input, or cannot.
func (s *session) servePost(w http.ResponseWriter, r *http.Request) {
	e := s.endpoint
	response := newResponse(w, orDefault(e.SendTimeout, DefaultSendTimeout))
	defer response.finish()
	if s.posts.Add(1) > maxPosts {
		s.posts.Add(-1)
		e.refused(RefusedBusy)
		reply(w, http.StatusTooManyRequests, textPlain, "Too many POST requests of this connection are waiting. Send one at a time.")
		return
	}
	defer s.posts.Add(-1)
	switch err := s.receive(response, r); {
	case err == nil:
		reply(w, http.StatusOK, textPlain, "")
	case errors.Is(err, errBody):
		e.refused(ResultBadRequest)
		reply(w, http.StatusBadRequest, textPlain, "")
	default:
		e.refused(RefusedUnknown)
		reply(w, http.StatusNotFound, textPlain, "")
	}
}

// errBody is that a body did not come whole.
var errBody = errors.New("transport: the body of a POST could not be read")

// receive appends the body to the input when its turn has come. The error is errBody, or says that the connection is over.
func (s *session) receive(w *response, r *http.Request) error {
	select {
	case s.turn <- struct{}{}: // those who wait here are served in the order in which they came
		defer func() { <-s.turn }()
	case <-s.gone:
		return net.ErrClosed
	case <-r.Context().Done():
		return errBody
	}
	b := postBuffers.Get().(*[postBuffer]byte)
	defer postBuffers.Put(b)
	for {
		// A client that has no more to send for so long would keep the others waiting.
		_ = w.control.SetReadDeadline(time.Now().Add(s.endpoint.disconnectTimeout()))
		n, err := r.Body.Read(b[:])
		_ = w.control.SetReadDeadline(time.Time{})
		if n > 0 {
			s.see()
		}
		if putErr := s.in.put(r.Context(), b[:n]); putErr != nil {
			if r.Context().Err() != nil {
				return errBody
			}
			return putErr
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return errBody
		}
	}
}

// serveDelete ends a long-polling connection.
func (e *Endpoint) serveDelete(w http.ResponseWriter, r *http.Request, identity any) {
	token, ok := e.ownToken(w, r)
	if !ok {
		return
	}
	s, here := e.claims.find(token.key)
	if !here && !e.claims.unused(token, time.Now()) {
		e.refuseSession(w, RefusedUnknown)
		return
	}
	var polls *longPoll
	if s != nil {
		if reason := e.mayUse(r, s, identity); reason != "" {
			e.refuseSession(w, reason)
			return
		}
		s.mu.Lock()
		polls = s.polls
		s.mu.Unlock()
	}
	if polls == nil {
		e.refused(ResultBadRequest)
		reply(w, http.StatusBadRequest, textPlain, textNoDelete)
		return
	}
	polls.end(io.EOF, false) // what it has posted is still read
	reply(w, http.StatusAccepted, textPlain, "")
}

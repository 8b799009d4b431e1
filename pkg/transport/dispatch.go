package transport

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// The bodies of refusals, word for word those of ASP.NET Core.
const (
	textNoID         = "Connection ID required"
	textUnknownID    = "No Connection with that ID"
	textNotSupported = " transport not supported by this end point type" // behind the transport's name
	textNoPost       = "POST requests are not allowed for WebSocket connections."
	textNoChange     = "Cannot change transports mid-connection"
	textNoDelete     = "Cannot terminate this connection using the DELETE endpoint."
)

// claimTimeout bounds the question to the cluster whether a connection id was used before.
const claimTimeout = 5 * time.Second

// serveTransport answers a request to the hub's own URL.
func (e *Endpoint) serveTransport(w http.ResponseWriter, r *http.Request, identity any) {
	switch kind := requestedKind(r); {
	case kind == ServerSentEvents:
		e.serveEvents(w, r, identity)
	case kind == WebSockets:
		e.serveWebSocket(w, r, identity)
	case kind == LongPolling:
		e.servePoll(w, r, identity)
	case r.Method == http.MethodPost:
		e.servePost(w, r, identity)
	case r.Method == http.MethodDelete:
		e.serveDelete(w, r, identity)
	default:
		e.refused(ResultBadRequest)
		w.Header().Set("Allow", "GET, POST, DELETE")
		reply(w, http.StatusMethodNotAllowed, textPlain, "")
	}
}

// requestedKind is the transport that a GET asks for; other methods ask for none.
func requestedKind(r *http.Request) Kind {
	switch {
	case r.Method != http.MethodGet:
		return ""
	case hasToken(r.Header, "Accept", "text/event-stream"): // exactly, without parameters
		return ServerSentEvents
	case hasToken(r.Header, "Upgrade", "websocket"):
		return WebSockets
	}
	return LongPolling
}

// forward hands a request to the node on which its connection is, or would begin. Server-Sent Events and long polling live on the
// node that minted their token, a WebSocket where it lands, and the next one of a stateful connection where the first one did.
func (e *Endpoint) forward(w http.ResponseWriter, r *http.Request) (handled bool) {
	if e.Forward == nil {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
	default:
		return false
	}
	id, _ := queryValue(r.URL.RawQuery, "id")
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil {
		return false
	}
	if requestedKind(r) != WebSockets {
		return token.Node != e.Tokens.Node() && e.Forward(w, r, token.Node)
	}
	// A young token is most likely on its first use: the claim will tell, and spares the question.
	return time.Since(token.Issued) > tokenLife/2 && e.forwardToHolder(w, r, token)
}

// forwardToHolder hands another WebSocket of a stateful connection to the node that has it, if that is another one.
func (e *Endpoint) forwardToHolder(w http.ResponseWriter, r *http.Request, token Token) (handled bool) {
	node := e.holder(r.Context(), token)
	if node == "" || node == e.Tokens.Node() {
		return false
	}
	if !e.Forward(w, r, node) {
		e.refuseSocket(w, RefusedUnknown) // its node has gone, and the connection with it
	}
	return true
}

// holder finds the node to which another WebSocket of a connection belongs; it is empty for one that is here, or is nowhere yet.
func (e *Endpoint) holder(ctx context.Context, token Token) (node string) {
	if e.Resume == nil || e.Holder == nil || e.Forward == nil || !token.Stateful {
		return ""
	}
	if _, here := e.claims.find(token.key); here {
		return ""
	}
	if _, _, known := e.Resume(token.ID); known {
		return ""
	}
	node, _ = e.Holder(ctx, token.ID) // if nobody knows, it is a first use, or refused like one
	return node
}

// ownToken finds the token that a request must name, whether or not its connection was opened. It answers and returns false when
// there is none, or when it is another node's.
func (e *Endpoint) ownToken(w http.ResponseWriter, r *http.Request) (Token, bool) {
	id, _ := queryValue(r.URL.RawQuery, "id")
	if id == "" {
		e.refused(ResultBadRequest)
		reply(w, http.StatusBadRequest, textPlain, textNoID)
		return Token{}, false
	}
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil || token.Node != e.Tokens.Node() {
		e.refuseSession(w, RefusedUnknown)
		return Token{}, false
	}
	return token, true
}

// knows says whether the connection of a token is here, or could begin here.
func (e *Endpoint) knows(token Token) bool {
	_, here := e.claims.find(token.key)
	return here || e.claims.unused(token, time.Now())
}

// serveWebSocket lets a client in that brings a token for the first time, or none at all. Whom it does not let in it
// refuses before the upgrade: a socket that opens and closes again misleads clients into trying for ever.
func (e *Endpoint) serveWebSocket(w http.ResponseWriter, r *http.Request, identity any) {
	id, _ := queryValue(r.URL.RawQuery, "id")
	if !e.offers(WebSockets) || !canHijack(w) {
		if token, err := e.Tokens.Parse(e.Path, id); id != "" && (err != nil || !e.knows(token)) {
			e.refuseSocket(w, RefusedUnknown) // ASP.NET Core looks for the connection first
			return
		}
		e.refused(RefusedNoTransport)
		reply(w, http.StatusNotFound, textPlain, string(WebSockets)+textNotSupported)
		return
	}
	// Before the claim, which a handshake that cannot succeed must not use up.
	if status, text := upgradeFault(r); text != "" {
		e.refused(ResultBadRequest)
		w.Header().Set("Sec-WebSocket-Version", "13")
		reply(w, status, textPlain, text)
		return
	}
	if id == "" {
		e.serveUnnegotiated(w, r, identity)
		return
	}
	if e.resume(w, r, identity, id) {
		return
	}
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil {
		e.refuseSocket(w, RefusedUnknown)
		return
	}
	switch holder, _, reason := e.admit(r, token, nil); {
	case holder != nil && holder.chosen() != "":
		e.refused(ResultBadRequest)
		reply(w, http.StatusBadRequest, textPlain, textNoChange)
		return
	case (reason == RefusedUsed || reason == RefusedStale) && e.forwardToHolder(w, r, token):
		return // it was used before, on another node
	case reason == ResultUnavailable && e.Forward != nil && e.Forward(w, r, token.Node):
		return // only the node that minted the token can say whether it was used, and may let it in
	case reason != "":
		e.refuseSocket(w, reason)
		return
	}
	done := func() { e.claims.end(token.key, token.Issued, time.Now()) }
	e.open(w, r, token.ID, done, func(c Conn) {
		request := newRequest(r, identity)
		request.Stateful = token.Stateful
		e.Accept(c, request)
	})
}

// resume gives a connection that is here another WebSocket. It returns false when there is no such connection.
func (e *Endpoint) resume(w http.ResponseWriter, r *http.Request, identity any, id string) bool {
	if e.Resume == nil {
		return false
	}
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil || !token.Stateful {
		return false
	}
	s, open := e.claims.find(token.key)
	if s != nil {
		return false // it fell down to another transport, which cannot be changed
	}
	attach, owner, known := e.Resume(token.ID)
	switch {
	case !known && open:
		// It has ended, though its socket has not closed yet. Such a client tries again without end unless it is told so.
		e.refuseSocket(w, RefusedUnknown)
	case !known:
		return false
	case attach == nil: // its handshake asked for no more than version 1
		e.refused(RefusedUsed)
		reply(w, http.StatusNoContent, textPlain, "")
	case e.SameUser != nil && !e.SameUser(identity, owner):
		e.refused(ResultForbidden)
		reply(w, http.StatusForbidden, "", "")
	default:
		e.open(w, r, token.ID, func() {}, func(c Conn) {
			e.renew(token.ID, identity)
			attach(c)
		})
	}
	return true
}

// serveUnnegotiated opens a connection for a client that skipped negotiation. It is the one WebSocket that may be told 503:
// such a client has no other transport to fall down to.
func (e *Endpoint) serveUnnegotiated(w http.ResponseWriter, r *http.Request, identity any) {
	if err := e.ready(); err != nil {
		e.refused(ResultUnavailable)
		unavailable(w)
		return
	}
	e.open(w, r, newConnectionKey().String(), func() {}, func(c Conn) { e.Accept(c, newRequest(r, identity)) })
}

// admit claims a token for its first request, and for s unless it is a WebSocket's. Otherwise reason says why it cannot be had; when
// its connection is here, use is live and holder is its session, or nil if it is a WebSocket.
func (e *Endpoint) admit(r *http.Request, token Token, s *session) (holder *session, use firstUse, reason string) {
	now := time.Now()
	switch use, holder = e.claims.claim(token.key, s, now); use {
	case live:
		return holder, live, RefusedUsed
	case ended:
		return nil, ended, RefusedUnknown
	}
	if stale(token.Issued, now) {
		reason = RefusedStale
	} else {
		reason = e.claimed(r, token)
	}
	if reason != "" {
		e.claims.release(token.key)
	}
	return nil, fresh, reason
}

// claimed asks the cluster whether the token was used before, and says why it cannot be used now.
func (e *Endpoint) claimed(r *http.Request, token Token) (reason string) {
	if e.Claim == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(r.Context(), claimTimeout)
	defer cancel()
	first, err := e.Claim(ctx, token.key.String())
	switch {
	case err == nil && first, err != nil && token.Node == e.Tokens.Node():
		return ""
	case err != nil: // the one that minted it may let it in, by its own table; more than one could, if we did
		return ResultUnavailable
	}
	return RefusedUsed
}

// refuseSocket answers a WebSocket for which there is no connection to be had.
func (e *Endpoint) refuseSocket(w http.ResponseWriter, reason string) {
	e.refused(reason)
	if reason == RefusedUsed {
		reply(w, http.StatusConflict, textPlain, "")
		return
	}
	reply(w, http.StatusNotFound, "", textUnknownID) // without a content type, unlike the others
}

// upgradeFault says what keeps a request from becoming a WebSocket (RFC 6455, section 4.2.1); an empty text, nothing.
func upgradeFault(r *http.Request) (status int, text string) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	switch {
	case !r.ProtoAtLeast(1, 1):
		return http.StatusUpgradeRequired, "A WebSocket needs HTTP/1.1."
	case !hasToken(r.Header, "Connection", "Upgrade"):
		return http.StatusBadRequest, "The header Connection does not contain Upgrade. A proxy on the way may have dropped it."
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return http.StatusUpgradeRequired, "The header Sec-WebSocket-Version must be 13."
	case err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return http.StatusBadRequest, "The header Sec-WebSocket-Key must hold 16 bytes in base64, once."
	}
	return 0, ""
}

// hasToken says whether a comma-separated header holds a token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// neverCache marks the answer to a poll, as ASP.NET Core does.
func neverCache(h http.Header) {
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
}

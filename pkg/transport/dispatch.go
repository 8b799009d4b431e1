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
	textNoDelete     = "Cannot terminate this connection using the DELETE endpoint."
)

// claimTimeout bounds the question to the cluster whether a connection id was used before.
const claimTimeout = 5 * time.Second

// serveTransport answers a request to the hub's own URL.
func (e *Endpoint) serveTransport(w http.ResponseWriter, r *http.Request, identity any) {
	switch r.Method {
	case http.MethodGet:
		switch {
		case hasToken(r.Header, "Accept", "text/event-stream"): // exactly, without parameters
			e.refuseTransport(w, r, ServerSentEvents)
		case hasToken(r.Header, "Upgrade", "websocket"):
			e.serveWebSocket(w, r, identity)
		default:
			neverCache(w.Header())
			e.refuseTransport(w, r, LongPolling)
		}
	case http.MethodPost:
		e.refuseForWebSocket(w, r, http.StatusMethodNotAllowed, textNoPost)
	case http.MethodDelete:
		e.refuseForWebSocket(w, r, http.StatusBadRequest, textNoDelete)
	default:
		e.refused(ResultBadRequest)
		w.Header().Set("Allow", "GET, POST, DELETE")
		reply(w, http.StatusMethodNotAllowed, textPlain, "")
	}
}

// connectionOf finds the token that a request must name, whether or not its connection was opened. It answers and
// returns false when there is none.
func (e *Endpoint) connectionOf(w http.ResponseWriter, r *http.Request) (Token, bool) {
	id, _ := queryValue(r.URL.RawQuery, "id")
	if id == "" {
		e.refused(ResultBadRequest)
		reply(w, http.StatusBadRequest, textPlain, textNoID)
		return Token{}, false
	}
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil {
		e.refused(RefusedUnknown)
		reply(w, http.StatusNotFound, textPlain, textUnknownID)
		return Token{}, false
	}
	return token, true
}

// refuseTransport refuses a transport that is not offered, to a client that has a connection.
func (e *Endpoint) refuseTransport(w http.ResponseWriter, r *http.Request, kind Kind) {
	if _, ok := e.connectionOf(w, r); ok {
		e.refused(RefusedNoTransport)
		reply(w, http.StatusNotFound, textPlain, string(kind)+textNotSupported)
	}
}

// refuseForWebSocket refuses what makes no sense for a WebSocket connection. Where there is no such connection, it is unknown.
func (e *Endpoint) refuseForWebSocket(w http.ResponseWriter, r *http.Request, status int, text string) {
	token, ok := e.connectionOf(w, r)
	switch {
	case !ok:
	case e.claims.isLive(token.key):
		e.refused(ResultBadRequest)
		reply(w, status, textPlain, text)
	default:
		e.refused(RefusedUnknown)
		reply(w, http.StatusNotFound, textPlain, textUnknownID)
	}
}

// serveWebSocket lets a client in that brings a token for the first time, or none at all. Whom it does not let in it
// refuses before the upgrade: a socket that opens and closes again misleads clients into trying for ever.
func (e *Endpoint) serveWebSocket(w http.ResponseWriter, r *http.Request, identity any) {
	if !canHijack(w) {
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
	id, _ := queryValue(r.URL.RawQuery, "id")
	if id == "" {
		e.serveUnnegotiated(w, r, identity)
		return
	}
	if e.resume(w, r, id) {
		return
	}
	token, ok := e.admit(w, r, id)
	if !ok {
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
func (e *Endpoint) resume(w http.ResponseWriter, r *http.Request, id string) bool {
	if e.Resume == nil {
		return false
	}
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil || !token.Stateful {
		return false
	}
	attach, known := e.Resume(token.ID)
	switch {
	case !known:
		return false
	case attach == nil: // it is ending, or its handshake asked for no more than version 1
		e.refused(RefusedUsed)
		reply(w, http.StatusNoContent, textPlain, "")
	default:
		e.open(w, r, token.ID, func() {}, attach)
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

// admit checks a token and claims it for the caller. It answers and returns false when somebody had it before, or nobody
// can have it.
func (e *Endpoint) admit(w http.ResponseWriter, r *http.Request, id string) (Token, bool) {
	token, err := e.Tokens.Parse(e.Path, id)
	if err != nil {
		return token, e.unknown(w, RefusedUnknown)
	}
	now := time.Now()
	switch e.claims.claim(token.key, now) {
	case live:
		return token, e.used(w)
	case ended:
		return token, e.unknown(w, RefusedUnknown)
	}
	if age := now.Sub(token.Issued); age > tokenLife || age < -clockSkew {
		e.claims.release(token.key)
		return token, e.unknown(w, RefusedStale)
	}
	if e.Claim == nil {
		return token, true
	}
	ctx, cancel := context.WithTimeout(r.Context(), claimTimeout)
	defer cancel()
	first, err := e.Claim(ctx, token.key.String())
	switch {
	case err == nil && first, err != nil && token.Node == e.Tokens.Node():
		return token, true
	case err != nil: // the one that minted it may let it in, by its own table; more than one could, if we did
		e.claims.release(token.key)
		return token, e.unknown(w, ResultUnavailable)
	}
	e.claims.release(token.key)
	return token, e.used(w)
}

func (e *Endpoint) unknown(w http.ResponseWriter, reason string) bool {
	e.refused(reason)
	reply(w, http.StatusNotFound, "", textUnknownID)
	return false
}

func (e *Endpoint) used(w http.ResponseWriter) bool {
	e.refused(RefusedUsed)
	reply(w, http.StatusConflict, textPlain, "")
	return false
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

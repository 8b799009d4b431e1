package transport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// maxNegotiateVersion is the newest version of negotiate; a client that asks for more gets this one.
const maxNegotiateVersion = 1

// serveNegotiate answers with a new connection id and how to connect. Nothing is registered: the token says it all, so the
// client may bring it to any node.
func (e *Endpoint) serveNegotiate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		e.negotiated(ResultBadRequest)
		w.Header().Set("Allow", "POST")
		reply(w, http.StatusMethodNotAllowed, textPlain, "")
		return
	}
	if err := e.ready(); err != nil {
		e.negotiated(ResultUnavailable)
		unavailable(w)
		return
	}
	version, complaint := negotiateVersion(r.URL.RawQuery, e.MinVersion)
	if complaint != "" {
		e.negotiated(ResultBadRequest)
		writeNegotiation(w, negotiation{Error: complaint})
		return
	}
	if e.redirect(w, r, version) {
		return
	}
	answer := negotiation{Version: &version, Transports: e.offer(w, r)}
	tokens := e.Tokens
	if e.MintFor != nil {
		tokens = tokens.as(e.MintFor())
	}
	var err error
	if version == 0 {
		// This client will name its connection by its id alone, so the id must be the token.
		answer.ID, err = tokens.mintAll(e.Path)
	} else {
		answer.Stateful = e.Resume != nil && wantsStateful(r.URL.RawQuery)
		answer.Token, answer.ID, err = tokens.Mint(e.Path, answer.Stateful)
	}
	if err != nil {
		e.negotiated(ResultUnavailable)
		unavailable(w)
		return
	}
	e.negotiated(ResultOK)
	writeNegotiation(w, answer)
}

// negotiation is the answer to negotiate, in the order in which ASP.NET Core writes it.
type negotiation struct {
	Stateful   bool          `json:"useStatefulReconnect,omitempty"`
	Version    *int          `json:"negotiateVersion,omitempty"`
	URL        string        `json:"url,omitempty"`
	Access     string        `json:"accessToken,omitempty"`
	ID         string        `json:"connectionId,omitempty"`
	Token      string        `json:"connectionToken,omitempty"`
	Transports []offeredKind `json:"availableTransports,omitzero"`
	Error      string        `json:"error,omitempty"`
}

type offeredKind struct {
	Kind    Kind     `json:"transport"`
	Formats []string `json:"transferFormats"`
}

// offer lists the transports, best first; it is empty rather than nil when there is none. WebSockets need a connection that can
// be taken from the HTTP server. One of HTTP/2 cannot, but there browsers open another connection for them, of HTTP/1.1.
func (e *Endpoint) offer(w http.ResponseWriter, r *http.Request) []offeredKind {
	offered := []offeredKind{}
	if e.offers(WebSockets) && (r.ProtoMajor >= 2 || canHijack(w)) {
		offered = append(offered, offeredKind{WebSockets, []string{"Text", "Binary"}})
	}
	if e.offers(ServerSentEvents) && canFlush(w) {
		offered = append(offered, offeredKind{ServerSentEvents, []string{"Text"}})
	}
	if e.offers(LongPolling) {
		offered = append(offered, offeredKind{LongPolling, []string{"Text", "Binary"}})
	}
	return offered
}

// redirect sends the client to negotiate elsewhere, if that is where it belongs.
func (e *Endpoint) redirect(w http.ResponseWriter, r *http.Request, version int) bool {
	if e.Redirect == nil {
		return false
	}
	url, token := e.Redirect(r)
	if url == "" {
		return false
	}
	e.negotiated(ResultRedirected)
	writeNegotiation(w, negotiation{Version: &version, URL: url, Access: token, Transports: []offeredKind{}})
	return true
}

// wantsStateful says whether the client asks for stateful reconnect, in the spelling of .NET's booleans.
func wantsStateful(rawQuery string) bool {
	text, _ := queryValue(rawQuery, "useStatefulReconnect")
	return strings.EqualFold(strings.TrimSpace(text), "true")
}

// negotiateVersion reads the version that the client asks for, or says what is wrong with it.
func negotiateVersion(rawQuery string, oldest int) (version int, complaint string) {
	n := int64(0)
	if text, found := queryValue(rawQuery, "negotiateVersion"); found {
		var err error
		if n, err = strconv.ParseInt(strings.TrimSpace(text), 10, 32); err != nil {
			return 0, "The client requested a non-integer protocol version."
		}
	}
	if n < int64(oldest) {
		return 0, fmt.Sprintf("The client requested version '%d', but the server does not support this version.", n)
	}
	return min(int(n), maxNegotiateVersion), ""
}

// writeNegotiation answers with 200 even for an error, as clients expect it.
func writeNegotiation(w http.ResponseWriter, n negotiation) {
	body := &strings.Builder{}
	encoder := json.NewEncoder(body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(n) // strings and an int always encode
	text := strings.TrimSuffix(body.String(), "\n")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	reply(w, http.StatusOK, "application/json", text)
}

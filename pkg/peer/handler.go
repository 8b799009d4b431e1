package peer

import (
	"context"
	"net/http"
	"time"
)

// rejected is the value of Header in the answer to a request whose signature was not accepted. It tells the node that forwarded it
// that the answer is not the owner's.
const rejected = "rejected"

type forwardedKey struct{}

// isForwarded says whether a request came through the Handler.
func isForwarded(ctx context.Context) bool { return ctx.Value(forwardedKey{}) != nil }

// Handler serves requests that another node has forwarded as if their clients had come here: next sees the client's address, and no
// header of ours. All others are answered with 403 and reach nothing.
func (p *Peer) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, reason := p.signer.verify(r, time.Now())
		if reason != "" {
			p.refuse(w, r, reason)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), forwardedKey{}, true))
		r.Header.Del(Header)
		r.RemoteAddr = client
		if r.Method == methodRelease {
			p.serveRelease(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers a request that nobody of this cluster has forwarded for this purpose.
func (p *Peer) refuse(w http.ResponseWriter, r *http.Request, reason Refusal) {
	p.hooks.refused(reason)
	if more, ok := p.refusals.allow(time.Now()); ok {
		p.log.Warn("a request to the peer port was refused: only nodes with the same cluster secret, and a clock within 30 s, may send any",
			"reason", string(reason), "from", r.RemoteAddr, "more", more)
	}
	w.Header().Set(Header, rejected)
	http.Error(w, "This port is for requests that other nodes forward.", http.StatusForbidden)
}

// Strip takes the header out of requests from clients, to whom it means nothing, before next sees them.
func Strip(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(Header)
		next.ServeHTTP(w, r)
	})
}

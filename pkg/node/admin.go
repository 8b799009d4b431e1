package node

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// adminHandler serves the operator.
func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.Handler())
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.HandleFunc("GET /readyz", n.serveReady)
	if guard := n.guard(); guard != nil {
		mux.Handle("/debug/pprof/", guard(pprofHandler()))
		mux.Handle("POST /drain", guard(http.HandlerFunc(n.serveDrain)))
		mux.Handle("GET /drain", guard(http.HandlerFunc(n.serveProgress)))
		n.handleQueries(mux, guard)
		n.handleControl(mux, guard)
	}
	return mux
}

// guard wraps what not everyone may see; it is nil when there shall be no such thing at all.
func (n *Node) guard() func(http.Handler) http.Handler {
	switch {
	case isLoopback(n.admin.Addr()):
		// A page in a browser on this host must not be able to drain the node.
		return http.NewCrossOriginProtection().Handler
	case n.config.AdminToken == "":
		return nil
	}
	want := sha256.Sum256([]byte(n.config.AdminToken))
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Only the header counts: a token in a URL ends up in logs.
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			got := sha256.Sum256([]byte(token))
			// The hashes are compared in constant time, and have one length whatever was sent.
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "send Authorization: Bearer with the admin token", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

// serveDrain makes the node drain and end, as SIGTERM does. Asking again changes nothing.
func (n *Node) serveDrain(w http.ResponseWriter, _ *http.Request) {
	n.Drain()
	n.writeProgress(w, http.StatusAccepted)
}

// serveProgress tells how far the drain has got.
func (n *Node) serveProgress(w http.ResponseWriter, _ *http.Request) {
	n.writeProgress(w, http.StatusOK)
}

func (n *Node) writeProgress(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(n.Progress()) // the operator has left
}

// isLoopback says whether only this host can reach an address.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

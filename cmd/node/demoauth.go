package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/node"
)

// demoTokenPath is where the demo page gets its tokens when auth is set.
const demoTokenPath = "/demo/token"

// serveDemo adds the demo page, and with auth the tokens for it, to what clients can reach.
func serveDemo(c *config, n *node.Node, log *slog.Logger) error {
	page := demoConfig{HubPath: hubPath, NodeName: n.Name()}
	if c.jwtSecret == nil {
		log.Warn("the demo is on: the user id in ?user=NAME is taken unverified; do not use this in production (--demo=false)")
	} else {
		verifier, err := auth.NewVerifier(c.jwt())
		if err != nil {
			return err
		}
		log.Warn("the demo is on: " + demoTokenPath + " gives a valid token for any name to anyone who asks; do not use this in production (--demo=false)")
		page.TokenPath = demoTokenPath
		n.Handle(demoTokenPath, &demoTokens{verifier: verifier, origins: c.allowedOrigins})
	}
	handler := demoHandler(page)
	n.Handle("/{$}", handler)
	n.Handle("/demo/", handler)
	return nil
}

// unverifiedUser takes the user id that a client claims to have. It is for the demo alone.
func unverifiedUser(r *http.Request) (hub.Identity, error) {
	name := r.URL.Query().Get("user")
	if name == "" {
		return hub.Identity{}, nil
	}
	if err := auth.DemoName(name); err != nil {
		return hub.Identity{}, err
	}
	return hub.Identity{UserID: name}, nil
}

// demoTokens gives tokens to whoever asks: GET /demo/token?user=NAME. The answer is the token as plain text.
type demoTokens struct {
	verifier *auth.Verifier
	origins  []string // besides our own; "*" is any
}

func (d *demoTokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	d.allowOrigin(h, r.Header.Get("Origin"))
	switch r.Method {
	case http.MethodGet:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, OPTIONS")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	token, _, err := d.verifier.MintDemo(r.URL.Query().Get("user"))
	if err != nil {
		http.Error(w, strings.TrimPrefix(err.Error(), "auth: "), http.StatusBadRequest)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, token)
}

// allowOrigin lets pages of the allowed origins read the answer. No cookie is involved, so "*" gives nothing away that
// anyone could not ask for.
func (d *demoTokens) allowOrigin(h http.Header, origin string) {
	h.Add("Vary", "Origin")
	for _, allowed := range d.origins {
		if origin != "" && (allowed == "*" || strings.EqualFold(allowed, origin)) {
			h.Set("Access-Control-Allow-Origin", origin)
			return
		}
	}
}

package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// CheckOrigin says what is wrong with an element of Endpoint.AllowedOrigins: it must be "*", "null", or a scheme and a
// host with an optional port, such as "https://app.example.com".
func CheckOrigin(origin string) error {
	if origin == anyOrigin || origin == "null" {
		return nil
	}
	if _, _, ok := splitOrigin(origin); !ok || strings.Contains(origin, "*") {
		return fmt.Errorf("%q is not an origin: write scheme://host or scheme://host:port without a path or wildcards, or * for any", origin)
	}
	return nil
}

const anyOrigin = "*"

// splitOrigin returns the scheme and the host with its port, both in lower case, the default port filled in.
func splitOrigin(origin string) (scheme, hostPort string, ok bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	scheme = strings.ToLower(u.Scheme)
	return scheme, withPort(u.Host, scheme), true
}

// withPort fills in the port that a scheme has when none is written.
func withPort(host, scheme string) string {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		switch scheme {
		case "http", "ws":
			port = "80"
		case "https", "wss":
			port = "443"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// originAllowed says whether a page of this origin may use an endpoint that was addressed as host. The endpoint's own
// origin may, whatever the scheme: TLS may end at a proxy in front of us. No origin may too: then it is no browser,
// or no request that one page could make in the name of another.
func (e *Endpoint) originAllowed(origin, host string) bool {
	if origin == "" {
		return true
	}
	scheme, hostPort, ok := splitOrigin(origin)
	if ok && (scheme == "http" || scheme == "https") && hostPort == withPort(host, scheme) {
		return true
	}
	for _, a := range e.AllowedOrigins {
		if a == anyOrigin || strings.EqualFold(a, origin) {
			return true
		}
		if s, h, valid := splitOrigin(a); ok && valid && s == scheme && h == hostPort {
			return true
		}
	}
	return false
}

// crossOrigin writes the CORS headers, answers preflights, and refuses origins that are not allowed. WebSockets are not
// subject to CORS, so the origin must be refused here and not left to the browser. It returns true when it has answered.
func (e *Endpoint) crossOrigin(w http.ResponseWriter, r *http.Request, negotiate bool) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !e.originAllowed(origin, r.Host) {
		if negotiate {
			e.negotiated(ResultForbidden)
		} else {
			e.refused(RefusedOrigin)
		}
		reply(w, http.StatusForbidden, textPlain, refusedOrigin(origin))
		return true
	}
	if origin == "" {
		return false
	}
	// The exact origin, never "*": official clients send credentials, and browsers refuse the two together.
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	preflight(h, r.Header.Get("Access-Control-Request-Headers"))
	w.WriteHeader(http.StatusNoContent)
	return true
}

// preflight allows what the official clients use, and the headers that an application adds to it.
func preflight(h http.Header, wanted string) {
	if wanted == "" {
		wanted = "x-requested-with, x-signalr-user-agent, authorization, content-type"
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", wanted)
	h.Set("Access-Control-Max-Age", "7200") // the most that Chromium honours
}

func refusedOrigin(origin string) string {
	const most = 200
	if len(origin) > most {
		origin = origin[:most] + "…"
	}
	return fmt.Sprintf("Pages of the origin %q may not connect to this hub. Allow it with --allowed-origins (AllowedOrigins in Go), or serve the page from the hub's own host.", origin)
}

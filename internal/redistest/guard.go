package redistest

import (
	"net/url"
	"slices"
	"testing"
)

// Guard keeps strangers out. The zero value keeps out nobody.
type Guard struct {
	// TLS, if not nil, is all that is spoken, between the servers too, but on sockets.
	TLS *TLS
	// Password is that of the default user. Sentinels have one of their own, and want the user SentinelUser as well.
	Password string
}

// SentinelUser is the only user of sentinels that have a password.
const SentinelUser = "watcher"

func (g Guard) sentinelPassword() string { return g.Password + "-sentinels" }

// Start starts a server that is guarded so, and gives its URL. args are further arguments of redis-server.
func (g Guard) Start(t testing.TB, args ...string) (s *Server, url string) {
	t.Helper()
	s = g.start(t, func(*Server) []string { return args })
	return s, g.url("redis", s.Addr(), "", make(map[string][]string))
}

// start starts a server with the arguments that args gives when the port is known.
func (g Guard) start(t testing.TB, args func(*Server) []string) *Server {
	t.Helper()
	return launch(t, func(s *Server) []string {
		s.guard = g
		all := args(s)
		if g.TLS != nil {
			all = slices.Concat(g.TLS.args(s.port), all)
		}
		if g.Password != "" {
			all = append(all, "--requirepass", g.Password, "--masterauth", g.Password)
		}
		return all
	})
}

// url is a URL for those whom the guard lets in.
func (g Guard) url(scheme, hosts, path string, query url.Values) string {
	u := url.URL{Scheme: scheme, Host: hosts, Path: path}
	if g.TLS != nil {
		u.Scheme = "rediss" + u.Scheme[len("redis"):]
		query.Set("ca_file", g.TLS.CAFile)
	}
	if g.Password != "" {
		u.User = url.UserPassword("", g.Password)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

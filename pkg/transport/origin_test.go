package transport

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOriginAllowed(t *testing.T) {
	tests := []struct {
		origin, host string
		allowed      []string
		want         bool
	}{
		{"", "chat.example", nil, true},
		{"http://chat.example", "chat.example", nil, true},
		{"https://chat.example", "chat.example", nil, true}, // TLS ends at a proxy
		{"https://chat.example", "chat.example:443", nil, true},
		{"http://chat.example:80", "chat.example", nil, true},
		{"http://CHAT.example:8080", "chat.example:8080", nil, true},
		{"http://[::1]:8080", "[::1]:8080", nil, true},
		{"http://chat.example", "chat.example:8080", nil, false},
		{"http://chat.example:8081", "chat.example:8080", nil, false},
		{"https://evil.example", "chat.example", nil, false},
		{"https://chat.example.evil.example", "chat.example", nil, false},
		{"capacitor://localhost", "localhost", nil, false},
		{"null", "chat.example", nil, false},
		{"null", "null", nil, false},
		{"https://", "", nil, false},
		{"https://app.example", "chat.example", []string{"https://app.example"}, true},
		{"https://app.example:443", "chat.example", []string{"https://App.Example"}, true},
		{"http://app.example", "chat.example", []string{"https://app.example"}, false},
		{"https://app.example:8443", "chat.example", []string{"https://app.example"}, false},
		{"https://sub.app.example", "chat.example", []string{"https://app.example"}, false},
		{"capacitor://localhost", "chat.example", []string{"capacitor://localhost"}, true},
		{"null", "chat.example", []string{"null"}, true},
		{"null", "chat.example", []string{"*"}, true},
		{"https://anything.example", "chat.example", []string{"https://app.example", "*"}, true},
	}
	for _, test := range tests {
		e := &Endpoint{AllowedOrigins: test.allowed}
		if got := e.originAllowed(test.origin, test.host); got != test.want {
			t.Errorf("origin %q at host %q with %q allowed: %v, want %v", test.origin, test.host, test.allowed, got, test.want)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"*", "null", "https://app.example", "http://localhost:3000", "http://[::1]:3000", "capacitor://localhost"} {
		if err := CheckOrigin(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "app.example", "localhost:3000", "https://app.example/", "https://*", "https://*.example", "https://", "https://u@app.example", "https://a.example?x", "a b"} {
		if err := CheckOrigin(bad); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

func TestPreflight(t *testing.T) {
	s := newSite(t, func(e *Endpoint) {
		e.AllowedOrigins = []string{"https://app.example"}
		e.Authenticate = func(*http.Request) (any, error) { return nil, ErrForbidden } // not asked
	})
	for _, path := range []string{"/chat", "/chat/negotiate"} {
		got, h := s.ask(t, "OPTIONS", path, "Origin: https://app.example\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Headers: x-requested-with,x-mine")
		if diff := cmp.Diff(answer{Status: 204}, got); diff != "" {
			t.Error(diff)
		}
		want := map[string]string{
			"Access-Control-Allow-Origin":      "https://app.example",
			"Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods":     "GET, POST, DELETE",
			"Access-Control-Allow-Headers":     "x-requested-with,x-mine",
			"Access-Control-Max-Age":           "7200",
		}
		for k, v := range want {
			if h.Get(k) != v {
				t.Errorf("%s: %q, want %q", k, h.Get(k), v)
			}
		}
		if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
			t.Errorf("Vary: %q", h.Values("Vary"))
		}
	}
	_, h := s.ask(t, "OPTIONS", "/chat", "Origin: https://app.example\nAccess-Control-Request-Method: GET")
	for _, name := range []string{"x-requested-with", "x-signalr-user-agent", "authorization", "content-type"} {
		if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("Access-Control-Allow-Headers: %q, without %s", h.Get("Access-Control-Allow-Headers"), name)
		}
	}
}

func TestOriginRefused(t *testing.T) {
	s := newSite(t, func(e *Endpoint) { e.AllowedOrigins = []string{"https://app.example"} })
	for _, test := range []struct{ method, path, headers string }{
		{"OPTIONS", "/chat/negotiate", "Access-Control-Request-Method: POST\n"},
		{"POST", "/chat/negotiate", ""},
		{"GET", "/chat", upgradeHeaders},
	} {
		got, h := s.ask(t, test.method, test.path, test.headers+"Origin: https://evil.example")
		if got.Status != 403 || got.ContentType != "text/plain" || !strings.Contains(got.Body, `"https://evil.example"`) || !strings.Contains(got.Body, "--allowed-origins") {
			t.Errorf("%s %s: %+v", test.method, test.path, got)
		}
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: the header %s tells a refused origin something", test.method, test.path, name)
			}
		}
	}
	if got := []string{receive(t, s.results), receive(t, s.results), receive(t, s.refusals)}; !cmp.Equal(got, []string{ResultForbidden, ResultForbidden, RefusedOrigin}) {
		t.Errorf("hooks: %q", got)
	}
}

// A browser hides a 401 from the page, and the client cannot renew its token, unless the answer carries CORS headers.
func TestCORSHeadersOnRefusals(t *testing.T) {
	s := newSite(t, func(e *Endpoint) {
		e.AllowedOrigins = []string{"*"}
		e.Authenticate = func(*http.Request) (any, error) { return nil, http.ErrNoCookie }
	})
	got, h := s.ask(t, "POST", "/chat/negotiate", "Origin: https://any.example")
	if got.Status != 401 || h.Get("Access-Control-Allow-Origin") != "https://any.example" || h.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%+v %v", got, h)
	}
}

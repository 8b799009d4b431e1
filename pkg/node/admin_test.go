package node

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// elsewhere is a listener that other hosts can reach, as far as its address tells.
type elsewhere struct{ net.Listener }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9090} }

func TestGuard(t *testing.T) {
	const token = "a token for the operator"
	tests := []struct {
		name     string
		loopback bool
		token    string
		path     string
		header   string
		want     int
	}{
		{"loopback needs none", true, "", "/debug/pprof/", "", 200},
		{"loopback needs none even if there is one", true, token, "/debug/pprof/", "", 200},
		{"without a token there is nothing", false, "", "/debug/pprof/", "", 404},
		{"nor with an empty one", false, "", "/debug/pprof/", "Bearer ", 404},
		{"missing", false, token, "/debug/pprof/", "", 401},
		{"wrong", false, token, "/debug/pprof/heap", "Bearer " + token + "!", 401},
		{"in the query", false, token, "/debug/pprof/?access_token=a+token+for+the+operator", "", 401},
		{"right", false, token, "/debug/pprof/", "Bearer " + token, 200},
		{"metrics", false, "", "/metrics", "", 200},
		{"healthz", false, token, "/healthz", "", 200},
		{"readyz", false, token, "/readyz", "", 200},
		{"anything else", true, "", "/", "", 404},
		{"hubs are not here", true, "", "/room", "", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := make1(t, Config{AdminToken: tt.token})
			if err := n.Listen(); err != nil {
				t.Fatal(err)
			}
			defer n.clients.Close()
			defer n.admin.Close()
			if !tt.loopback {
				n.admin = elsewhere{n.admin}
			}
			r := httptest.NewRequest("GET", tt.path, nil)
			r.Header.Set("Authorization", tt.header)
			w := httptest.NewRecorder()
			n.adminHandler().ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

func TestPprof(t *testing.T) {
	h := pprofHandler()
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	gzip := []byte{0x1f, 0x8b}
	for _, path := range []string{"/debug/pprof/heap?gc=1", "/debug/pprof/goroutine", "/debug/pprof/profile?seconds=0.05"} {
		if w := get(path); w.Code != 200 || !bytes.HasPrefix(w.Body.Bytes(), gzip) {
			t.Errorf("%s: %d, %d bytes that are no profile", path, w.Code, w.Body.Len())
		}
	}
	if w := get("/debug/pprof/trace?seconds=0.05"); !strings.HasPrefix(w.Body.String(), "go 1.") {
		t.Errorf("trace: %d %.20q", w.Code, w.Body.String())
	}
	if w := get("/debug/pprof/goroutine?debug=2"); !strings.Contains(w.Body.String(), "TestPprof") {
		t.Errorf("goroutines as text: %d", w.Code)
	}
	if w := get("/debug/pprof/cmdline"); strings.Contains(w.Body.String(), "-test.") {
		t.Errorf("cmdline shows flags: %s", w.Body)
	}
	for path, want := range map[string]int{
		"/debug/pprof/nothing":            404,
		"/debug/pprof/profile?seconds=x":  400,
		"/debug/pprof/profile?seconds=-1": 400,
		"/debug/pprof/trace?seconds=1e9":  400,
	} {
		if w := get(path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// TestDefaultMuxStaysClean: whoever embeds a node and serves http.DefaultServeMux must not serve our profiles.
func TestDefaultMuxStaysClean(t *testing.T) {
	w := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/heap", nil))
	if w.Code != 404 {
		t.Errorf("status %d", w.Code)
	}
}

func TestAdminOff(t *testing.T) {
	s := start(t, Config{AdminListen: Off})
	if s.AdminAddr() != nil {
		t.Errorf("admin listens on %v", s.AdminAddr())
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// TestStopEndsProfiles: a profile of half a minute must not hold up the end.
func TestStopEndsProfiles(t *testing.T) {
	s := start(t, Config{})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		resp, err := httpClient.Get("http://" + s.AdminAddr().String() + "/debug/pprof/trace?seconds=100")
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	eventually(t, "tracing", func() bool {
		_, body := s.askAdmin(t, "/debug/pprof/goroutine?debug=2")
		return strings.Contains(body, "node.record(")
	})
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took >= time.Second {
		t.Errorf("stopped after %v: the profile was not told to end", took)
	}
	<-answered
}

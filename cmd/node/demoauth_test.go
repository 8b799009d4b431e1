package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/auth"
)

var jwtSecret = strings.Repeat("s", auth.MinSecret)

func demoHandlerOf(t *testing.T, origins ...string) (http.Handler, *auth.Verifier) {
	t.Helper()
	v, err := auth.NewVerifier(auth.Options{Secret: []byte(jwtSecret), Demo: true})
	if err != nil {
		t.Fatal(err)
	}
	return &demoTokens{verifier: v, origins: origins}, v
}

func TestDemoToken(t *testing.T) {
	h, v := demoHandlerOf(t)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", demoTokenPath+"?user="+url.QueryEscape("Zoë Lee"), nil))
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if id, err := v.Verify(strings.TrimSpace(w.Body.String())); err != nil || id.UserID != "Zoë Lee" {
		t.Errorf("user %q, %v", id.UserID, err)
	}
}

func TestDemoTokenRefuses(t *testing.T) {
	h, _ := demoHandlerOf(t)
	for _, tt := range []struct {
		method, query string
		status        int
		text          string
	}{
		{"GET", "", 400, "no name: add ?user=NAME"},
		{"GET", "?user=", 400, "no name"},
		{"GET", "?user=" + strings.Repeat("x", 65), 400, "more than 64 characters"},
		{"GET", "?user=a%00b", 400, "cannot be printed"},
		{"GET", "?user=%ff", 400, "not UTF-8"},
		{"POST", "?user=ann", 405, "use GET"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, demoTokenPath+tt.query, nil))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%s %s: %d %s", tt.method, tt.query, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: may be kept", tt.method, tt.query)
		}
	}
}

func TestDemoTokenOrigins(t *testing.T) {
	for _, tt := range []struct {
		allowed []string
		origin  string
		want    string
	}{
		{nil, "https://a.example", ""},
		{[]string{"https://a.example"}, "https://a.example", "https://a.example"},
		{[]string{"https://a.example"}, "https://b.example", ""},
		{[]string{"*"}, "https://b.example", "https://b.example"},
		{[]string{"*"}, "", ""},
	} {
		h, _ := demoHandlerOf(t, tt.allowed...)
		for _, method := range []string{"GET", "OPTIONS"} {
			r := httptest.NewRequest(method, demoTokenPath+"?user=ann", nil)
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != tt.want || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s, allowed %v, from %q: %q, Vary %q", method, tt.allowed, tt.origin, got, w.Header().Get("Vary"))
			}
		}
	}
}

// TestDemoModes checks who gets in, in each of the four combinations of demo and auth.
func TestDemoModes(t *testing.T) {
	negotiate := func(p *process, query string) int {
		resp, err := http.Post("http://"+p.client+hubPath+"/negotiate?negotiateVersion=1"+query, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	t.Run("neither Redis nor auth: on", func(t *testing.T) {
		p := launch(t)
		p.log.wait(t, "the user id in ?user=NAME is taken unverified")
		if status, _ := p.get(p.client + "/"); status != 200 {
			t.Errorf("page: %d", status)
		}
		if status, _ := p.get(p.client + demoTokenPath + "?user=ann"); status != 404 {
			t.Errorf("token: %d", status)
		}
		if status := negotiate(p, "&user=a%00b"); status != 401 {
			t.Errorf("a bad name: %d", status)
		}
		if who, _ := dial(t, p, "?user=ann").whoAmI(); !strings.Contains(who, `"userId":"ann"`) {
			t.Errorf("WhoAmI: %s", who)
		}
	})
	t.Run("off", func(t *testing.T) {
		p := launch(t, "--demo=false")
		if status, _ := p.get(p.client + "/"); status != 404 {
			t.Errorf("page: %d", status)
		}
		if who, _ := dial(t, p, "?user=ann").whoAmI(); !strings.Contains(who, `"userId":null`) {
			t.Errorf("an unverified user is taken without the demo: %s", who)
		}
	})
	var token string
	t.Run("on with auth", func(t *testing.T) {
		p := launch(t, "--demo", "--auth-jwt-secret="+jwtSecret, "--auth-jwt-issuer=https://issuer.example")
		p.log.wait(t, "gives a valid token for any name to anyone")
		if status := negotiate(p, "&user=ann"); status != 401 {
			t.Errorf("without a token: %d", status)
		}
		var status int
		if status, token = p.get(p.client + demoTokenPath + "?user=ann"); status != 200 {
			t.Fatalf("token: %d %s", status, token)
		}
		token = strings.TrimSpace(token)
		if who, _ := dial(t, p, "?user=eve&access_token="+token).whoAmI(); !strings.Contains(who, `"userId":"ann"`) {
			t.Errorf("WhoAmI: %s", who)
		}
	})
	t.Run("auth turns it off", func(t *testing.T) {
		p := launch(t, "--auth-jwt-secret="+jwtSecret)
		if status, _ := p.get(p.client + "/"); status != 404 {
			t.Errorf("page: %d", status)
		}
		if status, _ := p.get(p.client + demoTokenPath + "?user=ann"); status != 404 {
			t.Errorf("token: %d", status)
		}
		if status := negotiate(p, "&access_token="+token); status != 401 {
			t.Errorf("a demo's token without the demo: %d", status)
		}
	})
}

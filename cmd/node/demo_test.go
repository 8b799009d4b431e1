package main

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installedClient is where npm ci in cmd/node/demo puts the official client, seen from this package's folder.
const installedClient = "demo/node_modules/@microsoft/signalr/dist/browser/signalr.min.js"

func getDemo(t *testing.T, cfg demoConfig, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	demoHandler(cfg).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDemoPage(t *testing.T) {
	present := filepath.Join(t.TempDir(), "signalr.min.js")
	if err := os.WriteFile(present, []byte("// the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(t.TempDir(), "none.js")
	const always = "default-src 'none'; script-src 'self'"
	tests := []struct {
		name, client, script, policy string
	}{
		{"client installed", present, `<script src="/demo/signalr.min.js" defer>`, always + "; "},
		{"client missing", absent, `<script src="` + clientCDN + `" integrity="` + clientIntegrity + `" crossorigin="anonymous" defer>`, always + " " + clientCDN + "; "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := demoConfig{HubPath: "/chat", TokenPath: "/demo/token", NodeName: `<b>"n"`, ClientFile: test.client}
			resp := getDemo(t, cfg, "GET", "http://chat.example:8080/")
			page := body(t, resp)
			if !strings.Contains(html.UnescapeString(page), test.script) {
				t.Errorf("the page lacks %s", test.script)
			}
			for _, want := range []string{`data-hub="/chat"`, `data-token="/demo/token"`, `&lt;b&gt;&#34;n&#34;`} {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %s", want)
				}
			}
			policy := resp.Header.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, test.policy) {
				t.Errorf("policy %q does not begin with %q", policy, test.policy)
			}
			if want := "connect-src 'self' ws://chat.example:8080 wss://chat.example:8080; "; !strings.Contains(policy, want) {
				t.Errorf("policy %q lacks %q", policy, want)
			}
		})
	}
}

func TestDemoRoutes(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "none.js")
	tests := []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"POST", "/", 405, ""},
		{"GET", "/demo/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/demo/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/demo/icon.svg", 200, "image/svg+xml"},
		{"GET", "/demo/signalr.min.js", 404, ""},
		{"GET", "/demo/index.html", 404, ""},
		{"GET", "/demo/", 404, ""},
		{"GET", "/demo", 404, ""},
		{"GET", "/demo/../demo.go", 307, ""},
		{"GET", "/demo/package.json", 404, ""},
		{"GET", "/other", 404, ""},
	}
	for _, test := range tests {
		resp := getDemo(t, demoConfig{HubPath: "/chat", ClientFile: absent}, test.method, test.path)
		if resp.StatusCode != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, resp.StatusCode, test.status)
		}
		if got := resp.Header.Get("Content-Type"); test.contentType != "" && got != test.contentType {
			t.Errorf("%s %s: content type %q, want %q", test.method, test.path, got, test.contentType)
		}
	}
}

// TestDemoAssetsAreRevalidated: a browser may keep them, but asks each time.
func TestDemoAssetsAreRevalidated(t *testing.T) {
	first := getDemo(t, demoConfig{}, "GET", "/demo/app.js")
	etag := first.Header.Get("ETag")
	if etag == "" || first.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("headers %v, want an ETag and no-cache", first.Header)
	}
	if again := getDemo(t, demoConfig{}, "GET", "/demo/app.js", "If-None-Match", etag); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with the ETag: status %d, want 304", again.StatusCode)
	}
}

// TestDemoPolicyHost: a Host header with more than a host in it must not get into the policy.
func TestDemoPolicyHost(t *testing.T) {
	policy := demoPolicy("x; script-src *", clientRoute)
	if !strings.Contains(policy, "connect-src 'self'; ") || strings.Contains(policy, "*") {
		t.Errorf("policy %q took over what the Host header said", policy)
	}
}

// TestDemoClientPinned: the CDN must be asked for the version and the bytes that npm installs.
func TestDemoClientPinned(t *testing.T) {
	lock, err := os.ReadFile("demo/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var locked struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(lock, &locked); err != nil {
		t.Fatal(err)
	}
	if got := locked.Packages["node_modules/@microsoft/signalr"].Version; got != clientVersion {
		t.Errorf("package-lock.json has @microsoft/signalr %s, demo.go has %s", got, clientVersion)
	}

	script, err := os.ReadFile(installedClient)
	if err != nil {
		const help = "the official client is not installed: run npm ci in cmd/node/demo, or make setup"
		if os.Getenv("CI") != "" {
			t.Fatal(help)
		}
		t.Skip("NOT RUN: ", help)
	}
	sum := sha512.Sum384(script)
	if got := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); got != clientIntegrity {
		t.Errorf("the installed client's hash is %s, demo.go has %s", got, clientIntegrity)
	}
}

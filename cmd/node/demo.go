package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// The official browser client is not part of this repository. The page takes it from the npm package beside its
// sources when that is installed, else from a public CDN, which must deliver the very file of the same version.
const (
	clientVersion   = "10.0.11"
	clientIntegrity = "sha384-N+pL/4qXZHZcvsa6hVMd5/7cdF3lC59ZMNHeQyRo5q9jmC7yw0hcJILPjUDSU7ZS"
	clientCDN       = "https://cdn.jsdelivr.net/npm/@microsoft/signalr@" + clientVersion + "/dist/browser/signalr.min.js"
	clientRoute     = "/demo/signalr.min.js"
)

// clientFiles are the places where the client may lie, relative to the working directory, the best first.
var clientFiles = []string{
	"cmd/node/demo/node_modules/@microsoft/signalr/dist/browser/signalr.min.js",
	"node_modules/@microsoft/signalr/dist/browser/signalr.min.js",
}

//go:embed demo/index.html demo/*.css demo/*.js demo/icon.svg
var demoFiles embed.FS

var demoPage = template.Must(template.ParseFS(demoFiles, "demo/index.html"))

// demoConfig is what the page must know of the node that serves it.
type demoConfig struct {
	// HubPath is the URL path of the sample hub.
	HubPath string
	// TokenPath is the URL path that gives a token for ?user=NAME. Empty means that the hub takes ?user=NAME itself.
	TokenPath string
	// NodeName is the node that served the page; the connection may end on another.
	NodeName string
	// ClientFile is the official client's browser build on disk. Empty means to look where npm puts it.
	ClientFile string
}

// client finds the official client on disk, or returns "".
func (c demoConfig) client() string {
	files := clientFiles
	if c.ClientFile != "" {
		files = []string{c.ClientFile}
	}
	for _, file := range files {
		if info, err := os.Stat(filepath.FromSlash(file)); err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}

// demoHandler serves the demo page at / and what it consists of below /demo/.
func demoHandler(cfg demoConfig) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { serveDemoPage(w, r, cfg) })
	mux.HandleFunc("GET "+clientRoute, func(w http.ResponseWriter, r *http.Request) {
		file := cfg.client()
		if file == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFile(w, r, filepath.FromSlash(file))
	})
	entries, err := fs.ReadDir(demoFiles, "demo")
	if err != nil {
		panic(err) // the files are in the binary
	}
	for _, entry := range entries {
		if entry.Name() != "index.html" {
			mux.Handle("GET /demo/"+entry.Name(), demoAsset(entry.Name()))
		}
	}
	return mux
}

// demoAsset serves one embedded file. A browser asks each time whether it changed, so that a new binary is a new page.
func demoAsset(name string) http.Handler {
	content, err := demoFiles.ReadFile(path.Join("demo", name))
	if err != nil {
		panic(err) // the files are in the binary
	}
	sum := sha256.Sum256(content)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}

func serveDemoPage(w http.ResponseWriter, r *http.Request, cfg demoConfig) {
	script, integrity := clientCDN, clientIntegrity
	if cfg.client() != "" {
		script, integrity = clientRoute, ""
	}
	var page bytes.Buffer
	err := demoPage.Execute(&page, map[string]string{
		"Script": script, "Integrity": integrity,
		"HubPath": cfg.HubPath, "TokenPath": cfg.TokenPath, "NodeName": cfg.NodeName,
	})
	if err != nil {
		http.Error(w, "the demo page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", demoPolicy(r.Host, script))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store") // the next one may name another node or another source of the client
	_, _ = w.Write(page.Bytes())       // a client that left needs no answer
}

// plainHost is a host and port that may stand in a header as it came.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// demoPolicy lets the page load its own files and the one script, and talk to its own host, and nothing else.
func demoPolicy(host, script string) string {
	connect := "'self'"
	if plainHost.MatchString(host) { // older browsers do not count ws: as the page's own origin
		connect += fmt.Sprintf(" ws://%s wss://%s", host, host)
	}
	scripts := "'self'"
	if strings.HasPrefix(script, "https://") {
		scripts += " " + script
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + scripts, "style-src 'self'", "img-src 'self'", "connect-src " + connect,
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	}, "; ")
}

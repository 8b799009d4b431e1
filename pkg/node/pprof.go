package node

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// maxProfile bounds how long a profile or a trace may run.
const maxProfile = 5 * time.Minute

// pprofHandler serves what "go tool pprof" and "go tool trace" ask for. The package net/http/pprof is not used: merely
// importing it puts the profiles on http.DefaultServeMux, which programs that embed a node may serve to everyone.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/{$}", servePprofIndex)
	mux.HandleFunc("GET /debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		fmt.Fprint(w, os.Args[0]) // flags may hold secrets
	})
	mux.HandleFunc("GET /debug/pprof/profile", func(w http.ResponseWriter, r *http.Request) {
		record(w, r, 30*time.Second, func() error { return pprof.StartCPUProfile(w) }, pprof.StopCPUProfile)
	})
	mux.HandleFunc("GET /debug/pprof/trace", func(w http.ResponseWriter, r *http.Request) {
		record(w, r, time.Second, func() error { return trace.Start(w) }, trace.Stop)
	})
	mux.HandleFunc("GET /debug/pprof/{name}", serveProfile)
	return mux
}

func servePprofIndex(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(w, "%8d %s\n", p.Count(), p.Name())
	}
	fmt.Fprintf(w, "%8s profile?seconds=30\n%8s trace?seconds=1\n%8s cmdline\n", "", "", "")
}

// serveProfile serves one of the named profiles, as text with ?debug=1 or 2. ?gc=1 collects garbage first.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	if gc, _ := strconv.Atoi(r.FormValue("gc")); gc > 0 && p.Name() == "heap" {
		runtime.GC()
	}
	if debug > 0 {
		plain(w)
	} else {
		binary(w, p.Name())
	}
	_ = p.WriteTo(w, debug) // the client has left
}

// record runs a profile for ?seconds=N, or until the client leaves.
func record(w http.ResponseWriter, r *http.Request, d time.Duration, start func() error, stop func()) {
	if text := r.FormValue("seconds"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		d = time.Duration(seconds * float64(time.Second))
		if err != nil || d <= 0 || d > maxProfile {
			http.Error(w, fmt.Sprintf("seconds must be a number from 0 to %.0f", maxProfile.Seconds()), http.StatusBadRequest)
			return
		}
	}
	binary(w, strings.TrimPrefix(r.URL.Path, "/debug/pprof/"))
	if err := start(); err != nil {
		w.Header().Del("Content-Disposition")
		http.Error(w, "another profile is being taken: "+err.Error(), http.StatusConflict)
		return
	}
	defer stop()
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func binary(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

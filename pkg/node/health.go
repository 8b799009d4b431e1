package node

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// check is one condition of being ready.
type check struct {
	name  string
	up    bool
	ever  bool // was up at least once
	since time.Time
	err   error // why it is not up
}

// checks are the conditions as they are now.
func (n *Node) checks() []check {
	var list []check
	if n.backplane != nil {
		s := n.backplane.State()
		list = append(list, check{"backplane", s.Up, s.EverUp, s.Since, s.Err})
	}
	if n.cluster != nil {
		s := n.cluster.State()
		list = append(list, check{"cluster", s.Up, s.EverUp, s.Since, s.Err})
		if since, err := n.cluster.Disagreement(); err != nil {
			list = append(list, check{"secret", false, true, since, err})
		}
	}
	if n.presence != nil {
		s := n.presence.State()
		list = append(list, check{"presence", s.Up, s.EverUp, s.Since, s.Err})
	}
	return list
}

// errStopping is why a node that stops is not ready.
var errStopping = errors.New("the node is stopping")

// unready says why no new clients should be sent here; nil if they should. A link that worked once and does not now is no
// reason: every node loses Redis at the same moment, and with none ready nobody could connect at all.
func (n *Node) unready() error {
	if n.stopping.Load() {
		return errStopping
	}
	for _, c := range n.checks() {
		switch {
		case c.up || c.ever:
		case c.err == nil:
			return fmt.Errorf("%s: waiting for the first contact with Redis", c.name)
		default:
			return fmt.Errorf("%s: waiting for the first contact with Redis: %w", c.name, c.err)
		}
	}
	return nil
}

// serveHealth says that the process runs. It asks nobody: a restart mends nothing that is wrong elsewhere.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	fmt.Fprintln(w, "ok")
}

// serveReady says whether clients should be sent here: 200 "ok", 200 "degraded", or 503 "not ready", each with the
// reasons; ?verbose adds the rest.
func (n *Node) serveReady(w http.ResponseWriter, r *http.Request) {
	plain(w)
	checks := n.checks()
	if err := n.unready(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: %s\n", oneLine(err))
	} else {
		fmt.Fprintln(w, verdict(checks))
	}
	verbose := r.URL.Query().Has("verbose")
	if verbose {
		fmt.Fprintf(w, "node: %s\n", n.name)
	}
	for _, c := range checks {
		if verbose || !c.up && c.ever {
			fmt.Fprintln(w, c)
		}
	}
}

// verdict is the first line for a node that is ready.
func verdict(checks []check) string {
	for _, c := range checks {
		if !c.up {
			return "degraded"
		}
	}
	return "ok"
}

// String is the check on one line.
func (c check) String() string {
	since := fmt.Sprintf("since %s (%s)", c.since.UTC().Format(time.RFC3339), time.Since(c.since).Round(time.Second))
	switch {
	case c.up:
		return fmt.Sprintf("%s: ok %s", c.name, since)
	case c.ever:
		return fmt.Sprintf("%s: degraded %s: %s", c.name, since, oneLine(c.err))
	}
	return fmt.Sprintf("%s: waiting %s: %s", c.name, since, oneLine(c.err))
}

// oneLine is the text of an error, which may have been joined of several, without line breaks.
func oneLine(err error) string {
	if err == nil {
		return "no reason known yet"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// plain announces text that must not be kept.
func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A report tells what happens: to a person as lines, to a program as JSON objects. It is safe for concurrent use.
type report struct {
	mu     sync.Mutex
	json   bool
	stdout io.Writer
	stderr io.Writer
}

// An event is one line of the JSON output.
type event struct {
	Event  string      `json:"event"` // "ready", "started" or "exited"
	Name   string      `json:"name,omitempty"`
	PID    int         `json:"pid,omitempty"`
	Status string      `json:"status,omitempty"` // of "exited": "exit status 1", "signal: killed"
	URL    string      `json:"url,omitempty"`    // of "ready": the proxy
	Redis  string      `json:"redis,omitempty"`
	Nodes  []nodeEvent `json:"nodes,omitempty"`
}

// A nodeEvent describes one node in "ready".
type nodeEvent struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Admin string `json:"admin"`
	PID   int    `json:"pid"`
}

func newReport(asJSON bool, stdout, stderr io.Writer) *report {
	return &report{json: asJSON, stdout: stdout, stderr: stderr}
}

// ready says that everything runs and where.
func (r *report) ready(e event) {
	e.Event = "ready"
	if r.json {
		r.emit(e)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Hubfleet is running. Open the page twice; each window may land on another node.\n\n")
	fmt.Fprintf(&b, "    %-9s %-25s round robin over all nodes\n", "page", e.URL)
	for _, n := range e.Nodes {
		fmt.Fprintf(&b, "    %-9s %-25s admin %s\n", n.Name, n.URL, n.Admin)
	}
	if e.Redis != "" {
		fmt.Fprintf(&b, "    %-9s %s\n", "redis", e.Redis)
	}
	fmt.Fprintf(&b, "\n  Type  kill 2,  stop 2  or  start 2  to play; Ctrl-C ends it all.\n\n")
	r.write(r.stdout, b.String())
}

func (r *report) started(name string, pid int) {
	if r.json {
		r.emit(event{Event: "started", Name: name, PID: pid})
	}
}

func (r *report) exited(name, status string, wanted bool) {
	switch {
	case r.json:
		r.emit(event{Event: "exited", Name: name, Status: status})
	case !wanted:
		r.note("%s ended: %s. Type  start %s  to start it again.", name, status, name)
	}
}

// note is for people only.
func (r *report) note(format string, args ...any) {
	r.write(r.stderr, fmt.Sprintf("cluster │ "+format+"\n", args...))
}

func (r *report) emit(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // it has nothing but strings and numbers
	}
	r.write(r.stdout, string(line)+"\n")
}

func (r *report) write(w io.Writer, s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(w, s) // nobody is left to be told
}

// logs returns a writer that puts the name in front of each line. Unended lines wait for their end, up to maxLine.
func (r *report) logs(name string) io.Writer {
	return &prefixer{report: r, prefix: fmt.Sprintf("%-7s │ ", name)}
}

const maxLine = 64 << 10

type prefixer struct {
	report *report
	prefix string
	rest   []byte
}

// Write is called by one goroutine at a time.
func (p *prefixer) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		end := bytes.IndexByte(p.rest, '\n')
		if end < 0 && len(p.rest) < maxLine {
			return len(b), nil
		}
		line := p.rest
		if end >= 0 {
			line = p.rest[:end]
		}
		p.report.write(p.report.stderr, p.prefix+string(line)+"\n")
		p.rest = p.rest[min(len(line)+1, len(p.rest)):]
	}
}

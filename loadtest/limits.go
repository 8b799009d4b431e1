package main

import (
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
)

// spareFiles are files that a process has open besides connections.
const spareFiles = 100

// reach is what this machine lets a run do.
type reach struct {
	Files   int `json:"files"`   // open files of one process
	Ports   int `json:"ports"`   // of one local address to one server
	Workers int `json:"workers"` // processes
	Sources int `json:"sources"` // local addresses; 0: the system's choice
	Cores   int `json:"cores"`   // that this process may run on
}

// plan finds out how many processes and local addresses a run takes, and writes down what it can reach. The error
// says what stands in its way.
func (r *reach) plan(p *plan, workers int, out io.Writer) error {
	var err error
	if r.Files, err = openFiles(); err != nil {
		return fmt.Errorf("the limit on open files: %w", err)
	}
	r.Ports, r.Cores = portsPerAddress(), runtime.NumCPU()
	total := p.Connections + p.Senders
	each := max(r.Files-spareFiles, 1)
	r.Workers = workers
	if r.Workers == 0 {
		r.Workers = (total + each - 1) / each
	}
	servers := distinctHosts(append(slices.Clone(p.URLs), p.SenderURLs...))
	perServer := (total + servers - 1) / max(servers, 1)
	r.Sources = p.Sources
	const wanted = 9 // of ten ports: the rest are in use, or were until a moment ago
	usable := r.Ports * wanted / 10
	if r.Sources == 0 && perServer > usable {
		r.Sources = (perServer + usable - 1) / usable
	}
	byFiles, byPorts := r.Workers*each, max(r.Sources, 1)*usable*servers
	fmt.Fprintf(out, "limits: %d open files in each of %s, %d ports for each of %s to each of %s: up to %d connections; %d asked for\n",
		r.Files, count(r.Workers, "process", "processes"), r.Ports, count(max(r.Sources, 1), "local address", "local addresses"),
		count(servers, "server", "servers"), min(byFiles, byPorts), total)
	switch {
	case total > byFiles:
		return fmt.Errorf("%d connections are more than %s with %d open files can have: raise the limit (ulimit -n), or use --workers %d",
			total, count(r.Workers, "process", "processes"), r.Files, (total+each-1)/each)
	case total > byPorts:
		return fmt.Errorf("%d connections are more than %s with %d ports can have: use --source-addresses %d",
			total, count(max(r.Sources, 1), "local address", "local addresses"), r.Ports, (perServer+usable-1)/usable)
	}
	p.Sources, p.Workers = r.Sources, r.Workers
	return nil
}

// servers checks that the processes given can have so many connections.
func (r *reach) servers(p *plan, pids []int, out io.Writer) {
	room := 0
	for _, pid := range pids {
		limit, open, err := filesOf(pid)
		if err != nil {
			return
		}
		room += max(limit-open, 0)
	}
	if total := p.Connections + p.Senders; len(pids) > 0 && room < total {
		fmt.Fprintf(out, "warning: the processes given may open %d more files, and %d connections are asked for\n", room, total)
	}
}

func distinctHosts(urls []string) int {
	seen := make(map[string]struct{})
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil {
			seen[u.Host] = struct{}{}
		}
	}
	return len(seen)
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

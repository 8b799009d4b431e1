package clustertest

import (
	"fmt"
	"strconv"
	"strings"
)

// A reading is what a process has counted of its own troubles. Losses and failed calls are permitted where it has counted, and
// nowhere else: never silence.
type reading struct {
	process string
	gaps    float64 // interruptions of its subscription link
	failed  float64 // publish calls
	slow    float64 // clients
	leases  float64 // lost
}

// read asks all nodes that run.
func (f *fleet) read() map[string]reading {
	all := map[string]reading{}
	for _, n := range f.nodes {
		if !n.runs() {
			continue
		}
		_, text, err := n.ask("/metrics")
		if err != nil {
			f.t.Errorf("%s: %v", n.process(), err)
			continue
		}
		r := reading{process: n.process()}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			v, _ := strconv.ParseFloat(value, 64)
			switch base, labels, _ := strings.Cut(name, "{"); base {
			case "hubfleet_backplane_gaps_total":
				r.gaps += v
			case "hubfleet_slow_clients_total":
				r.slow += v
			case "hubfleet_leases_lost_total":
				r.leases += v
			case "hubfleet_backplane_publishes_total":
				if !strings.Contains(labels, `"sent"`) {
					r.failed += v
				}
			}
		}
		all[r.process] = r
	}
	return all
}

// since is what a process has counted since an earlier reading.
func (r reading) since(before reading) reading {
	return reading{r.process, r.gaps - before.gaps, r.failed - before.failed, r.slow - before.slow, r.leases - before.leases}
}

// trouble says what a process has counted; empty for nothing.
func (r reading) trouble() string {
	if r == (reading{process: r.process}) {
		return ""
	}
	return fmt.Sprintf("%s counted %v gaps, %v failed publish calls, %v slow clients and %v lost leases",
		r.process, r.gaps, r.failed, r.slow, r.leases)
}

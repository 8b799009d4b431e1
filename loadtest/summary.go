package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// machine is where a run took place.
type machine struct {
	System  string `json:"system"`
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Version string `json:"version"` // of Go
}

func thisMachine() machine {
	m := machine{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Version: runtime.Version()}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// summary is one target over all rounds: medians.
type summary struct {
	Target     string  `json:"target"`
	Rounds     int     `json:"rounds"`
	Rate       float64 `json:"rate"` // delivered in a second
	P50        float64 `json:"p50"`  // milliseconds
	P99        float64 `json:"p99"`
	Max        float64 `json:"max"`
	PerMessage float64 `json:"perMessage"` // microseconds of CPU of the target for each delivered; 0: not known
	Share      float64 `json:"share"`      // of a core, that the target used
	Memory     float64 `json:"memory"`     // bytes for each connection
	Own        float64 `json:"own"`        // share of a core that the load test used
	Ratio      float64 `json:"ratio"`      // PerMessage beside that of the first target; 0: not known
}

// sumUp fills in what follows from the results.
func (o *outcome) sumUp() {
	var names []string
	by := make(map[string][]*result)
	for _, r := range o.Results {
		if by[r.Target] == nil {
			names = append(names, r.Target)
		}
		by[r.Target] = append(by[r.Target], r)
		o.Failures = append(o.Failures, r.complaints()...)
	}
	for _, name := range names {
		s := summarizeRounds(by[name])
		if len(o.Targets) > 0 && o.Targets[0].PerMessage > 0 {
			s.Ratio = s.PerMessage / o.Targets[0].PerMessage
		} else if len(o.Targets) == 0 && s.PerMessage > 0 {
			s.Ratio = 1
		}
		o.Targets = append(o.Targets, s)
	}
}

func summarizeRounds(rounds []*result) summary {
	of := func(f func(*result) float64) float64 {
		values := make([]float64, 0, len(rounds))
		for _, r := range rounds {
			values = append(values, f(r))
		}
		return median(values)
	}
	return summary{
		Target: rounds[0].Target, Rounds: len(rounds),
		Rate: of(func(r *result) float64 { return float64(r.Delivered) / r.Seconds }),
		P50:  of(func(r *result) float64 { return r.Latency.P50 }),
		P99:  of(func(r *result) float64 { return r.Latency.P99 }),
		Max:  of(func(r *result) float64 { return r.Latency.Max }),
		Own:  of(func(r *result) float64 { return r.Own.Share }),

		PerMessage: of((*result).perMessage),
		Share:      of((*result).share),
		Memory:     of((*result).perConnection),
	}
}

func (r *result) share() float64 {
	sum := 0.0
	for _, u := range r.Processes {
		if !u.Beside {
			sum += u.Share
		}
	}
	return sum
}

// perConnection is the memory that came with each connection, in all processes of the target together.
func (r *result) perConnection() float64 {
	sum := 0.0
	for _, u := range r.Processes {
		if !u.Beside {
			sum += u.PerConnection
		}
	}
	return sum
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 0 {
		return (values[mid-1] + values[mid]) / 2
	}
	return values[mid]
}

// complaints says in sentences what a target did wrong.
func (r *result) complaints() []string {
	var out []string
	say := func(n int64, what string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s, round %d: %s %s", r.Target, r.Round, thousands(n), what))
		}
	}
	v := r.Verdict
	say(v.Lost, "lost")
	say(v.Doubled, "doubled")
	say(v.OutOfOrder, "out of order")
	say(v.Misrouted, "at a connection that they were not for")
	say(v.Damaged, "damaged")
	for _, text := range sortedKeys(r.Errors) {
		say(r.Errors[text], "× "+text)
	}
	if r.Connected == 0 {
		out = append(out, fmt.Sprintf("%s, round %d: nobody could connect", r.Target, r.Round))
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (o *outcome) writeJSON(name string) error {
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

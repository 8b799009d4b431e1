package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeText prints what came of it, for a terminal.
func (o *outcome) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s\n", o.Title)
	if len(o.Results) == 1 {
		o.Results[0].writeText(w)
	} else {
		o.writeTable(w)
	}
	for _, r := range o.Results {
		if limit := float64(r.Reach.Cores); r.Own.Share > 0.8*limit && limit > 0 {
			fmt.Fprintf(w, "note: loadtest itself used %.0f %% of a core of %d in %s, round %d; it may have been what was slow\n",
				100*r.Own.Share, r.Reach.Cores, r.Target, r.Round)
		}
	}
	for _, f := range o.Failures {
		fmt.Fprintln(w, "FAILED  "+f)
	}
	if len(o.Failures) == 0 && len(o.Results) > 0 {
		fmt.Fprintln(w, o.praise())
	}
}

// praise says what was checked.
func (o *outcome) praise() string {
	p := &o.Results[0].Plan
	if p.messages() || p.Scenario == scenarioEcho || p.Scenario == scenarioStreams {
		return "ok: nothing lost, doubled or out of order"
	}
	return "ok: no errors"
}

func (r *result) writeText(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("connections", "%s in %.1f s, handshakes %s p50, %s p99, %s max", thousands(r.Connected), r.ConnectSeconds,
		milliseconds(r.Connecting.P50), milliseconds(r.Connecting.P99), milliseconds(r.Connecting.Max))
	row("measured", "%.1f s", r.Seconds)
	if r.Plan.Scenario == scenarioIdle {
		row("pings received", "%s", thousands(r.Pings))
	} else {
		row("sent", "%s, %s/s", thousands(r.Sent), thousands(int64(float64(r.Sent)/r.Seconds)))
		row("delivered", "%s, %s/s", thousands(r.Delivered), thousands(int64(float64(r.Delivered)/r.Seconds)))
		l := r.Latency
		row("latency", "%s p50, %s p90, %s p99, %s p99.9, %s max", milliseconds(l.P50), milliseconds(l.P90),
			milliseconds(l.P99), milliseconds(l.P999), milliseconds(l.Max))
	}
	for _, u := range r.Processes {
		cost := ""
		if u.PerMessage > 0 {
			cost = fmt.Sprintf(", %.2f µs for each delivered", u.PerMessage)
		}
		row(fmt.Sprintf("%s (%d)", u.Name, u.PID), "%.1f %% of a core%s; %s resident, %s for each connection",
			100*u.Share, cost, mebibytes(u.Memory), kibibytes(u.PerConnection))
	}
	row("loadtest itself", "%.1f %% of a core, of %d", 100*r.Own.Share, r.Reach.Cores)
	t.Flush()
}

func (o *outcome) writeTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "target\tdelivered/s\tp50\tp99\tmax\tCPU each\tratio\tserver CPU\tmemory/conn\tloadtest CPU\t")
	for _, s := range o.Targets {
		each, ratio, share, memory := "–", "–", "–", "–"
		if s.PerMessage > 0 {
			each, ratio = fmt.Sprintf("%.2f µs", s.PerMessage), fmt.Sprintf("%.2f", s.Ratio)
		}
		if s.Share > 0 {
			share, memory = fmt.Sprintf("%.0f %%", 100*s.Share), kibibytes(s.Memory)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f %%\t\n", s.Target, thousands(int64(s.Rate)),
			milliseconds(s.P50), milliseconds(s.P99), milliseconds(s.Max), each, ratio, share, memory, 100*s.Own)
	}
	t.Flush()
	if rounds := o.Targets[0].Rounds; rounds > 1 {
		fmt.Fprintf(w, "medians of %d rounds\n", rounds)
	}
}

// thousands writes a number in groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// milliseconds writes a latency with a unit that fits.
func milliseconds(ms float64) string {
	switch {
	case ms == 0:
		return "–"
	case ms < 1:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

func mebibytes(n int64) string   { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func kibibytes(n float64) string { return fmt.Sprintf("%.1f KiB", n/(1<<10)) }

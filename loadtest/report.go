package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"thousands": func(v float64) string { return thousands(int64(v)) },
	"integer":   thousands,
	"ms":        milliseconds,
	"kib":       kibibytes,
	"mib":       mebibytes,
	"percent":   func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
	"micro":     func(v float64) string { return fmt.Sprintf("%.2f µs", v) },
	"ratio":     func(v float64) string { return fmt.Sprintf("%.2f", v) },
}).Parse(reportPage))

// page is what the report shows.
type page struct {
	*outcome
	Failed   bool
	Praise   string
	Started  string
	Setup    []setting
	Rows     []row
	Charts   []drawn
	Messages bool // something was delivered
	Single   *result
}

// setting is one line of how it was measured.
type setting struct{ Name, Value string }

// row is a target in the table.
type row struct {
	summary
	Color int
	Bar   float64 // percent of the largest cost
}

// drawn is a chart with its legend.
type drawn struct {
	Title, Note string
	SVG         template.HTML
	Legend      []series
}

// Name and Color are for the template.
func (s series) Name() string { return s.name }

// Color is the number of the series' colour.
func (s series) Color() int { return s.color % colors }

// Dash says whether the line is dashed.
func (s series) Dash() bool { return s.dash }

// writeHTML writes the report, which needs nothing but itself.
func (o *outcome) writeHTML(name string) error {
	p := &page{outcome: o, Failed: len(o.Failures) > 0}
	if len(o.Results) > 0 {
		first := o.Results[0]
		p.Praise, p.Started = o.praise(), first.Started.Format("2 January 2006, 15:04 MST")
		p.Setup = setup(first)
		p.Messages = first.Plan.Scenario != scenarioIdle
		if len(o.Results) == 1 {
			p.Single = first
		}
	}
	most := 0.0
	for _, s := range o.Targets {
		most = max(most, s.PerMessage)
	}
	for i, s := range o.Targets {
		r := row{summary: s, Color: i % colors}
		if most > 0 {
			r.Bar = 100 * s.PerMessage / most
		}
		p.Rows = append(p.Rows, r)
	}
	p.Charts = o.charts()
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, p); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func setup(r *result) []setting {
	p := &r.Plan
	s := []setting{
		{"Scenario", p.Scenario}, {"Hub protocol", p.Protocol}, {"Connections", thousands(int64(p.Connections))},
	}
	add := func(name, format string, args ...any) { s = append(s, setting{name, fmt.Sprintf(format, args...)}) }
	if p.messages() {
		add("Senders", "%d", p.Senders)
	}
	switch p.Scenario {
	case scenarioGroups:
		add("Group size", "%d", p.GroupSize)
	case scenarioUsers:
		add("Connections per user", "%d", p.UserConnections)
	case scenarioStreams:
		add("Items per stream", "%d, %v apart", p.StreamItems, p.StreamDelay)
	case scenarioReconnect:
		add("Storms", "%d, each cuts %d %%", p.Storms, p.Fraction)
	}
	if p.messages() || p.Scenario == scenarioEcho {
		if p.Rate > 0 {
			add("Rate", "%s/s, open loop", thousands(int64(p.Rate)))
		} else {
			add("In flight", "%d, closed loop", p.InFlight)
		}
		add("Message", "%d bytes", p.Payload)
	}
	add("Warm-up and duration", "%v and %v", p.Warmup, p.Duration)
	add("Worker processes", "%d", r.Reach.Workers)
	return s
}

// typical is the round of each target whose cost, or else rate, is the median.
func (o *outcome) typical() []*result {
	var out []*result
	for _, t := range o.Targets {
		var rounds []*result
		for _, r := range o.Results {
			if r.Target == t.Target {
				rounds = append(rounds, r)
			}
		}
		slices.SortFunc(rounds, func(a, b *result) int {
			if d := a.perMessage() - b.perMessage(); d != 0 {
				return int(math.Copysign(1, d))
			}
			return int(a.Delivered - b.Delivered)
		})
		out = append(out, rounds[len(rounds)/2])
	}
	return out
}

func (o *outcome) charts() []drawn {
	results := o.typical()
	if len(results) == 0 {
		return nil
	}
	seconds := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) + " s" }
	latency := func(v float64) string {
		if v == 0 {
			return "0"
		}
		return milliseconds(v)
	}
	percent := func(v float64) string { return fmt.Sprintf("%.0f %%", v) }
	// loaded leaves out the time while connections are opened, whose latencies are those of handshakes.
	over := func(title, note string, loaded bool, y func(float64) string, value func(point) float64) *chart {
		c := &chart{title: title, note: note, x: seconds, y: y}
		for i, r := range results {
			s := series{name: r.Target, color: i}
			for _, pt := range r.Timeline {
				if pt.Seconds > 0.1 && (pt.Phase != phaseConnect || !loaded) {
					s.xs, s.ys = append(s.xs, pt.At), append(s.ys, value(pt))
				}
			}
			c.series = append(c.series, s)
		}
		if len(results) == 1 {
			c.phases = phases(results[0].Timeline)
		}
		return c
	}
	charts := []*chart{
		curve(results),
		over("Delivered", "messages a second, over time", true, short, func(p point) float64 { return float64(p.Delivered) / p.Seconds }),
		over("Latency", "99th percentile of each second, over time", true, latency, func(p point) float64 { return p.P99 }),
		over("CPU of the servers", "share of one core, over time", false, percent, func(p point) float64 { return 100 * sum(p.CPU) }),
		over("Memory of the servers", "resident, over time", false, func(v float64) string { return short(v) + " MiB" }, func(p point) float64 {
			total := int64(0)
			for _, m := range p.Memory {
				total += m
			}
			return float64(total) / (1 << 20)
		}),
		over("Connections", "open, over time", false, short, func(p point) float64 { return float64(p.Open) }),
		over("CPU of the load test", "share of one core, over time: it must not be what is slow", false, percent, func(p point) float64 { return 100 * p.Own }),
	}
	var out []drawn
	for _, c := range charts {
		if !c.tells() {
			continue
		}
		d := drawn{Title: c.title, Note: c.note, SVG: c.svg()}
		if len(c.series) > 1 {
			d.Legend = c.series
		}
		out = append(out, d)
	}
	return out
}

// tells says whether the chart shows anything but zeros.
func (c *chart) tells() bool {
	return slices.ContainsFunc(c.series, func(s series) bool {
		return len(s.ys) > 1 && slices.ContainsFunc(s.ys, func(y float64) bool { return y != 0 })
	})
}

// curve is latency by percentile; each step to the right is a tenth of the messages that were left.
func curve(results []*result) *chart {
	c := &chart{title: "Latency by percentile", note: "from when a message was due; each step leaves out a tenth as many",
		logY: true, y: milliseconds, xTicks: []float64{0, 1, 2, 3, 4, 5},
		x: func(v float64) string {
			return strings.TrimSuffix(strconv.FormatFloat(100-math.Pow(10, 2-v), 'f', max(int(math.Round(v))-2, 0), 64), ".0") + " %"
		}}
	for i, r := range results {
		s := series{name: r.Target, color: i}
		for _, p := range r.Latency.Curve {
			if p.Percentile < 100 {
				s.xs, s.ys = append(s.xs, 2-math.Log10(100-p.Percentile)), append(s.ys, max(p.Ms, 0.001))
			}
		}
		c.series = append(c.series, s)
	}
	return c
}

func phases(points []point) []phase {
	var out []phase
	for _, p := range points {
		if n := len(out); n > 0 && out[n-1].name == p.Phase {
			out[n-1].to = p.At
			continue
		}
		out = append(out, phase{p.Phase, p.At - p.Seconds, p.At})
	}
	return out
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// short writes a number in few letters.
func short(v float64) string {
	switch {
	case math.Abs(v) >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case math.Abs(v) >= 10e3:
		return strconv.FormatFloat(v/1e3, 'f', 0, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

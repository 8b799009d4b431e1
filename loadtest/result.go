package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what came of one turn of one target.
type result struct {
	Target  string    `json:"target"`
	Title   string    `json:"title"`
	Round   int       `json:"round"`
	Plan    plan      `json:"plan"`
	Reach   reach     `json:"reach"`
	Started time.Time `json:"started"`

	Connected      int64     `json:"connected"`
	ConnectSeconds float64   `json:"connectSeconds"`
	Connecting     latencies `json:"connecting"` // of handshakes

	Seconds   float64   `json:"seconds"` // measured
	Sent      int64     `json:"sent"`
	Delivered int64     `json:"delivered"` // messages to connections, answers, items or connections made, as the scenario has it
	Bytes     int64     `json:"bytes"`
	Pings     int64     `json:"pings"`
	Latency   latencies `json:"latency"`

	Verdict verdict          `json:"verdict"`
	Errors  map[string]int64 `json:"errors"`

	Processes []usage `json:"processes"` // those of the target
	Own       usage   `json:"own"`       // this program and its workers
	Timeline  []point `json:"timeline"`
}

// latencies sums up a histogram, in milliseconds.
type latencies struct {
	Count int64     `json:"count"`
	Mean  float64   `json:"mean"`
	P50   float64   `json:"p50"`
	P90   float64   `json:"p90"`
	P99   float64   `json:"p99"`
	P999  float64   `json:"p999"`
	Max   float64   `json:"max"`
	Curve []percent `json:"curve,omitempty"`
}

// percent is one point of the curve of percentiles.
type percent struct {
	Percentile float64 `json:"percentile"`
	Ms         float64 `json:"ms"`
}

func summarize(h *hdrhistogram.Histogram, curve bool) latencies {
	const perMs = 1000.0
	l := latencies{Count: h.TotalCount()}
	if l.Count == 0 {
		return l
	}
	at := func(p float64) float64 { return float64(h.ValueAtPercentile(p)) / perMs }
	l.Mean, l.Max = h.Mean()/perMs, float64(h.Max())/perMs
	l.P50, l.P90, l.P99, l.P999 = at(50), at(90), at(99), at(99.9)
	if curve {
		for _, b := range h.CumulativeDistributionWithTicks(5) {
			l.Curve = append(l.Curve, percent{b.Quantile, float64(b.ValueAt) / perMs})
		}
	}
	return l
}

// usage is what one process used while it was measured.
type usage struct {
	PID           int     `json:"pid,omitempty"`
	Name          string  `json:"name"`
	Beside        bool    `json:"beside,omitempty"` // it is not the target's, but works for it, such as Redis
	CPUSeconds    float64 `json:"cpuSeconds"`
	Share         float64 `json:"share"`         // of one core
	PerMessage    float64 `json:"perMessage"`    // microseconds of CPU for each delivered
	MemoryBefore  int64   `json:"memoryBefore"`  // resident bytes before anyone connected
	Memory        int64   `json:"memory"`        // at the end of the measurement
	MemoryPeak    int64   `json:"memoryPeak"`    // the most that a sample saw
	PerConnection float64 `json:"perConnection"` // bytes that came with each connection
}

// point is one sample on the time line.
type point struct {
	At        float64   `json:"at"` // seconds from the start
	Phase     string    `json:"phase"`
	Measured  bool      `json:"measured"`
	Seconds   float64   `json:"seconds"` // since the point before
	Open      int64     `json:"open"`
	Sent      int64     `json:"sent"`
	Delivered int64     `json:"delivered"`
	Errors    int64     `json:"errors"`
	P50       float64   `json:"p50"`
	P99       float64   `json:"p99"`
	Max       float64   `json:"max"`
	CPU       []float64 `json:"cpu"` // share of a core, of each process of the target
	Memory    []int64   `json:"memory"`
	Own       float64   `json:"own"`
}

// perMessage is the CPU time of all processes of the target for each message delivered, in microseconds.
func (r *result) perMessage() float64 {
	sum := 0.0
	for _, u := range r.Processes {
		if !u.Beside {
			sum += u.PerMessage
		}
	}
	return sum
}

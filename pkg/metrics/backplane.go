package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/backplane"
)

// backplaneSeries are the series of the backplane, looked up once.
type backplaneSeries struct {
	up, subscriptions       prometheus.Gauge
	reconnects              prometheus.Counter
	gaps, gapSeconds        prometheus.Counter
	publishes               map[backplane.Outcome]prometheus.Counter
	published               prometheus.Counter
	took                    prometheus.Observer
	pipelined               prometheus.Observer
	received, receivedBytes prometheus.Counter
	lag                     prometheus.Observer
	probesLost              prometheus.Counter

	everUp atomic.Bool
}

func newBackplaneSeries(r prometheus.Registerer) *backplaneSeries {
	one := func(name string) prometheus.Counter { return counters(r, name).WithLabelValues() }
	s := &backplaneSeries{
		up:            gauges(r, backplaneUp).WithLabelValues(),
		subscriptions: gauges(r, backplaneSubscriptions).WithLabelValues(),
		reconnects:    one(backplaneReconnects),
		gaps:          one(backplaneGaps),
		gapSeconds:    one(backplaneGapSeconds),
		publishes:     make(map[backplane.Outcome]prometheus.Counter),
		published:     one(backplanePublished),
		took:          histograms(r, backplanePublishDuration, brokerBounds).WithLabelValues(),
		pipelined:     histograms(r, backplanePipelined, pipeBounds).WithLabelValues(),
		received:      one(backplaneReceived),
		receivedBytes: one(backplaneReceivedBytes),
		lag:           histograms(r, backplaneLag, brokerBounds).WithLabelValues(),
		probesLost:    one(backplaneProbesLost),
	}
	publishes := counters(r, backplanePublishes)
	for _, outcome := range backplane.Outcomes() {
		s.publishes[outcome] = publishes.WithLabelValues(string(outcome))
	}
	return s
}

// Backplane returns hooks that count what happens on the backplane; none without Options.Backplane.
func (m *Metrics) Backplane() backplane.Hooks {
	s := m.backplane
	if s == nil {
		return backplane.Hooks{}
	}
	return backplane.Hooks{
		Published: func(channels int, outcome backplane.Outcome, took time.Duration) {
			if c := s.publishes[outcome]; c != nil {
				c.Inc()
			}
			s.published.Add(float64(channels))
			s.took.Observe(took.Seconds())
		},
		Pipelined: func(commands int) { s.pipelined.Observe(float64(commands)) },
		Received: func(messages, bytes int) {
			s.received.Add(float64(messages))
			s.receivedBytes.Add(float64(bytes))
		},
		Subscriptions: func(wanted int) { s.subscriptions.Set(float64(wanted)) },
		State:         s.state,
		Gap: func(length time.Duration) {
			s.gaps.Inc()
			s.gapSeconds.Add(length.Seconds())
		},
	}
}

// Probe returns hooks that count how long the way over the backplane is; none without Options.Backplane.
func (m *Metrics) Probe() backplane.ProbeHooks {
	s := m.backplane
	if s == nil {
		return backplane.ProbeHooks{}
	}
	return backplane.ProbeHooks{
		Returned: func(took time.Duration) { s.lag.Observe(took.Seconds()) },
		Lost:     s.probesLost.Inc,
	}
}

func (s *backplaneSeries) state(up bool) {
	if !up {
		s.up.Set(0)
		return
	}
	s.up.Set(1)
	if s.everUp.Swap(true) {
		s.reconnects.Inc()
	}
}

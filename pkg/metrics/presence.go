package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/presence"
)

// presenceSeries are the series of presence. Those of Redis are nil without a backplane.
type presenceSeries struct {
	online, offline prometheus.Counter
	resyncs         map[presence.Cause]prometheus.Counter

	batches       map[presence.Outcome]prometheus.Counter
	took          prometheus.Observer
	changes       prometheus.Counter
	pending       prometheus.Gauge
	announcements map[presence.Cause]prometheus.Counter
	swept         prometheus.Counter
}

func newPresenceSeries(r prometheus.Registerer, backplane bool) *presenceSeries {
	transitions, resyncs := counters(r, presenceTransitions), counters(r, presenceResyncs)
	s := &presenceSeries{
		online:  transitions.WithLabelValues("online"),
		offline: transitions.WithLabelValues("offline"),
		resyncs: make(map[presence.Cause]prometheus.Counter),
	}
	for _, cause := range presence.ResyncCauses() {
		s.resyncs[cause] = resyncs.WithLabelValues(string(cause))
	}
	if !backplane {
		return s
	}
	s.batches = make(map[presence.Outcome]prometheus.Counter)
	s.took = histograms(r, presenceBatchDuration, brokerBounds).WithLabelValues()
	s.changes = counters(r, presenceChanges).WithLabelValues()
	s.pending = gauges(r, presencePending).WithLabelValues()
	s.announcements = make(map[presence.Cause]prometheus.Counter)
	s.swept = counters(r, presenceSwept).WithLabelValues()
	batches, announcements := counters(r, presenceBatches), counters(r, presenceAnnouncements)
	for _, outcome := range presence.Outcomes() {
		s.batches[outcome] = batches.WithLabelValues(string(outcome))
	}
	for _, cause := range presence.AnnounceCauses() {
		s.announcements[cause] = announcements.WithLabelValues(string(cause))
	}
	return s
}

// Presence returns hooks that count what happens to presence; without Options.Backplane only what happens without Redis, too.
func (m *Metrics) Presence() presence.Hooks {
	s := m.presence
	h := presence.Hooks{
		Transition: func(online bool) {
			if online {
				s.online.Inc()
			} else {
				s.offline.Inc()
			}
		},
		Resynced: func(cause presence.Cause) {
			if c := s.resyncs[cause]; c != nil {
				c.Inc()
			}
		},
	}
	if s.batches == nil {
		return h
	}
	h.Batch = func(changes int, outcome presence.Outcome, took time.Duration) {
		if c := s.batches[outcome]; c != nil {
			c.Inc()
		}
		if outcome == presence.Applied {
			s.changes.Add(float64(changes))
			s.took.Observe(took.Seconds())
		}
	}
	h.Pending = func(changes int) { s.pending.Set(float64(changes)) }
	h.Announced = func(_ int, cause presence.Cause) {
		if c := s.announcements[cause]; c != nil {
			c.Inc()
		}
	}
	h.Swept = func(connections int) { s.swept.Add(float64(connections)) }
	return h
}

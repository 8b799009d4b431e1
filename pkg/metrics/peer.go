package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/peer"
)

// peerSeries are the series of the dealings with other nodes, looked up once.
type peerSeries struct {
	forwards map[peer.Outcome]prometheus.Counter
	took     prometheus.Observer
	refused  map[peer.Refusal]prometheus.Counter
}

func newPeerSeries(r prometheus.Registerer) *peerSeries {
	s := &peerSeries{
		forwards: make(map[peer.Outcome]prometheus.Counter),
		took:     histograms(r, forwardDuration, callBounds).WithLabelValues(),
		refused:  make(map[peer.Refusal]prometheus.Counter),
	}
	outcomes, reasons := counters(r, forwards), counters(r, peerRefused)
	for _, outcome := range peer.Outcomes {
		s.forwards[outcome] = outcomes.WithLabelValues(string(outcome))
	}
	for _, reason := range peer.Refusals {
		s.refused[reason] = reasons.WithLabelValues(string(reason))
	}
	return s
}

// Peer returns hooks that count what is forwarded to other nodes, and what is refused from them; none without Options.Backplane.
func (m *Metrics) Peer() peer.Hooks {
	s := m.peer
	if s == nil {
		return peer.Hooks{}
	}
	return peer.Hooks{
		Forwarded: func(outcome peer.Outcome, took time.Duration) {
			if c := s.forwards[outcome]; c != nil {
				c.Inc()
			}
			if outcome == peer.Answered {
				s.took.Observe(took.Seconds())
			}
		},
		Refused: func(reason peer.Refusal) {
			if c := s.refused[reason]; c != nil {
				c.Inc()
			}
		},
	}
}

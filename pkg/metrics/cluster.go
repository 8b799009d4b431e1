package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// clusterSeries are the series of this node's place in the cluster.
type clusterSeries struct{ leasesLost prometheus.Counter }

func newClusterSeries(r prometheus.Registerer) *clusterSeries {
	return &clusterSeries{leasesLost: counters(r, leasesLost).WithLabelValues()}
}

// Cluster returns hooks that count lost leases; none without Options.Backplane.
func (m *Metrics) Cluster() cluster.Hooks {
	s := m.cluster
	if s == nil {
		return cluster.Hooks{}
	}
	return cluster.Hooks{LeaseLost: func(time.Duration) { s.leasesLost.Inc() }}
}

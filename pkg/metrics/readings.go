package metrics

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// Readings are what is asked at each scrape rather than told as it happens. They must be quick and safe for concurrent use.
// Nil ones are not asked: their gauges are 0, those of hubs do not exist, and the node counts as ready.
type Readings struct {
	// Ready is whether the node is ready.
	Ready func() bool
	// Draining is whether the node is sending its clients away, and how many are left.
	Draining func() (draining bool, left int)
	// Hubs are the loads of all hubs, by name.
	Hubs func() iter.Seq2[string, hub.Load]
	// Nodes is how many nodes the cluster has.
	Nodes func() int
	// Forwards is how many requests are being forwarded to other nodes.
	Forwards func() int
}

// reader asks the readings and makes gauges of them.
type reader struct {
	readings  Readings
	backplane bool
	descs     map[string]*prometheus.Desc
}

// read are the gauges that a reader makes; the last two only with a backplane.
var read = []string{ready, draining, drainingConnections, queueBytes, invocationsRunning, forwardsRunning, clusterNodes}

func newReader(r Readings, backplane bool) *reader {
	c := &reader{readings: r, backplane: backplane, descs: make(map[string]*prometheus.Desc)}
	for _, name := range read {
		if n := row(name, Gauge); backplane || !n.Backplane {
			c.descs[name] = prometheus.NewDesc(n.Name, n.Help, n.Labels, nil)
		}
	}
	return c
}

// Describe is for the registry.
func (c *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect is for the registry.
func (c *reader) Collect(ch chan<- prometheus.Metric) {
	set := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v, labels...)
	}
	set(ready, truth(c.readings.Ready == nil || c.readings.Ready()))
	isDraining, left := false, 0
	if c.readings.Draining != nil {
		isDraining, left = c.readings.Draining()
	}
	set(draining, truth(isDraining))
	set(drainingConnections, float64(left))
	if c.readings.Hubs != nil {
		for name, load := range c.readings.Hubs() {
			set(queueBytes, float64(load.QueueBytes), name)
			set(invocationsRunning, float64(load.Calls), name)
		}
	}
	if c.backplane {
		set(forwardsRunning, count(c.readings.Forwards))
		set(clusterNodes, count(c.readings.Nodes))
	}
}

func count(f func() int) float64 {
	if f == nil {
		return 0
	}
	return float64(f())
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

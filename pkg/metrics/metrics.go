package metrics

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options configure Metrics. The zero value is that of a node on its own.
type Options struct {
	// Version is what build_info says; empty means the main module's version.
	Version string
	// Revision is what else it says; empty means the commit that the toolchain noted.
	Revision string
	// Backplane adds the metrics of a backplane, and of the dealings with other nodes.
	Backplane bool
	// Readings are asked at each scrape.
	Readings Readings
}

// Metrics is a registry with every metric of a node. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	otelConnections *prometheus.GaugeVec
	otelDuration    *prometheus.HistogramVec

	connections       *prometheus.GaugeVec
	opened            *prometheus.CounterVec
	closed            *prometheus.CounterVec
	handshakeFailures *prometheus.CounterVec
	negotiations      *prometheus.CounterVec
	refused           *prometheus.CounterVec
	authFailures      *prometheus.CounterVec

	invocations        *prometheus.CounterVec
	invocationDuration *prometheus.HistogramVec
	messagesReceived   *prometheus.CounterVec
	messagesSent       *prometheus.CounterVec
	messagesJoined     *prometheus.CounterVec
	messagesDropped    *prometheus.CounterVec
	receivedBytes      *prometheus.CounterVec
	sentBytes          *prometheus.CounterVec
	writes             *prometheus.CounterVec
	fanout             *prometheus.HistogramVec
	slowClients        *prometheus.CounterVec
	droppedBytes       *prometheus.CounterVec
	commandsRefused    *prometheus.CounterVec

	backplane *backplaneSeries // nil without one
	cluster   *clusterSeries   // nil without a backplane
	peer      *peerSeries      // nil without a backplane
	presence  *presenceSeries
}

// Bounds of the classic buckets. Scrapers that know native histograms get those instead.
var (
	callBounds   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	brokerBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	fanoutBounds = []float64{0, 1, 10, 100, 1_000, 10_000, 100_000}
	pipeBounds   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
	// lifeBounds are those of the OpenTelemetry conventions, and three for connections that last.
	lifeBounds = []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300, 1_800, 7_200, 86_400}
)

// New makes a registry of its own; two in one process do not meet.
func New(o Options) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		registry:           r,
		otelConnections:    gauges(r, otelConnections),
		otelDuration:       histograms(r, otelDuration, lifeBounds),
		connections:        gauges(r, connections),
		opened:             counters(r, connectionsOpened),
		closed:             counters(r, connectionsClosed),
		handshakeFailures:  counters(r, handshakeFailures),
		negotiations:       counters(r, negotiations),
		refused:            counters(r, requestsRefused),
		authFailures:       counters(r, authFailures),
		invocations:        counters(r, invocations),
		invocationDuration: histograms(r, invocationDuration, callBounds),
		messagesReceived:   counters(r, messagesReceived),
		messagesSent:       counters(r, messagesSent),
		messagesJoined:     counters(r, messagesJoined),
		messagesDropped:    counters(r, messagesDropped),
		receivedBytes:      counters(r, receivedBytes),
		sentBytes:          counters(r, sentBytes),
		writes:             counters(r, writes),
		fanout:             histograms(r, fanout, fanoutBounds),
		slowClients:        counters(r, slowClients),
		droppedBytes:       counters(r, droppedBytes),
		commandsRefused:    counters(r, commandsRefused),
	}
	m.presence = newPresenceSeries(r, o.Backplane)
	if o.Backplane {
		m.backplane = newBackplaneSeries(r)
		m.cluster = newClusterSeries(r)
		m.peer = newPeerSeries(r)
	}
	r.MustRegister(newReader(o.Readings, o.Backplane))
	version, revision := buildVersion(o.Version, o.Revision)
	gauges(r, buildInfo).WithLabelValues(version, revision, runtime.Version()).Set(1)
	r.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC, collectors.MetricsMemory)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler serves the metrics in the formats that Prometheus asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Registry is where a program that embeds a node can add metrics of its own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// AuthFailed counts a request refused for its token. reasons is the closed set; it is made known by AuthReasons.
func (m *Metrics) AuthFailed(reason string) { m.authFailures.WithLabelValues(reason).Inc() }

// AuthReasons makes the series of these reasons start at zero.
func (m *Metrics) AuthReasons(reasons ...string) {
	for _, reason := range reasons {
		m.authFailures.WithLabelValues(reason)
	}
}

// buildVersion is what was built: as told, or as far as the toolchain noted it.
func buildVersion(version, revision string) (string, string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(version, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = cmp.Or(revision, s.Value)
			}
		}
	}
	return cmp.Or(version, "unknown"), cmp.Or(revision, "unknown")
}

// row finds a name in the table; one that is not there, or of another kind, is a mistake in this package.
func row(name string, kind Kind) Name {
	for _, n := range Names {
		if n.Name == name && n.Kind == kind {
			return n
		}
	}
	panic(fmt.Sprintf("metrics: the table has no %s %s", kind, name))
}

func counters(r prometheus.Registerer, name string) *prometheus.CounterVec {
	n := row(name, Counter)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: n.Name, Help: n.Help}, n.Labels)
	r.MustRegister(v)
	return v
}

func gauges(r prometheus.Registerer, name string) *prometheus.GaugeVec {
	n := row(name, Gauge)
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: n.Name, Help: n.Help}, n.Labels)
	r.MustRegister(v)
	return v
}

func histograms(r prometheus.Registerer, name string, bounds []float64) *prometheus.HistogramVec {
	n := row(name, Histogram)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    n.Name,
		Help:    n.Help,
		Buckets: bounds,
		// Native buckets 10 % apart beside the classic ones; the bound keeps a wild distribution from growing for ever.
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, n.Labels)
	r.MustRegister(v)
	return v
}

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// unknownMethod stands for every method that a hub does not have: what clients make up must not become a label.
const unknownMethod = "_unknown"

// otelTransports are the transports as the OpenTelemetry conventions call them; our own labels use the same words.
var otelTransports = map[transport.Kind]string{
	transport.WebSockets:       "web_sockets",
	transport.ServerSentEvents: "server_sent_events",
	transport.LongPolling:      "long_polling",
}

// The statuses of the OpenTelemetry conventions.
const (
	statusNormal   = "normal_closure"
	statusTimeout  = "timeout"
	statusShutdown = "app_shutdown"
)

// otelStatus is the one of the three that comes closest. As with ASP.NET Core, whatever is neither a timeout nor the end of the
// application is a normal closure; our own counter tells the reasons apart.
func otelStatus(why hub.CloseReason) string {
	switch why {
	case hub.ClosedTimeout:
		return statusTimeout
	case hub.ClosedShutdown:
		return statusShutdown
	}
	return statusNormal
}

// transportSeries are the series of one hub and one transport.
type transportSeries struct {
	open, otelOpen prometheus.Gauge
	opened         prometheus.Counter
	closed         map[hub.CloseReason]prometheus.Counter
	lasted         map[string]prometheus.Observer // by OpenTelemetry's status
}

// methodSeries are the series of one hub method.
type methodSeries struct {
	outcomes map[hub.Outcome]prometheus.Counter
	took     prometheus.Observer
}

// hubSeries are the series of one hub, looked up once: a lookup by labels costs twenty times as much as the count itself.
// The maps are not changed afterwards.
type hubSeries struct {
	transports map[transport.Kind]*transportSeries
	methods    map[string]*methodSeries
	fanout     map[hub.Scope]prometheus.Observer

	messagesReceived, receivedBytes prometheus.Counter
	messagesSent, sentBytes, writes prometheus.Counter
	messagesJoined, messagesDropped prometheus.Counter
	slowClients, droppedBytes       prometheus.Counter
	commandsRefused                 prometheus.Counter
}

// Hub returns hooks that count what happens in one hub with these methods. It fits hub.Options.Hooks.
func (m *Metrics) Hub(name string, methods []string) hub.Hooks {
	s := m.newHubSeries(name, methods)
	return hub.Hooks{
		Connected:    s.connected,
		Disconnected: s.disconnected,
		Invoked:      s.invoked,
		Received: func(messages, bytes int) {
			s.messagesReceived.Add(float64(messages))
			s.receivedBytes.Add(float64(bytes))
		},
		Written: func(messages, bytes int) {
			s.writes.Inc()
			s.messagesSent.Add(float64(messages))
			s.sentBytes.Add(float64(bytes))
			if messages > 1 {
				s.messagesJoined.Add(float64(messages))
			}
		},
		FannedOut: func(scope hub.Scope, connections int) {
			if o := s.fanout[scope]; o != nil {
				o.Observe(float64(connections))
			}
		},
		SlowClient: func(bytes int) {
			s.slowClients.Inc()
			s.droppedBytes.Add(float64(bytes))
		},
		// These three happen at most once per connection, and their words are the transport's: a lookup is cheap enough.
		HandshakeFailed: func(why hub.HandshakeFailure) { m.handshakeFailures.WithLabelValues(name, string(why)).Inc() },
		CommandRefused:  s.commandsRefused.Inc,
		Dropped:         s.messagesDropped.Inc,
		Negotiated:      func(result string) { m.negotiations.WithLabelValues(name, result).Inc() },
		Refused:         func(reason string) { m.refused.WithLabelValues(name, reason).Inc() },
	}
}

func (m *Metrics) newHubSeries(name string, methods []string) *hubSeries {
	s := &hubSeries{
		transports:       make(map[transport.Kind]*transportSeries),
		methods:          make(map[string]*methodSeries),
		fanout:           make(map[hub.Scope]prometheus.Observer),
		messagesReceived: m.messagesReceived.WithLabelValues(name),
		receivedBytes:    m.receivedBytes.WithLabelValues(name),
		messagesSent:     m.messagesSent.WithLabelValues(name),
		messagesJoined:   m.messagesJoined.WithLabelValues(name),
		messagesDropped:  m.messagesDropped.WithLabelValues(name),
		sentBytes:        m.sentBytes.WithLabelValues(name),
		writes:           m.writes.WithLabelValues(name),
		slowClients:      m.slowClients.WithLabelValues(name),
		droppedBytes:     m.droppedBytes.WithLabelValues(name),
		commandsRefused:  m.commandsRefused.WithLabelValues(name),
	}
	for kind := range otelTransports {
		s.transports[kind] = m.newTransportSeries(name, kind)
	}
	for _, method := range methods {
		s.methods[method] = m.newMethodSeries(name, method)
	}
	s.methods[""] = m.newMethodSeries(name, unknownMethod)
	for _, scope := range hub.Scopes {
		s.fanout[scope] = m.fanout.WithLabelValues(name, string(scope))
	}
	for _, why := range hub.HandshakeFailures {
		m.handshakeFailures.WithLabelValues(name, string(why))
	}
	for _, result := range transport.NegotiateResults {
		m.negotiations.WithLabelValues(name, result)
	}
	for _, reason := range transport.RefusalReasons {
		m.refused.WithLabelValues(name, reason)
	}
	return s
}

func (m *Metrics) newTransportSeries(name string, kind transport.Kind) *transportSeries {
	label := otelTransports[kind]
	s := &transportSeries{
		open:     m.connections.WithLabelValues(name, label),
		otelOpen: m.otelConnections.WithLabelValues(label),
		opened:   m.opened.WithLabelValues(name, label),
		closed:   make(map[hub.CloseReason]prometheus.Counter),
		lasted:   make(map[string]prometheus.Observer),
	}
	for _, why := range hub.CloseReasons {
		s.closed[why] = m.closed.WithLabelValues(name, label, string(why))
	}
	for _, status := range []string{statusNormal, statusTimeout, statusShutdown} {
		s.lasted[status] = m.otelDuration.WithLabelValues(status, label)
	}
	return s
}

func (m *Metrics) newMethodSeries(name, method string) *methodSeries {
	s := &methodSeries{
		outcomes: make(map[hub.Outcome]prometheus.Counter),
		took:     m.invocationDuration.WithLabelValues(name, method),
	}
	for _, outcome := range hub.Outcomes {
		// A known method is never unknown, nor the other way round.
		if (outcome == hub.OutcomeUnknown) == (method == unknownMethod) {
			s.outcomes[outcome] = m.invocations.WithLabelValues(name, method, string(outcome))
		}
	}
	return s
}

func (s *hubSeries) connected(kind transport.Kind) {
	if t := s.transports[kind]; t != nil {
		t.open.Inc()
		t.otelOpen.Inc()
		t.opened.Inc()
	}
}

func (s *hubSeries) disconnected(kind transport.Kind, why hub.CloseReason, lasted time.Duration) {
	t := s.transports[kind]
	if t == nil {
		return
	}
	t.open.Dec()
	t.otelOpen.Dec()
	if c := t.closed[why]; c != nil {
		c.Inc()
	}
	t.lasted[otelStatus(why)].Observe(lasted.Seconds())
}

func (s *hubSeries) invoked(method string, outcome hub.Outcome, took time.Duration) {
	series := s.methods[method]
	if series == nil {
		series = s.methods[""]
	}
	if c := series.outcomes[outcome]; c != nil {
		c.Inc()
	}
	series.took.Observe(took.Seconds())
}

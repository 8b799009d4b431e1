package metrics_test

import (
	"io"
	"iter"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/metrics"
	"github.com/hubfleet/hubfleet/pkg/peer"
	"github.com/hubfleet/hubfleet/pkg/presence"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// full is a registry in which every metric has at least one series.
func full() *metrics.Metrics {
	m := metrics.New(metrics.Options{Version: "v1.2.3", Backplane: true, Readings: readings()})
	m.Hub("ChatHub", []string{"SendMessage", "Echo"}).HandshakeFailed("timeout")
	m.AuthReasons("expired")
	return m
}

// readings are those of a draining node with one hub.
func readings() metrics.Readings {
	return metrics.Readings{
		Draining: func() (bool, int) { return true, 12 },
		Forwards: func() int { return 3 },
		Nodes:    func() int { return 5 },
		Hubs: func() iter.Seq2[string, hub.Load] {
			return maps.All(map[string]hub.Load{"ChatHub": {QueueBytes: 4096, Calls: 2}})
		},
	}
}

// gather is what a scrape sees, without the metrics of the Go runtime and the process.
func gather(t *testing.T, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_") {
			byName[f.GetName()] = f
		}
	}
	return byName
}

// described is a family in the words of the table.
func described(f *dto.MetricFamily) metrics.Name {
	n := metrics.Name{Name: f.GetName(), Help: f.GetHelp(), Kind: metrics.Kind(strings.ToLower(f.GetType().String()))}
	for _, l := range f.GetMetric()[0].GetLabel() {
		n.Labels = append(n.Labels, l.GetName())
	}
	return n
}

func TestTableIsTheRegistry(t *testing.T) {
	want := make(map[string]metrics.Name)
	for _, n := range metrics.Names {
		if unit := string(n.Unit); unit != "" && !strings.HasSuffix(strings.TrimSuffix(n.Name, "_total"), "_"+unit) {
			t.Errorf("%s counts %s, and its name does not say so", n.Name, unit)
		}
		if strings.HasSuffix(n.Name, "_total") != (n.Kind == metrics.Counter) {
			t.Errorf("%s is a %s", n.Name, n.Kind)
		}
		n.Labels = slices.Sorted(slices.Values(n.Labels))
		n.Unit, n.Backplane = "", false
		want[n.Name] = n
	}
	got := make(map[string]metrics.Name)
	for name, f := range gather(t, full()) {
		got[name] = described(f)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table and the registry differ (-table +registry):\n%s", diff)
	}
}

func TestWithoutBackplane(t *testing.T) {
	m := metrics.New(metrics.Options{})
	families := gather(t, m)
	for _, n := range metrics.Names {
		if n.Backplane && families[n.Name] != nil {
			t.Errorf("%s is there", n.Name)
		}
	}
	hooks, probe := m.Backplane(), m.Probe()
	if hooks.Published != nil || hooks.State != nil || probe.Returned != nil || probe.Lost != nil {
		t.Error("hooks of a backplane that is not there")
	}
}

func TestLint(t *testing.T) {
	m := full()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	problems, err := promlint.New(rec.Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "hubfleet_") || strings.HasPrefix(p.Metric, "signalr_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// series is the value of one series; -1 when it does not exist.
func series(t *testing.T, m *metrics.Metrics, name string, labels ...string) float64 {
	t.Helper()
	f := gather(t, m)[name]
	if f == nil {
		return -1
	}
	for _, metric := range f.GetMetric() {
		var have []string
		for _, l := range metric.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if !slices.Equal(have, labels) {
			continue
		}
		switch {
		case metric.GetCounter() != nil:
			return metric.GetCounter().GetValue()
		case metric.GetGauge() != nil:
			return metric.GetGauge().GetValue()
		default:
			return float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return -1
}

type check struct {
	want   float64
	name   string
	labels []string
}

func checkAll(t *testing.T, m *metrics.Metrics, checks []check) {
	t.Helper()
	for _, c := range checks {
		if got := series(t, m, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}

func TestHubHooks(t *testing.T) {
	m := metrics.New(metrics.Options{})
	h := m.Hub("ChatHub", []string{"SendMessage"})
	checkAll(t, m, []check{ // what has not happened is zero, not absent
		{0, "hubfleet_connections_closed_total", []string{"hub=ChatHub", "reason=slow_client", "transport=web_sockets"}},
		{0, "hubfleet_negotiations_total", []string{"hub=ChatHub", "result=unavailable"}},
		{0, "hubfleet_requests_refused_total", []string{"hub=ChatHub", "reason=used_token"}},
		{0, "hubfleet_invocations_total", []string{"hub=ChatHub", "method=SendMessage", "outcome=panic"}},
		{0, "hubfleet_slow_clients_total", []string{"hub=ChatHub"}},
	})
	h.Connected(transport.WebSockets)
	h.Connected(transport.WebSockets)
	h.Connected(transport.LongPolling)
	h.Disconnected(transport.WebSockets, hub.ClosedTimeout, time.Minute)
	h.Disconnected(transport.LongPolling, hub.ClosedByClient, time.Second)
	h.HandshakeFailed("timeout")
	h.Invoked("SendMessage", hub.OutcomeOK, time.Millisecond)
	h.Invoked("", hub.OutcomeUnknown, 0)
	h.Invoked("NotOfThisHub", hub.OutcomeUnknown, 0)
	h.Received(3, 300)
	h.Written(5, 500)
	h.Written(1, 100)
	h.Dropped()
	h.FannedOut(hub.ScopeAll, 1000)
	h.SlowClient(1 << 20)
	h.Negotiated("ok")
	h.Refused("used_token")
	m.AuthFailed("expired")

	checkAll(t, m, []check{
		{1, "hubfleet_connections", []string{"hub=ChatHub", "transport=web_sockets"}},
		{0, "hubfleet_connections", []string{"hub=ChatHub", "transport=long_polling"}},
		{2, "hubfleet_connections_opened_total", []string{"hub=ChatHub", "transport=web_sockets"}},
		{1, "hubfleet_connections_closed_total", []string{"hub=ChatHub", "reason=timeout", "transport=web_sockets"}},
		{1, "signalr_server_active_connections", []string{"signalr_transport=web_sockets"}},
		{1, "signalr_server_connection_duration_seconds", []string{"signalr_connection_status=timeout", "signalr_transport=web_sockets"}},
		{1, "signalr_server_connection_duration_seconds", []string{"signalr_connection_status=normal_closure", "signalr_transport=long_polling"}},
		{1, "hubfleet_handshake_failures_total", []string{"hub=ChatHub", "reason=timeout"}},
		{1, "hubfleet_invocations_total", []string{"hub=ChatHub", "method=SendMessage", "outcome=ok"}},
		{2, "hubfleet_invocations_total", []string{"hub=ChatHub", "method=_unknown", "outcome=unknown"}},
		{-1, "hubfleet_invocations_total", []string{"hub=ChatHub", "method=NotOfThisHub", "outcome=unknown"}},
		{1, "hubfleet_invocation_duration_seconds", []string{"hub=ChatHub", "method=SendMessage"}},
		{3, "hubfleet_messages_received_total", []string{"hub=ChatHub"}},
		{300, "hubfleet_received_bytes_total", []string{"hub=ChatHub"}},
		{2, "hubfleet_writes_total", []string{"hub=ChatHub"}},
		{6, "hubfleet_messages_sent_total", []string{"hub=ChatHub"}},
		{5, "hubfleet_messages_joined_total", []string{"hub=ChatHub"}},
		{1, "hubfleet_messages_dropped_total", []string{"hub=ChatHub"}},
		{600, "hubfleet_sent_bytes_total", []string{"hub=ChatHub"}},
		{1, "hubfleet_fanout_connections", []string{"hub=ChatHub", "scope=all"}},
		{1, "hubfleet_slow_clients_total", []string{"hub=ChatHub"}},
		{1 << 20, "hubfleet_dropped_bytes_total", []string{"hub=ChatHub"}},
		{1, "hubfleet_negotiations_total", []string{"hub=ChatHub", "result=ok"}},
		{1, "hubfleet_requests_refused_total", []string{"hub=ChatHub", "reason=used_token"}},
		{1, "hubfleet_auth_failures_total", []string{"reason=expired"}},
	})
}

func TestBackplaneHooks(t *testing.T) {
	m := metrics.New(metrics.Options{Backplane: true})
	h := m.Backplane()
	checkAll(t, m, []check{
		{0, "hubfleet_backplane_up", nil},
		{0, "hubfleet_backplane_publishes_total", []string{"outcome=maybe_sent"}},
	})
	h.State(true)
	h.State(false)
	h.State(true)
	h.Gap(1500 * time.Millisecond)
	h.Published(3, backplane.Sent, time.Millisecond)
	h.Published(1, backplane.MaybeSent, time.Millisecond)
	h.Pipelined(64)
	h.Received(10, 1000)
	h.Subscriptions(7)
	m.Probe().Returned(time.Millisecond)
	m.Probe().Lost()
	checkAll(t, m, []check{
		{1, "hubfleet_backplane_up", nil},
		{1, "hubfleet_backplane_reconnects_total", nil},
		{1, "hubfleet_backplane_gaps_total", nil},
		{1.5, "hubfleet_backplane_gap_seconds_total", nil},
		{1, "hubfleet_backplane_publishes_total", []string{"outcome=sent"}},
		{1, "hubfleet_backplane_publishes_total", []string{"outcome=maybe_sent"}},
		{4, "hubfleet_backplane_published_channels_total", nil},
		{2, "hubfleet_backplane_publish_duration_seconds", nil},
		{1, "hubfleet_backplane_pipeline_commands", nil},
		{10, "hubfleet_backplane_received_total", nil},
		{1000, "hubfleet_backplane_received_bytes_total", nil},
		{7, "hubfleet_backplane_subscriptions", nil},
		{1, "hubfleet_backplane_lag_seconds", nil},
		{1, "hubfleet_backplane_probes_lost_total", nil},
	})
}

func TestClusterHooks(t *testing.T) {
	m := metrics.New(metrics.Options{Backplane: true})
	checkAll(t, m, []check{{0, "hubfleet_leases_lost_total", nil}})
	m.Cluster().LeaseLost(time.Second)
	checkAll(t, m, []check{{1, "hubfleet_leases_lost_total", nil}})
	if h := metrics.New(metrics.Options{}).Cluster(); h.LeaseLost != nil {
		t.Error("a node without a backplane counts leases")
	}
}

func TestPresenceHooks(t *testing.T) {
	m := metrics.New(metrics.Options{Backplane: true})
	checkAll(t, m, []check{
		{0, "hubfleet_presence_transitions_total", []string{"to=offline"}},
		{0, "hubfleet_presence_resyncs_total", []string{"cause=emptied"}},
		{0, "hubfleet_presence_batches_total", []string{"outcome=repeated"}},
		{0, "hubfleet_presence_announcements_total", []string{"cause=lease_lost"}},
	})
	h := m.Presence()
	h.Transition(true)
	h.Transition(false)
	h.Resynced(presence.Gap)
	h.Batch(5, presence.Applied, time.Millisecond)
	h.Batch(7, presence.Repeated, time.Second)
	h.Pending(3)
	h.Announced(100, presence.Gone)
	h.Swept(10)
	checkAll(t, m, []check{
		{1, "hubfleet_presence_transitions_total", []string{"to=online"}},
		{1, "hubfleet_presence_transitions_total", []string{"to=offline"}},
		{1, "hubfleet_presence_resyncs_total", []string{"cause=gap"}},
		{1, "hubfleet_presence_batches_total", []string{"outcome=applied"}},
		{1, "hubfleet_presence_batches_total", []string{"outcome=repeated"}},
		{1, "hubfleet_presence_batch_duration_seconds", nil},
		{5, "hubfleet_presence_changes_total", nil}, // the others are told again
		{3, "hubfleet_presence_pending_changes", nil},
		{1, "hubfleet_presence_announcements_total", []string{"cause=gone"}},
		{10, "hubfleet_presence_swept_connections_total", nil},
	})
	if h := metrics.New(metrics.Options{}).Presence(); h.Batch != nil || h.Transition == nil {
		t.Error("a node without Redis counts other things")
	}
}

func TestPeerHooks(t *testing.T) {
	m := metrics.New(metrics.Options{Backplane: true})
	checkAll(t, m, []check{
		{0, "hubfleet_forwards_total", []string{"outcome=unreachable"}},
		{0, "hubfleet_forward_duration_seconds", nil},
		{0, "hubfleet_peer_requests_refused_total", []string{"reason=forged"}},
	})
	h := m.Peer()
	h.Forwarded(peer.Answered, time.Second)
	h.Forwarded(peer.Unreachable, 2*time.Second)
	h.Refused(peer.Forged)
	checkAll(t, m, []check{
		{1, "hubfleet_forwards_total", []string{"outcome=answered"}},
		{1, "hubfleet_forwards_total", []string{"outcome=unreachable"}},
		{1, "hubfleet_forward_duration_seconds", nil}, // it is of answers
		{1, "hubfleet_peer_requests_refused_total", []string{"reason=forged"}},
	})
	if h := metrics.New(metrics.Options{}).Peer(); h.Forwarded != nil || h.Refused != nil {
		t.Error("hooks for other nodes where there are none")
	}
}

func TestReadyAndBuildInfo(t *testing.T) {
	isReady := false
	m := metrics.New(metrics.Options{Version: "v1.2.3", Readings: metrics.Readings{Ready: func() bool { return isReady }}})
	checkAll(t, m, []check{{0, "hubfleet_ready", nil}})
	isReady = true
	checkAll(t, m, []check{{1, "hubfleet_ready", nil}})
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(rec.Body)
	for _, want := range []string{`version="v1.2.3"`, "go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestReadings(t *testing.T) {
	checkAll(t, metrics.New(metrics.Options{Backplane: true, Readings: readings()}), []check{
		{1, "hubfleet_ready", nil},
		{1, "hubfleet_draining", nil},
		{12, "hubfleet_draining_connections", nil},
		{3, "hubfleet_forwards_running", nil},
		{5, "hubfleet_cluster_nodes", nil},
		{4096, "hubfleet_queue_bytes", []string{"hub=ChatHub"}},
		{2, "hubfleet_invocations_running", []string{"hub=ChatHub"}},
	})
	checkAll(t, metrics.New(metrics.Options{}), []check{
		{0, "hubfleet_draining", nil},
		{0, "hubfleet_draining_connections", nil},
		{-1, "hubfleet_forwards_running", nil},
		{-1, "hubfleet_queue_bytes", []string{"hub=ChatHub"}},
	})
}

// TestHotPathAllocates nothing: hooks run for every message.
func TestHotPathAllocates(t *testing.T) {
	h := metrics.New(metrics.Options{}).Hub("ChatHub", []string{"SendMessage"})
	if n := testing.AllocsPerRun(100, func() {
		h.Invoked("SendMessage", hub.OutcomeOK, time.Millisecond)
		h.Received(1, 100)
		h.Written(1, 100)
		h.FannedOut(hub.ScopeAll, 10)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

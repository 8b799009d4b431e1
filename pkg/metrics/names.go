package metrics

// Kind is what sort of number a metric is.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only grows
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // a distribution
)

// Unit is what a metric counts in. It is also the end of the name, before "_total", except where the name says it already.
type Unit string

// The units.
const (
	None    Unit = ""
	Seconds Unit = "seconds"
	Bytes   Unit = "bytes"
)

// Name is one row of the table.
type Name struct {
	Name   string
	Kind   Kind
	Unit   Unit
	Help   string
	Labels []string
	// Backplane rows exist only on a node that has one: an "up" of 0 on a node that needs none would be a false alarm.
	Backplane bool
}

// The names. The first two follow OpenTelemetry's semantic conventions for SignalR.
const (
	otelConnections = "signalr_server_active_connections"
	otelDuration    = "signalr_server_connection_duration_seconds"

	connections       = "hubfleet_connections"
	connectionsOpened = "hubfleet_connections_opened_total"
	connectionsClosed = "hubfleet_connections_closed_total"
	handshakeFailures = "hubfleet_handshake_failures_total"
	negotiations      = "hubfleet_negotiations_total"
	requestsRefused   = "hubfleet_requests_refused_total"
	authFailures      = "hubfleet_auth_failures_total"

	invocations        = "hubfleet_invocations_total"
	invocationDuration = "hubfleet_invocation_duration_seconds"
	invocationsRunning = "hubfleet_invocations_running"
	messagesReceived   = "hubfleet_messages_received_total"
	messagesSent       = "hubfleet_messages_sent_total"
	messagesJoined     = "hubfleet_messages_joined_total"
	messagesDropped    = "hubfleet_messages_dropped_total"
	receivedBytes      = "hubfleet_received_bytes_total"
	sentBytes          = "hubfleet_sent_bytes_total"
	writes             = "hubfleet_writes_total"
	fanout             = "hubfleet_fanout_connections"
	queueBytes         = "hubfleet_queue_bytes"
	slowClients        = "hubfleet_slow_clients_total"
	droppedBytes       = "hubfleet_dropped_bytes_total"
	commandsRefused    = "hubfleet_group_commands_refused_total"

	backplaneUp              = "hubfleet_backplane_up"
	backplaneReconnects      = "hubfleet_backplane_reconnects_total"
	backplaneGaps            = "hubfleet_backplane_gaps_total"
	backplaneGapSeconds      = "hubfleet_backplane_gap_seconds_total"
	backplaneSubscriptions   = "hubfleet_backplane_subscriptions"
	backplanePublishes       = "hubfleet_backplane_publishes_total"
	backplanePublished       = "hubfleet_backplane_published_channels_total"
	backplanePublishDuration = "hubfleet_backplane_publish_duration_seconds"
	backplanePipelined       = "hubfleet_backplane_pipeline_commands"
	backplaneReceived        = "hubfleet_backplane_received_total"
	backplaneReceivedBytes   = "hubfleet_backplane_received_bytes_total"
	backplaneLag             = "hubfleet_backplane_lag_seconds"
	backplaneProbesLost      = "hubfleet_backplane_probes_lost_total"

	clusterNodes = "hubfleet_cluster_nodes"
	leasesLost   = "hubfleet_leases_lost_total"

	presenceTransitions   = "hubfleet_presence_transitions_total"
	presenceResyncs       = "hubfleet_presence_resyncs_total"
	presenceBatches       = "hubfleet_presence_batches_total"
	presenceBatchDuration = "hubfleet_presence_batch_duration_seconds"
	presenceChanges       = "hubfleet_presence_changes_total"
	presencePending       = "hubfleet_presence_pending_changes"
	presenceAnnouncements = "hubfleet_presence_announcements_total"
	presenceSwept         = "hubfleet_presence_swept_connections_total"

	forwards        = "hubfleet_forwards_total"
	forwardsRunning = "hubfleet_forwards_running"
	forwardDuration = "hubfleet_forward_duration_seconds"
	peerRefused     = "hubfleet_peer_requests_refused_total"

	ready               = "hubfleet_ready"
	draining            = "hubfleet_draining"
	drainingConnections = "hubfleet_draining_connections"
	buildInfo           = "hubfleet_build_info"
)

// Names is the table of all metrics of the project. Those of the Go runtime and the process come on top.
var Names = []Name{
	{Name: otelConnections, Kind: Gauge, Help: "Connections that are open now", Labels: []string{"signalr_transport"}},
	{Name: otelDuration, Kind: Histogram, Unit: Seconds, Help: "How long connections lasted", Labels: []string{"signalr_connection_status", "signalr_transport"}},

	{Name: connections, Kind: Gauge, Help: "Connections that are open now, their handshakes done", Labels: []string{"hub", "transport"}},
	{Name: connectionsOpened, Kind: Counter, Help: "Handshakes done", Labels: []string{"hub", "transport"}},
	{Name: connectionsClosed, Kind: Counter, Help: "Connections that ended, by reason", Labels: []string{"hub", "transport", "reason"}},
	{Name: handshakeFailures, Kind: Counter, Help: "Connections that ended before their handshake was done", Labels: []string{"hub", "reason"}},
	{Name: negotiations, Kind: Counter, Help: "Negotiate requests, by what came of them", Labels: []string{"hub", "result"}},
	{Name: requestsRefused, Kind: Counter, Help: "Transport requests that did not become a connection", Labels: []string{"hub", "reason"}},
	{Name: authFailures, Kind: Counter, Help: "Requests refused for their bearer token", Labels: []string{"reason"}},

	{Name: invocations, Kind: Counter, Help: "Calls of hub methods; names that no hub has are counted as _unknown", Labels: []string{"hub", "method", "outcome"}},
	{Name: invocationDuration, Kind: Histogram, Unit: Seconds, Help: "How long calls of hub methods took", Labels: []string{"hub", "method"}},
	{Name: invocationsRunning, Kind: Gauge, Help: "Hub methods that run now", Labels: []string{"hub"}},
	{Name: messagesReceived, Kind: Counter, Help: "Messages from clients, pings included", Labels: []string{"hub"}},
	{Name: messagesSent, Kind: Counter, Help: "Messages to clients, pings included", Labels: []string{"hub"}},
	{Name: messagesJoined, Kind: Counter, Help: "Messages to clients that shared a write with others", Labels: []string{"hub"}},
	{Name: messagesDropped, Kind: Counter, Help: "Messages from other nodes that could not be read or acted on, and were dropped", Labels: []string{"hub"}},
	{Name: receivedBytes, Kind: Counter, Unit: Bytes, Help: "Bytes of the messages from clients", Labels: []string{"hub"}},
	{Name: sentBytes, Kind: Counter, Unit: Bytes, Help: "Bytes of the messages to clients", Labels: []string{"hub"}},
	{Name: writes, Kind: Counter, Help: "Writes to clients", Labels: []string{"hub"}},
	{Name: fanout, Kind: Histogram, Help: "Connections of this node that one message reached", Labels: []string{"hub", "scope"}},
	{Name: queueBytes, Kind: Gauge, Unit: Bytes, Help: "Bytes that wait in the queues of all connections, or are being written", Labels: []string{"hub"}},
	{Name: slowClients, Kind: Counter, Help: "Connections closed because their queue was full", Labels: []string{"hub"}},
	{Name: droppedBytes, Kind: Counter, Unit: Bytes, Help: "Bytes that were queued for slow clients and dropped with them", Labels: []string{"hub"}},
	{Name: commandsRefused, Kind: Counter, Help: "Group commands from other nodes that found too many waiting for their connection", Labels: []string{"hub"}},

	{Name: backplaneUp, Kind: Gauge, Help: "1 while every link to the backplane works", Backplane: true},
	{Name: backplaneReconnects, Kind: Counter, Help: "Times that the backplane came back after it had been away", Backplane: true},
	{Name: backplaneGaps, Kind: Counter, Help: "Interruptions of the subscription link, in which messages may have been missed", Backplane: true},
	{Name: backplaneGapSeconds, Kind: Counter, Unit: Seconds, Help: "How long those interruptions lasted together", Backplane: true},
	{Name: backplaneSubscriptions, Kind: Gauge, Help: "Channels that this node wants", Backplane: true},
	{Name: backplanePublishes, Kind: Counter, Help: "Publish calls, by what became of them", Labels: []string{"outcome"}, Backplane: true},
	{Name: backplanePublished, Kind: Counter, Help: "Channels named by publish calls", Backplane: true},
	{Name: backplanePublishDuration, Kind: Histogram, Unit: Seconds, Help: "How long the broker took to answer a publish call", Backplane: true},
	{Name: backplanePipelined, Kind: Histogram, Help: "Commands sent to the broker in one go", Backplane: true},
	{Name: backplaneReceived, Kind: Counter, Help: "Messages received from the backplane", Backplane: true},
	{Name: backplaneReceivedBytes, Kind: Counter, Unit: Bytes, Help: "Bytes of the messages received from the backplane", Backplane: true},
	{Name: backplaneLag, Kind: Histogram, Unit: Seconds, Help: "How long a message of this node takes to come back to it over the backplane, by a probe each second", Backplane: true},
	{Name: backplaneProbesLost, Kind: Counter, Help: "Probes that could not be published, or did not come back within 5 s", Backplane: true},

	{Name: clusterNodes, Kind: Gauge, Help: "Nodes that hold a lease, as this one sees them, itself included", Backplane: true},
	{Name: leasesLost, Kind: Counter, Help: "Times that this node lost its lease, so that others may have counted it as gone", Backplane: true},

	{Name: presenceTransitions, Kind: Counter, Help: "Users who came online or went offline, as far as this node recorded it for all", Labels: []string{"to"}},
	{Name: presenceResyncs, Kind: Counter, Help: "Times that watchers were told differences because transitions may have been missed: one watcher (overflow), or all, per partition", Labels: []string{"cause"}},
	{Name: presenceBatches, Kind: Counter, Help: "Batches of connections that came, changed or left, by what became of sending them", Labels: []string{"outcome"}, Backplane: true},
	{Name: presenceBatchDuration, Kind: Histogram, Unit: Seconds, Help: "How long Redis took to answer a batch", Backplane: true},
	{Name: presenceChanges, Kind: Counter, Help: "Connections that came, changed or left, as told to Redis", Backplane: true},
	{Name: presencePending, Kind: Gauge, Help: "Connections that came, changed or left and are not yet known to Redis", Backplane: true},
	{Name: presenceAnnouncements, Kind: Counter, Help: "Times that this node told Redis of all its connections", Labels: []string{"cause"}, Backplane: true},
	{Name: presenceSwept, Kind: Counter, Help: "Connections of nodes that had gone, removed by this one", Backplane: true},

	{Name: forwards, Kind: Counter, Help: "Requests for connections of other nodes, by what became of them", Labels: []string{"outcome"}, Backplane: true},
	{Name: forwardsRunning, Kind: Gauge, Help: "Requests for connections of other nodes that are being answered now, event streams and polls among them", Backplane: true},
	{Name: forwardDuration, Kind: Histogram, Unit: Seconds, Help: "How long the other node took until it began to answer; polls wait in that time", Backplane: true},
	{Name: peerRefused, Kind: Counter, Help: "Requests to the peer port that no node of the cluster had signed for this purpose", Labels: []string{"reason"}, Backplane: true},

	{Name: ready, Kind: Gauge, Help: "1 while /readyz says yes"},
	{Name: draining, Kind: Gauge, Help: "1 while the node sends its clients away, before it ends"},
	{Name: drainingConnections, Kind: Gauge, Help: "Connections that a draining node still has to send away; 0 otherwise"},
	{Name: buildInfo, Kind: Gauge, Help: "Always 1; the labels say what runs here", Labels: []string{"version", "revision", "goversion"}},
}

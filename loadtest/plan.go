package main

import (
	"fmt"
	"slices"
	"time"
)

// The scenarios.
const (
	scenarioIdle      = "idle"
	scenarioBroadcast = "broadcast"
	scenarioGroups    = "groups"
	scenarioUsers     = "users"
	scenarioEcho      = "echo"
	scenarioStreams   = "streams"
	scenarioConnect   = "connect-storm"
	scenarioReconnect = "reconnect-storm"
)

var scenarios = []string{
	scenarioIdle, scenarioBroadcast, scenarioGroups, scenarioUsers, scenarioEcho, scenarioStreams, scenarioConnect, scenarioReconnect,
}

// plan is what to do to one target. A worker gets the same plan as all others, with its own Part.
type plan struct {
	Scenario   string   `json:"scenario"`
	URLs       []string `json:"urls"`       // of the hub, for receivers in turns
	SenderURLs []string `json:"senderUrls"` // for senders in turns
	Protocol   string   `json:"protocol"`   // name of the codec

	Connections     int `json:"connections"` // that receive, or call
	Senders         int `json:"senders"`     // further connections, which send
	GroupSize       int `json:"groupSize"`
	UserConnections int `json:"userConnections"`

	Rate     int           `json:"rate"`     // messages a second of all senders together; 0: the next when the last have arrived
	InFlight int           `json:"inFlight"` // without a rate: how many of each sender, or of each caller, are under way at once
	Payload  int           `json:"payload"`  // bytes of one message
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`

	StreamItems int           `json:"streamItems"`
	StreamDelay time.Duration `json:"streamDelay"`
	Storms      int           `json:"storms"`
	Fraction    int           `json:"fraction"` // percent of the connections that a storm cuts

	Ramp       time.Duration `json:"ramp"`
	Connecting int           `json:"connecting"` // handshakes under way at once
	Timeout    time.Duration `json:"timeout"`    // of a handshake, and for what was sent to arrive
	KeepAlive  time.Duration `json:"keepAlive"`  // pings to the server; 0: none
	Negotiate  bool          `json:"negotiate"`
	Sources    int           `json:"sources"` // local addresses to connect from; 0: the system's choice
	UserPrefix string        `json:"userPrefix"`
	Tokens     []string      `json:"-"`
	Secret     []byte        `json:"-"`
	Insecure   bool          `json:"insecure"`

	Send, SendToGroup, SendToUser, JoinGroup, Echo, Stream string // methods of the hub

	Run     uint32 `json:"-"` // tells this run's messages from others
	Worker  int    `json:"-"` // whose part this is
	Workers int    `json:"workers"`
}

// messages says whether senders send and receivers receive.
func (p *plan) messages() bool {
	return slices.Contains([]string{scenarioBroadcast, scenarioGroups, scenarioUsers}, p.Scenario)
}

// perChannel is how many receivers stand behind one channel: all, one group or one user.
func (p *plan) perChannel() int {
	switch p.Scenario {
	case scenarioGroups:
		return p.GroupSize
	case scenarioUsers:
		return p.UserConnections
	}
	return p.Connections
}

// channels is how many groups or users there are.
func (p *plan) channels() int {
	if p.Scenario == scenarioBroadcast || p.perChannel() == 0 {
		return 1
	}
	return (p.Connections + p.perChannel() - 1) / p.perChannel()
}

// channelOf is the group or user of a receiver.
func (p *plan) channelOf(receiver int) int {
	if p.Scenario == scenarioBroadcast || p.perChannel() == 0 {
		return 0
	}
	return receiver / p.perChannel()
}

// part is which receivers a worker has. Groups and users are not divided.
func (p *plan) part() (from, to int) {
	unit := 1
	if p.Scenario == scenarioGroups || p.Scenario == scenarioUsers {
		unit = p.perChannel()
	}
	units := (p.Connections + unit - 1) / unit
	at := func(w int) int { return min(units*w/p.Workers*unit, p.Connections) }
	return at(p.Worker), at(p.Worker + 1)
}

// senders are the numbers of a worker's senders.
func (p *plan) senders() []int {
	var own []int
	for s := p.Worker; s < p.Senders; s += p.Workers {
		own = append(own, s)
	}
	return own
}

// room is the name of a group.
func (p *plan) room(channel int) string { return fmt.Sprintf("load-%08x-%d", p.Run, channel) }

// userName is the id of a user.
func (p *plan) userName(channel int) string { return fmt.Sprintf("%s%d", p.UserPrefix, channel) }

// userOf is who a receiver is: in most scenarios each is somebody else.
func (p *plan) userOf(receiver int) int {
	if p.Scenario == scenarioUsers {
		return p.channelOf(receiver)
	}
	return receiver
}

// title says in a line what is done.
func (p *plan) title() string {
	pace := fmt.Sprintf("%d in flight", p.InFlight)
	if p.Rate > 0 {
		pace = fmt.Sprintf("%d/s", p.Rate)
	}
	n := p.Connections
	switch p.Scenario {
	case scenarioBroadcast:
		return fmt.Sprintf("broadcast to %d, %s", n, pace)
	case scenarioGroups:
		return fmt.Sprintf("%d groups of %d, %d senders, %s", p.channels(), p.GroupSize, p.Senders, pace)
	case scenarioUsers:
		return fmt.Sprintf("%d users with %d connections, %d senders, %s", p.channels(), p.UserConnections, p.Senders, pace)
	case scenarioEcho:
		return fmt.Sprintf("calls from %d connections, %s", n, pace)
	case scenarioStreams:
		return fmt.Sprintf("streams of %d items to %d connections, %d at once", p.StreamItems, n, p.InFlight)
	case scenarioConnect:
		return fmt.Sprintf("%d connections at once", n)
	case scenarioReconnect:
		return fmt.Sprintf("%d of %d connections cut %d times", n*p.Fraction/100, n, p.Storms)
	}
	return fmt.Sprintf("%d idle connections", n)
}

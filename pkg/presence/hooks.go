package presence

import "time"

// Outcome is what became of one batch of changes.
type Outcome string

// The outcomes of a batch.
const (
	Applied Outcome = "applied"
	// Repeated: no reply came, so that it is sent again under the same number.
	Repeated Outcome = "repeated"
	// Refused: Redis no longer knows this node's incarnation, or has lost some of its batches.
	Refused Outcome = "refused"
)

// Outcomes are all values of Outcome, for metrics whose series should exist before the first event.
func Outcomes() []Outcome { return []Outcome{Applied, Repeated, Refused} }

// Cause is why something was begun anew.
type Cause string

// The causes of announcing all connections of a node, and of resyncs.
const (
	Started  Cause = "started"    // the node's first incarnation
	Lost     Cause = "lease_lost" // the lease ended
	Gone     Cause = "gone"       // Redis no longer knew the incarnation
	Gap      Cause = "gap"        // Redis had lost batches of it, or entries of the log
	Overflow Cause = "overflow"   // more waited than may wait
	Emptied  Cause = "emptied"    // Redis had lost all it knew
)

// AnnounceCauses are the causes that Hooks.Announced is called with.
func AnnounceCauses() []Cause { return []Cause{Started, Lost, Gone, Gap, Overflow} }

// ResyncCauses are the causes that Hooks.Resynced is called with.
func ResyncCauses() []Cause { return []Cause{Gap, Overflow, Emptied} }

// Hooks tell an observer what happens. Nil ones are skipped. They are called from the goroutines that do the work, several at a
// time and some with locks held, and must return at once.
type Hooks struct {
	// Batch is called for each attempt to send a batch of changes to Redis: how many changes, what became of it, how long it took.
	Batch func(changes int, outcome Outcome, took time.Duration)
	// Pending is called when the number of changes that wait for Redis has changed.
	Pending func(changes int)
	// Announced is called when all connections of the node are about to be announced anew: how many, and why.
	Announced func(connections int, cause Cause)
	// Transition is called for each transition that this node's questions to Redis recorded; never for those that others did.
	Transition func(online bool)
	// Swept is called when connections of a node that is gone have been removed.
	Swept func(connections int)
	// Resynced is called when watchers are told differences instead of transitions. Overflow is about one watcher, other causes about all.
	Resynced func(cause Cause)
}

func (h *Hooks) batch(changes int, outcome Outcome, took time.Duration) {
	if h.Batch != nil {
		h.Batch(changes, outcome, took)
	}
}

func (h *Hooks) pending(changes int) {
	if h.Pending != nil {
		h.Pending(changes)
	}
}

func (h *Hooks) announced(connections int, cause Cause) {
	if h.Announced != nil {
		h.Announced(connections, cause)
	}
}

func (h *Hooks) swept(connections int) {
	if h.Swept != nil && connections > 0 {
		h.Swept(connections)
	}
}

func (h *Hooks) transitions(online, offline int) {
	if h.Transition == nil {
		return
	}
	for range online {
		h.Transition(true)
	}
	for range offline {
		h.Transition(false)
	}
}

func (h *Hooks) resynced(cause Cause) {
	if h.Resynced != nil {
		h.Resynced(cause)
	}
}

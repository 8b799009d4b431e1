package peer

import "time"

// Hooks are called as things happen; nil ones are skipped. They must be quick, and safe for concurrent use.
type Hooks struct {
	// Forwarded is called once for each request that was to be forwarded: when the owner begins to answer, or when that has
	// failed. took is the time until then, in which a poll waits.
	Forwarded func(outcome Outcome, took time.Duration)
	// Refused is called for each request that was refused at the peer port.
	Refused func(reason Refusal)
}

// Outcome says what became of a request that was to be forwarded. It is a closed set, fit for a metric's label.
type Outcome string

// The outcomes.
const (
	Answered    Outcome = "answered"    // by the owner, whatever it said
	NoOwner     Outcome = "no_owner"    // the owner is gone, or it is not known where it is
	Unreachable Outcome = "unreachable" // the owner did not answer
	Rejected    Outcome = "rejected"    // the owner did not accept the signature
	Loop        Outcome = "loop"        // it had been forwarded already
	Abandoned   Outcome = "abandoned"   // the client left, or this node stopped, before there was an answer
)

// Outcomes are all outcomes, in a fixed order.
var Outcomes = []Outcome{Answered, NoOwner, Unreachable, Rejected, Loop, Abandoned}

// Refusal says why a request was refused at the peer port. It is a closed set.
type Refusal string

// The reasons to refuse.
const (
	Unsigned Refusal = "unsigned"  // it has no header, more than one, or one that cannot be read
	Forged   Refusal = "forged"    // it was not signed with this cluster's secret, or for another request
	Stale    Refusal = "stale"     // it was signed too long ago, or in the future
	TooFar   Refusal = "too_far"   // it has come over more than one node
	NoSecret Refusal = "no_secret" // this node does not know the secret
)

// Refusals are all reasons, in a fixed order.
var Refusals = []Refusal{Unsigned, Forged, Stale, TooFar, NoSecret}

func (h Hooks) forwarded(outcome Outcome, took time.Duration) {
	if h.Forwarded != nil {
		h.Forwarded(outcome, took)
	}
}

func (h Hooks) refused(reason Refusal) {
	if h.Refused != nil {
		h.Refused(reason)
	}
}

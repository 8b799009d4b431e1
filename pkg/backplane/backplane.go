package backplane

import (
	"errors"
	"fmt"
	"time"
)

// Sentinels for errors.Is. Every error of Publish is one of the two.
var (
	// ErrUnavailable: the broker cannot be used now, and nothing of what the call wanted to send has been sent.
	ErrUnavailable = errors.New("backplane unavailable")
	// ErrMaybeSent: the call failed after the payload was handed to the network; it may or may not have been delivered.
	ErrMaybeSent = errors.New("may have been sent")
)

// Error is the error type of both backplanes.
type Error struct {
	// Op is what was being done, such as "publish to".
	Op string
	// Channel is the channel that failed (the first, if several did), without the prefix. It can be empty.
	Channel string
	// Maybe says that the payload may have been delivered, to this channel or to another one of the same call.
	Maybe bool
	// Err is the cause. It names the broker's address and never holds a password.
	Err error
}

// Error says what failed, what became of the payload, and why.
func (e *Error) Error() string {
	text := "backplane: " + e.Op
	if e.Channel != "" {
		text += " " + e.Channel
	}
	if e.Maybe {
		text += " (may have been sent)"
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// MaybeSent says whether the payload may have been delivered in spite of the error.
func (e *Error) MaybeSent() bool { return e.Maybe }

// Unwrap gives the cause, and ErrMaybeSent or ErrUnavailable.
func (e *Error) Unwrap() []error {
	if e.Maybe {
		return []error{ErrMaybeSent, e.Err}
	}
	return []error{ErrUnavailable, e.Err}
}

// State is the condition of a backplane at one moment.
type State struct {
	// Up says that every link to the broker works and that all standing subscriptions are confirmed.
	Up bool
	// EverUp says that this was so at least once.
	EverUp bool
	// Since is when Up last changed; when the backplane was made, if it never did.
	Since time.Time
	// Err is why it is not up, in words for an operator. Nil when it is up.
	Err error
	// Subscriptions is how many channels are wanted.
	Subscriptions int
}

// Outcome is what became of one Publish call.
type Outcome string

// The outcomes of a Publish call.
const (
	Sent      Outcome = "sent"        // the broker has answered for every channel
	NotSent   Outcome = "unavailable" // surely nothing was sent
	MaybeSent Outcome = "maybe_sent"  // lost in between: some of it may have been sent
)

// Outcomes are all values of Outcome, for metrics whose series should exist before the first event.
func Outcomes() []Outcome { return []Outcome{Sent, NotSent, MaybeSent} }

// Hooks tell an observer what happens. Nil ones are skipped. They are called from the goroutines that do the work, several
// at a time, and must return at once.
type Hooks struct {
	// Published is called for each Publish call: how many channels it named, what became of it, how long it took.
	Published func(channels int, outcome Outcome, took time.Duration)
	// Pipelined is called for each batch of commands sent to the broker in one go.
	Pipelined func(commands int)
	// Received is called after each read that brought messages: how many, and their payloads' bytes.
	Received func(messages, bytes int)
	// Subscriptions is called when the number of wanted channels has changed.
	Subscriptions func(wanted int)
	// State is called when the backplane as a whole goes up or down; first when it comes up.
	State func(up bool)
	// Gap is called when the subscription link is whole again after an interruption: messages published within that
	// time may have been missed.
	Gap func(length time.Duration)
}

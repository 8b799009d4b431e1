package hub

import (
	"time"

	"github.com/hubfleet/hubfleet/pkg/transport"
)

// Hooks are called as things happen in one hub; nil ones are skipped. They run on the goroutine to which it happened, so
// they must be quick, and they must be safe for concurrent use.
type Hooks struct {
	// Connected is called when a connection has done its handshake.
	Connected func(t transport.Kind)
	// Disconnected is called once for every Connected, with how long the connection lasted.
	Disconnected func(t transport.Kind, why CloseReason, lasted time.Duration)
	// HandshakeFailed is called for a connection that ended before its handshake was done.
	HandshakeFailed func(why HandshakeFailure)
	// Invoked is called after each invocation with how long it took. An unknown method has the name "".
	Invoked func(method string, outcome Outcome, took time.Duration)
	// Received is called for a run of messages that came in together, with the bytes they took.
	Received func(messages, bytes int)
	// Written is called for each write to a client, with the messages joined in it and their bytes.
	Written func(messages, bytes int)
	// FannedOut is called for each message sent to several, with the number of connections that it reached here.
	FannedOut func(scope Scope, connections int)
	// SlowClient is called when a connection is closed because its queue was full, with the bytes that were dropped.
	SlowClient func(droppedBytes int)
	// CommandRefused is called when a group command from another node found too many waiting for its connection, or a request of another
	// node too many on this one; its sender gets no answer.
	CommandRefused func()
	// Dropped is called for each message from the backplane that could not be read or acted on.
	Dropped func()
	// Negotiated is called for each negotiate request, with what came of it.
	Negotiated func(result string)
	// Refused is called for each request that was refused before it became a connection, with the reason.
	Refused func(reason string)
}

// CloseReason says why a connection ended. It is a closed set, fit for a metric's label.
type CloseReason string

// The reasons for which a connection ends.
const (
	ClosedByClient    CloseReason = "client"           // the client closed it in an orderly way
	ClosedAborted     CloseReason = "aborted"          // Connection.Abort
	ClosedTimeout     CloseReason = "timeout"          // the client was silent for too long
	ClosedTransport   CloseReason = "transport_error"  // the connection broke
	ClosedProtocol    CloseReason = "protocol_error"   // the client broke the protocol
	ClosedTooBig      CloseReason = "message_too_big"  // the client sent too large a message
	ClosedSlow        CloseReason = "slow_client"      // its queue was full, or a write took too long
	ClosedShutdown    CloseReason = "shutdown"         // Server.Shutdown
	ClosedExpired     CloseReason = "expired"          // the proof of who its user is has ended; see HubOptions.CloseExpired
	ClosedOnConnected CloseReason = "connected_failed" // OnConnected returned an error
	ClosedCodec       CloseReason = "missing_protocol" // another node did not encode for its protocol
)

// CloseReasons are all reasons, in a fixed order.
var CloseReasons = []CloseReason{ClosedByClient, ClosedAborted, ClosedTimeout, ClosedTransport, ClosedProtocol, ClosedTooBig,
	ClosedSlow, ClosedShutdown, ClosedExpired, ClosedOnConnected, ClosedCodec}

// HandshakeFailure says why a connection ended before its handshake was done. It is a closed set.
type HandshakeFailure string

// The reasons for which handshakes fail.
const (
	HandshakeTimeout     HandshakeFailure = "timeout"     // it did not come in time
	HandshakeClosed      HandshakeFailure = "closed"      // the client went away
	HandshakeMalformed   HandshakeFailure = "malformed"   // it is not one
	HandshakeTooBig      HandshakeFailure = "too_big"     // it is larger than a message may be
	HandshakeUnsupported HandshakeFailure = "unsupported" // it asks for a protocol, or a version, that is not spoken here
)

// HandshakeFailures are all such reasons, in a fixed order.
var HandshakeFailures = []HandshakeFailure{HandshakeTimeout, HandshakeClosed, HandshakeMalformed, HandshakeTooBig, HandshakeUnsupported}

// Outcome says how an invocation ended. It is a closed set.
type Outcome string

// The outcomes of an invocation.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeError   Outcome = "error"    // the method returned a hub.Error
	OutcomeFailed  Outcome = "failed"   // the method returned another error, or its result could not be encoded
	OutcomePanic   Outcome = "panic"    // the method panicked
	OutcomeBad     Outcome = "bad_call" // the arguments do not fit the method, or it was called in the wrong way
	OutcomeUnknown Outcome = "unknown"  // no such method
)

// Outcomes are all outcomes, in a fixed order.
var Outcomes = []Outcome{OutcomeOK, OutcomeError, OutcomeFailed, OutcomePanic, OutcomeBad, OutcomeUnknown}

// Scope says to whom a message was sent. It is a closed set.
type Scope string

// The scopes of a send.
const (
	ScopeAll        Scope = "all"
	ScopeGroup      Scope = "group"
	ScopeUser       Scope = "user"
	ScopeConnection Scope = "connection"
	ScopePresence   Scope = "presence" // those whom CallPresence.Notify tells
)

// Scopes are all scopes, in a fixed order.
var Scopes = []Scope{ScopeAll, ScopeGroup, ScopeUser, ScopeConnection, ScopePresence}

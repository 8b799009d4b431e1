package transport

import (
	"fmt"
	"io"
	"time"
)

// Kind names a transport the way negotiate does.
type Kind string

// The transports of SignalR.
const (
	WebSockets       Kind = "WebSockets"
	ServerSentEvents Kind = "ServerSentEvents"
	LongPolling      Kind = "LongPolling"
)

// ClosedError is what Next returns when the client closed its WebSocket for another reason than that it is done. It is not a
// broken connection: the client does not mean to go on.
type ClosedError struct{ Status int }

func (e *ClosedError) Error() string {
	return fmt.Sprintf("transport: the client closed the WebSocket with status %d", e.Status)
}

// Conn is one client's connection as an ordered stream of bytes in each direction.
// What a client sends has no message boundaries; what it is sent always consists of whole messages.
//
// One goroutine may read, and one may write, at the same time; the rest may be called at any time from anywhere.
// Whoever is given a Conn must end it by Close or Abort, even when the client has gone: until then its id may count as live.
type Conn interface {
	// ID is the public connection id.
	ID() string
	// Kind is the transport in use.
	Kind() Kind

	// Next waits until bytes have come and returns a reader for those that belong together (a WebSocket message, or what POST
	// requests have brought so far). The reader is valid until the next call. Nothing is buffered while it waits. The error is io.EOF
	// when the client closed in an orderly way, and something else when the connection broke or was closed here.
	Next() (io.Reader, error)

	// Rest returns when Next would return at once, or nearly so. It belongs to whoever reads, who need not call it. Waiting in it takes
	// less of a goroutine's stack than in Next: half of what an idle connection has, if the goroutine is new.
	Rest()

	// Write sends frames, in order, joined into as few messages of the transport as its bounds allow. It returns
	// when the operating system took the bytes, or an error after the send timeout, or when the connection ends.
	// Over long polling it first waits for a poll to answer, which the send timeout does not bound: between two polls there may be as
	// much as the disconnect timeout.
	// An error ends the connection; after the send timeout it wraps os.ErrDeadlineExceeded. It does not keep the slice.
	Write(frames []*Frame) error

	// SetBinary makes the following messages Binary ones, as the codec chosen in the handshake wants it.
	SetBinary()

	// Ping asks the client's transport for a sign of life, where the transport has such a thing. It never blocks.
	Ping()
	// LastRead is when bytes last came from the client, a transport's own pongs included.
	LastRead() time.Time

	// Close ends the connection in an orderly way: normally (WebSocket 1000) when err is nil, else as failed (1011).
	// It waits up to the close timeout for the client to agree. Later calls of it do nothing, and do not wait.
	Close(err error)
	// Abort ends the connection at once, without a word to the client; it also cuts a Close under way short.
	Abort()
}

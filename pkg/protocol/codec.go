package protocol

// Codec is one hub protocol: how messages are framed, written and read.
// A Codec has no state; it is safe for concurrent use.
type Codec interface {
	// Name is what the handshake calls it: "json" or "messagepack".
	Name() string
	// Binary says whether its transfer format is Binary rather than Text.
	Binary() bool

	// Next cuts the first whole message off data. It returns the message without its framing and how many bytes
	// of data it took, framing included; zero when data holds no whole message yet. The error is an *Error.
	Next(data []byte) (body []byte, n int, err error)
	// Decode reads one message, as cut off by Next, into m, replacing all that m held; after an error m is empty.
	// A kind of message that this package does not know is no error: its Type is none of the constants, and a
	// receiver skips it. The error is an *Error whose text is the one ASP.NET Core gives.
	Decode(body []byte, m *Message) error

	// Append writes m, framed, behind dst. The encoded values in m must be of this codec and are not checked.
	// After an error dst comes back as it was; so it does from the other Append methods.
	Append(dst []byte, m *Message) ([]byte, error)
	// AppendInvocation writes an Invocation with Go values for arguments; an empty id means that no answer is wanted.
	AppendInvocation(dst []byte, id, target string, args []any) ([]byte, error)
	// AppendStreamItem writes a StreamItem with a Go value for item.
	AppendStreamItem(dst []byte, id string, item any) ([]byte, error)
	// AppendResult writes a Completion with a result; a nil result is written as null, which is not the same as
	// a Completion without a result.
	AppendResult(dst []byte, id string, result any) ([]byte, error)

	// AppendValue writes one Go value behind dst, unframed.
	AppendValue(dst []byte, v any) ([]byte, error)
	// Elements splits an encoded array into its encoded elements and appends them to dst.
	Elements(array []byte, dst [][]byte) ([][]byte, error)
	// Unmarshal decodes one encoded value into what ptr points to. Nothing in *ptr refers to value afterwards.
	// The error says which type the value does not fit; its text is for logs and detailed errors.
	Unmarshal(value []byte, ptr any) error
}

// Error is a breach of the protocol by the other side, or a value that does not fit.
// Its text is the message of the InvalidDataException that ASP.NET Core throws for the same input.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Raw is a value that stays encoded: as an argument, a result or a stream item, or anywhere inside one, it is carried
// unchanged to connections of the codec that it came in. For those of another it is turned over: numbers exactly (a
// JSON integer of more than 64 bits becomes a float64), binary as base64 text, timestamps as text in RFC 3339, keys of
// maps as text. NaN, infinities and other extension types have no form in JSON: writing those fails. The zero Raw is null.
type Raw struct {
	Codec string // name of the codec that Data is written in; empty means "json"
	Data  []byte // exactly one encoded value
}

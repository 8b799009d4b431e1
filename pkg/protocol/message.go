package protocol

// Type is the kind of a hub message, as it stands in its "type" property.
type Type uint8

// The message types of the hub protocol, versions 1 and 2.
const (
	TypeInvocation       Type = 1
	TypeStreamItem       Type = 2
	TypeCompletion       Type = 3
	TypeStreamInvocation Type = 4
	TypeCancelInvocation Type = 5
	TypePing             Type = 6
	TypeClose            Type = 7
	TypeAck              Type = 8
	TypeSequence         Type = 9
)

// Message is one hub message of any type; Type says which of the fields mean something.
//
// The values that a client sends (Arguments, Item, Result) stay encoded: only the hub knows the Go types to
// decode them into. After Decode they point into the decoded bytes, so they are valid as long as those are.
type Message struct {
	Type         Type
	Headers      map[string]string // types 1 to 5; nil when there are none
	InvocationID string            // empty when absent
	Target       string            // types 1 and 4
	Arguments    []byte            // types 1 and 4: the encoded array of arguments
	StreamIDs    []string          // types 1 and 4
	Item         []byte            // type 2: the encoded item
	Result       []byte            // type 3: the encoded result; nil when there is none (an encoded null is not nil)
	Error        string            // types 3 and 7
	HasError     bool              // types 3 and 7: the error is present, even if empty
	Reconnect    bool              // type 7: allowReconnect
	SequenceID   int64             // types 8 and 9
}

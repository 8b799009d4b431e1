package protocol

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// Payload is one hub message as the clients of one protocol get it.
type Payload struct {
	Protocol string // name of the codec
	Frame    []byte // the complete frame, its framing included
}

// ClusterInvocation is what travels on the channels of all, a group, a user and a connection.
type ClusterInvocation struct {
	Excluded []string  // connection ids that do not get it; means something for all and groups only
	Payloads []Payload // one for each protocol that any client of the cluster may speak

	// InvocationID and ReturnChannel are set together, and only when the one connection addressed is to answer:
	// its completion goes to ReturnChannel (named without the channel prefix).
	InvocationID  string
	ReturnChannel string
}

// GroupAction is what a GroupCommand asks for. The zero GroupAction is none of them.
type GroupAction uint8

// The group actions.
const (
	GroupAdd    GroupAction = 1
	GroupRemove GroupAction = 2
)

// GroupCommand asks the node that has the connection to put it into a group, or to take it out. That node answers
// with an ack on the channel of the server named.
type GroupCommand struct {
	ID         int32  // what the ack repeats; chosen by the sender
	Server     string // the sender
	Action     GroupAction
	Group      string
	Connection string
}

// ClusterCompletion is a client's answer on its way back to the node that asked.
type ClusterCompletion struct {
	Protocol string // of the client's connection
	Frame    []byte // a whole Completion frame in that protocol
}

// AppendClusterInvocation writes inv behind dst. InvocationID and ReturnChannel are written only if InvocationID
// is not empty.
func AppendClusterInvocation(dst []byte, inv ClusterInvocation) []byte {
	items := uint32(2)
	if inv.InvocationID != "" {
		items = 4
	}
	dst = msgp.AppendArrayHeader(dst, items)
	dst = msgp.AppendArrayHeader(dst, uint32(len(inv.Excluded)))
	for _, id := range inv.Excluded {
		dst = msgp.AppendString(dst, id)
	}
	dst = msgp.AppendMapHeader(dst, uint32(len(inv.Payloads)))
	for _, p := range inv.Payloads {
		dst = msgp.AppendString(dst, p.Protocol)
		dst = msgp.AppendBytes(dst, p.Frame)
	}
	if items == 4 {
		dst = msgp.AppendString(dst, inv.InvocationID)
		dst = msgp.AppendString(dst, inv.ReturnChannel)
	}
	return dst
}

// DecodeClusterInvocation reads b into inv, replacing all that inv held but reusing its slices. The frames point
// into b. After an error inv is empty.
func DecodeClusterInvocation(b []byte, inv *ClusterInvocation) error {
	r := envelope{rest: b, name: "Invocation"}
	items := r.items(2)
	inv.Excluded = inv.Excluded[:0]
	for range r.count("excluded ids") {
		inv.Excluded = append(inv.Excluded, r.str("excluded id"))
		if r.err != nil {
			break
		}
	}
	inv.Payloads = inv.Payloads[:0]
	for range r.pairs("payloads") {
		inv.Payloads = append(inv.Payloads, Payload{Protocol: r.protocol(), Frame: r.bin("hub message")})
		if r.err != nil {
			break
		}
	}
	inv.InvocationID, inv.ReturnChannel = "", ""
	// Three items are as good as two: the pair counts only when it is whole.
	if items > 3 {
		inv.InvocationID = r.str("invocation id")
		inv.ReturnChannel = r.str("return channel")
	}
	if r.err != nil {
		*inv = ClusterInvocation{Excluded: inv.Excluded[:0], Payloads: inv.Payloads[:0]}
	}
	return r.err
}

// AppendGroupCommand writes c behind dst.
func AppendGroupCommand(dst []byte, c GroupCommand) []byte {
	dst = msgp.AppendArrayHeader(dst, 5)
	dst = appendPackInt(dst, int64(c.ID))
	dst = msgp.AppendString(dst, c.Server)
	dst = msgp.AppendUint8(dst, uint8(c.Action))
	dst = msgp.AppendString(dst, c.Group)
	return msgp.AppendString(dst, c.Connection)
}

// DecodeGroupCommand reads a group command. The action may be one that this package does not name.
func DecodeGroupCommand(b []byte) (GroupCommand, error) {
	r := envelope{rest: b, name: "GroupCommand"}
	r.items(5)
	c := GroupCommand{ID: r.int32("id"), Server: r.str("server")}
	c.Action = GroupAction(r.uint8("action"))
	c.Group = r.str("group")
	c.Connection = r.str("connection")
	if r.err != nil {
		return GroupCommand{}, r.err
	}
	return c, nil
}

// AppendAck writes the ack of the command with that id behind dst.
func AppendAck(dst []byte, id int32) []byte {
	return appendPackInt(msgp.AppendArrayHeader(dst, 1), int64(id))
}

// DecodeAck reads the id of the command that b acknowledges.
func DecodeAck(b []byte) (int32, error) {
	r := envelope{rest: b, name: "Ack"}
	r.items(1)
	id := r.int32("id")
	return id, r.err
}

// AppendClusterCompletion writes c behind dst.
func AppendClusterCompletion(dst []byte, c ClusterCompletion) []byte {
	dst = msgp.AppendArrayHeader(dst, 2)
	dst = msgp.AppendString(dst, c.Protocol)
	return msgp.AppendBytes(dst, c.Frame)
}

// DecodeClusterCompletion reads a completion. Its frame points into b.
func DecodeClusterCompletion(b []byte) (ClusterCompletion, error) {
	r := envelope{rest: b, name: "CompletionMessage"}
	r.items(2)
	c := ClusterCompletion{Protocol: r.protocol(), Frame: r.bin("hub message")}
	if r.err != nil {
		return ClusterCompletion{}, r.err
	}
	return c, nil
}

// envelope reads the items of one envelope. After the first error it reads nothing more, and every item is zero.
type envelope struct {
	name string // as it stands in error texts
	rest []byte
	err  error
}

func (r *envelope) fail(what string, err error) {
	r.err = &Error{Text: fmt.Sprintf("Reading %s of the %s failed: %v.", what, r.name, err)}
}

// items reads the header of the envelope itself. More items than least are well and ignored.
func (r *envelope) items(least uint32) uint32 {
	n, rest, err := msgp.ReadArrayHeaderBytes(r.rest)
	switch {
	case err != nil:
		r.fail("array length", err)
	case n < least:
		r.err = &Error{Text: fmt.Sprintf("Insufficient items in %s array.", r.name)}
	}
	r.rest = rest
	return n
}

// count reads the header of an array. The number is a mere claim: whoever loops on it makes room item by item, and
// ends with the first error.
func (r *envelope) count(what string) uint32 {
	if r.err != nil {
		return 0
	}
	n, rest, err := msgp.ReadArrayHeaderBytes(r.rest)
	if err != nil {
		r.fail(what, err)
		return 0
	}
	r.rest = rest
	return n
}

// pairs is count for a map.
func (r *envelope) pairs(what string) uint32 {
	if r.err != nil {
		return 0
	}
	n, rest, err := msgp.ReadMapHeaderBytes(r.rest)
	if err != nil {
		r.fail(what, err)
		return 0
	}
	r.rest = rest
	return n
}

func (r *envelope) str(what string) string {
	return string(r.strBytes(what))
}

// protocol reads the name of a codec; the names of ours cost no allocation.
func (r *envelope) protocol() string {
	name := r.strBytes("protocol name")
	switch string(name) {
	case jsonName:
		return jsonName
	case packName:
		return packName
	}
	return string(name)
}

func (r *envelope) strBytes(what string) []byte {
	if r.err != nil {
		return nil
	}
	if msgp.IsNil(r.rest) { // .NET writes a null string as nil, and reads it back as no string
		r.rest = r.rest[1:]
		return nil
	}
	s, rest, err := msgp.ReadStringZC(r.rest)
	if err != nil {
		r.fail(what, err)
		return nil
	}
	r.rest = rest
	return s
}

func (r *envelope) bin(what string) []byte {
	if r.err != nil {
		return nil
	}
	b, rest, err := msgp.ReadBytesZC(r.rest)
	if err != nil {
		r.fail(what, err)
		return nil
	}
	r.rest = rest
	return b
}

func (r *envelope) int32(what string) int32 {
	if r.err != nil {
		return 0
	}
	i, rest, err := msgp.ReadInt32Bytes(r.rest)
	if err != nil {
		r.fail(what, err)
		return 0
	}
	r.rest = rest
	return i
}

func (r *envelope) uint8(what string) uint8 {
	if r.err != nil {
		return 0
	}
	i, rest, err := msgp.ReadUint8Bytes(r.rest)
	if err != nil {
		r.fail(what, err)
		return 0
	}
	r.rest = rest
	return i
}

package protocol

import (
	"github.com/tinylib/msgp/msgp"
)

// FleetAction is what a FleetRequest asks for. The zero FleetAction is none of them.
type FleetAction uint8

// The fleet actions. A node that does not know one says so in its reply.
const (
	FleetList       FleetAction = 1 // the connections chosen, a page at a time
	FleetCount      FleetAction = 2 // how many they are
	FleetDisconnect FleetAction = 3 // end them
	FleetJoin       FleetAction = 4 // put them into Group
	FleetLeave      FleetAction = 5 // take them out of Group
	FleetLeaveAll   FleetAction = 6 // take them out of all groups
)

// FleetChoice says which connections of a hub a FleetRequest is about. The zero FleetChoice is none of them.
type FleetChoice uint8

// The fleet choices. Names are those of what is chosen; all has none.
const (
	FleetAll         FleetChoice = 1
	FleetConnections FleetChoice = 2
	FleetGroups      FleetChoice = 3
	FleetUsers       FleetChoice = 4
)

// FleetRequest asks every node about the connections it has, or to do something with them. It travels on a channel of
// Hubfleet's own; each node answers with a FleetReply on the channel of the node that asked.
type FleetRequest struct {
	ID     uint64 // what the replies repeat; chosen by the sender
	From   string // id of the node that asks
	Wait   uint32 // how long it waits for replies, in milliseconds
	Hub    string // the hub's name; empty: all hubs
	Action FleetAction
	Choice FleetChoice
	Names  []string
	Except []string // ids of connections that are not meant
	Group  string   // for FleetJoin and FleetLeave; for FleetCount and FleetList: count only who is in it, if not empty
	After  string   // for FleetList: only connections whose id is greater
	Limit  uint32   // for FleetList: how many
}

// FleetReply is one node's answer.
type FleetReply struct {
	ID      uint64
	Node    string // the node's id
	Name    string // what the node is called
	Count   uint32 // how many connections it counted or changed
	Failed  string // why it could not do all of it; empty when it did
	More    bool   // it has more connections than it lists
	Members []FleetMember
}

// FleetMember is one connection in a FleetReply.
type FleetMember struct {
	Hub        string
	Connection string
	User       string // empty: anonymous
	Transport  string
	Since      int64 // when it came, in milliseconds since 1970
}

// AppendFleetRequest writes q behind dst.
func AppendFleetRequest(dst []byte, q FleetRequest) []byte {
	dst = msgp.AppendArrayHeader(dst, 11)
	dst = msgp.AppendUint64(dst, q.ID)
	dst = msgp.AppendString(dst, q.From)
	dst = msgp.AppendUint32(dst, q.Wait)
	dst = msgp.AppendString(dst, q.Hub)
	dst = msgp.AppendUint8(dst, uint8(q.Action))
	dst = msgp.AppendUint8(dst, uint8(q.Choice))
	dst = appendStrings(dst, q.Names)
	dst = appendStrings(dst, q.Except)
	dst = msgp.AppendString(dst, q.Group)
	dst = msgp.AppendString(dst, q.After)
	return msgp.AppendUint32(dst, q.Limit)
}

func appendStrings(dst []byte, texts []string) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(len(texts)))
	for _, s := range texts {
		dst = msgp.AppendString(dst, s)
	}
	return dst
}

// DecodeFleetRequest reads a request. Action and choice may be ones that this package does not name.
func DecodeFleetRequest(b []byte) (FleetRequest, error) {
	r := envelope{rest: b, name: "FleetRequest"}
	r.items(11)
	q := FleetRequest{ID: r.uint64("id"), From: r.str("sender"), Wait: r.uint32("wait"), Hub: r.str("hub")}
	q.Action = FleetAction(r.uint8("action"))
	q.Choice = FleetChoice(r.uint8("choice"))
	q.Names = r.strs("names")
	q.Except = r.strs("excluded ids")
	q.Group = r.str("group")
	q.After = r.str("after")
	q.Limit = r.uint32("limit")
	if r.err != nil {
		return FleetRequest{}, r.err
	}
	return q, nil
}

// AppendFleetReply writes p behind dst.
func AppendFleetReply(dst []byte, p FleetReply) []byte {
	dst = msgp.AppendArrayHeader(dst, 7)
	dst = msgp.AppendUint64(dst, p.ID)
	dst = msgp.AppendString(dst, p.Node)
	dst = msgp.AppendString(dst, p.Name)
	dst = msgp.AppendUint32(dst, p.Count)
	dst = msgp.AppendString(dst, p.Failed)
	dst = msgp.AppendBool(dst, p.More)
	dst = msgp.AppendArrayHeader(dst, uint32(len(p.Members)))
	for _, m := range p.Members {
		dst = msgp.AppendArrayHeader(dst, 5)
		dst = msgp.AppendString(dst, m.Hub)
		dst = msgp.AppendString(dst, m.Connection)
		dst = msgp.AppendString(dst, m.User)
		dst = msgp.AppendString(dst, m.Transport)
		dst = msgp.AppendInt64(dst, m.Since)
	}
	return dst
}

// DecodeFleetReply reads a reply.
func DecodeFleetReply(b []byte) (FleetReply, error) {
	r := envelope{rest: b, name: "FleetReply"}
	r.items(7)
	p := FleetReply{ID: r.uint64("id"), Node: r.str("node"), Name: r.str("name"), Count: r.uint32("count"), Failed: r.str("failure")}
	p.More = r.bool("more")
	for range r.count("members") {
		// More items than we know are well, as in the envelope itself; what stands behind them cannot be passed over without a look.
		extra := int64(r.count("member")) - 5
		if extra < 0 && r.err == nil {
			r.err = &Error{Text: "Insufficient items in a member of the FleetReply."}
		}
		m := FleetMember{Hub: r.str("hub"), Connection: r.str("connection"), User: r.str("user"), Transport: r.str("transport")}
		m.Since = r.int64("time")
		for ; extra > 0 && r.err == nil; extra-- {
			r.skip("member")
		}
		if r.err != nil {
			return FleetReply{}, r.err
		}
		p.Members = append(p.Members, m)
	}
	if r.err != nil {
		return FleetReply{}, r.err
	}
	return p, nil
}

func (r *envelope) strs(what string) []string {
	var texts []string
	for range r.count(what) {
		text := r.str(what)
		if r.err != nil {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

func (r *envelope) uint64(what string) uint64 { return read(r, what, msgp.ReadUint64Bytes) }
func (r *envelope) uint32(what string) uint32 { return read(r, what, msgp.ReadUint32Bytes) }
func (r *envelope) int64(what string) int64   { return read(r, what, msgp.ReadInt64Bytes) }
func (r *envelope) bool(what string) bool     { return read(r, what, msgp.ReadBoolBytes) }

// read reads one value that copies nothing.
func read[T any](r *envelope, what string, from func([]byte) (T, []byte, error)) (v T) {
	if r.err != nil {
		return v
	}
	got, rest, err := from(r.rest)
	if err != nil {
		r.fail(what, err)
		return v
	}
	r.rest = rest
	return got
}

// skip passes over one value of any kind.
func (r *envelope) skip(what string) {
	if r.err != nil {
		return
	}
	rest, err := msgp.Skip(r.rest)
	if err != nil {
		r.fail(what, err)
		return
	}
	r.rest = rest
}

package protocol

import (
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"
)

// The kinds of result that a Completion in MessagePack has.
const (
	resultError = 1
	resultVoid  = 2
	resultValue = 3
)

func (packCodec) Decode(body []byte, m *Message) error {
	*m = Message{}
	r := packReader{rest: body}
	r.message(m)
	if r.err != nil {
		*m = Message{}
	}
	return r.err
}

// packReader reads the items of one message in their order. After the first error it reads nothing more, and every item
// is zero. As ASP.NET Core, it heeds the number of items only where older writers write fewer.
type packReader struct {
	rest []byte
	err  error
}

func (r *packReader) message(m *Message) {
	items := r.count("elementCount")
	kind := r.int32("messageType")
	if r.err != nil || kind < 0 || kind > math.MaxUint8 {
		return
	}
	m.Type = Type(kind)
	switch m.Type {
	case TypeInvocation:
		r.invocation(m, items, "Invocation")
	case TypeStreamInvocation:
		r.invocation(m, items, "StreamInvocation")
	case TypeStreamItem:
		m.Headers = r.headers()
		m.InvocationID = r.id("StreamItem")
		m.Item, _ = r.value()
	case TypeCompletion:
		m.Headers = r.headers()
		m.InvocationID = r.id("Completion")
		r.result(m)
	case TypeCancelInvocation:
		m.Headers = r.headers()
		m.InvocationID = r.id("CancelInvocation")
	case TypeClose:
		m.Error, m.HasError = r.text("error")
		if items > 2 {
			m.Reconnect = r.boolean("allowReconnect")
		}
	case TypeAck, TypeSequence:
		m.SequenceID = r.int64("sequenceId")
	}
}

func (r *packReader) invocation(m *Message, items uint32, kind string) {
	m.Headers = r.headers()
	if m.Type == TypeInvocation {
		m.InvocationID, _ = r.text("invocationId")
	} else {
		m.InvocationID = r.id(kind)
	}
	m.Target = r.required("target", "target for "+kind+" message")
	var ok bool
	m.Arguments, ok = r.value()
	if !ok || items < 6 || packKindOf(m.Arguments) != packArray {
		return // the TypeScript client leaves empty stream ids out; behind broken arguments nobody knows where they are
	}
	for range r.count("streamIds") {
		m.StreamIDs = append(m.StreamIDs, r.required("streamIds", "value in streamIds received"))
		if r.err != nil {
			return
		}
	}
}

func (r *packReader) result(m *Message) {
	kind := r.int32("resultKind")
	if r.err != nil {
		return
	}
	switch kind {
	case resultError:
		m.Error, m.HasError = r.text("error")
	case resultVoid:
	case resultValue:
		m.Result, _ = r.value()
	default:
		r.fail("Invalid invocation result kind.")
	}
}

func (r *packReader) headers() map[string]string {
	n := r.pairs("headers")
	if r.err != nil || n == 0 {
		return nil
	}
	headers := make(map[string]string)
	for i := range n {
		name := r.header(i, "Key", "key")
		value := r.header(i, "Value", "value")
		if r.err != nil {
			return nil
		}
		headers[name] = value
	}
	return headers
}

func (r *packReader) header(i uint32, part, what string) string {
	s, _, ok := r.str()
	switch {
	case r.err != nil:
	case !ok:
		r.fail(fmt.Sprintf("Reading 'headers[%d].%s' as String failed.", i, part))
	case s == "":
		r.fail("Null or empty " + what + " in header.")
	}
	return s
}

// value cuts the next value off. If it is not whole or nested too deeply, ok is false, and the value is all that is left.
// It is never nil.
func (r *packReader) value() (v []byte, ok bool) {
	if r.err != nil {
		return nil, false
	}
	n, ok := packLen(r.rest, 1)
	if !ok {
		n = len(r.rest)
	}
	v = r.rest[:n:n]
	r.rest = r.rest[n:]
	return v, ok
}

func (r *packReader) id(kind string) string {
	return r.required("invocationId", "invocation ID for "+kind+" message")
}

// required reads a string that must not be nil or empty.
func (r *packReader) required(field, what string) string {
	s, _ := r.text(field)
	if r.err == nil && s == "" {
		r.fail("Null or empty " + what + ".")
	}
	return s
}

// text reads a string, or nil as none.
func (r *packReader) text(field string) (s string, present bool) {
	s, present, ok := r.str()
	if r.err == nil && !ok {
		r.fail("Reading '" + field + "' as String failed.")
	}
	return s, present
}

func (r *packReader) str() (s string, present, ok bool) {
	if r.err != nil {
		return "", false, false
	}
	if msgp.IsNil(r.rest) {
		r.rest = r.rest[1:]
		return "", false, true
	}
	b, rest, err := msgp.ReadStringZC(r.rest)
	if err != nil {
		return "", false, false
	}
	r.rest = rest
	return validText(b), true, true
}

func (r *packReader) count(field string) uint32 {
	return readPack(r, msgp.ReadArrayHeaderBytes, "Reading array length for '", field, "' failed.")
}

func (r *packReader) pairs(field string) uint32 {
	return readPack(r, msgp.ReadMapHeaderBytes, "Reading map length for '", field, "' failed.")
}

func (r *packReader) int32(field string) int32 {
	return readPack(r, msgp.ReadInt32Bytes, "Reading '", field, "' as Int32 failed.")
}

func (r *packReader) int64(field string) int64 {
	return readPack(r, msgp.ReadInt64Bytes, "Reading '", field, "' as Int64 failed.")
}

func (r *packReader) boolean(field string) bool {
	return readPack(r, msgp.ReadBoolBytes, "Reading '", field, "' as Boolean failed.")
}

// readPack reads one item with read, or fails with the text that the three parts make.
func readPack[T any](r *packReader, read func([]byte) (T, []byte, error), before, field, after string) T {
	var zero T
	if r.err != nil {
		return zero
	}
	v, rest, err := read(r.rest)
	if err != nil {
		r.fail(before + field + after)
		return zero
	}
	r.rest = rest
	return v
}

func (r *packReader) fail(text string) { r.err = &Error{Text: text} }

package protocol

import (
	"math"
	"unicode/utf8"
)

func (jsonCodec) Decode(body []byte, m *Message) error {
	*m = Message{}
	r := jsonReader{scanner: scanner{data: body}}
	err := r.read()
	if err == nil {
		err = r.bind(m)
	}
	if err != nil {
		*m = Message{}
	}
	return err
}

// jsonReader collects the properties of a message. What they mean depends on the type, which may come last, so they
// are bound only when all have been seen.
type jsonReader struct {
	scanner
	found                         Message // Type is not set
	typeNumber                    int64
	hasType, hasTarget, hasResult bool
	hasSequence                   bool
}

func (r *jsonReader) read() error {
	if err := r.object(); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, ok := r.more(first, '}')
		if !ok {
			return errJSON
		}
		if !more {
			break
		}
		name, ok := r.key()
		if !ok {
			return errJSON
		}
		if err := r.property(name); err != nil {
			return err
		}
	}
	// The values go on to other clients as they are, and a text frame that is not UTF-8 costs a client its connection.
	if !utf8.Valid(r.data[:r.pos]) {
		return errJSON
	}
	return nil
}

// property reads the value of the named property; property names count only as they are written here.
func (r *jsonReader) property(name []byte) (err error) {
	m := &r.found
	switch string(name) {
	case "type":
		r.typeNumber, r.hasType, err = r.integer("type", math.MinInt32, math.MaxInt32, "Int32")
		if err == nil && !r.hasType {
			err = wrongType("type", "Number")
		}
	case "invocationId":
		m.InvocationID, err = r.text("invocationId")
	case "target":
		m.Target, err = r.text("target")
		r.hasTarget = true
	case "error":
		m.Error, err = r.text("error")
		m.HasError = true
	case "allowReconnect":
		m.Reconnect, err = r.boolean("allowReconnect")
	case "sequenceId":
		m.SequenceID, r.hasSequence, err = r.integer("sequenceId", math.MinInt64, math.MaxInt64, "Int64")
	case "arguments":
		if c := r.peek(); c != '[' {
			return r.mismatch("arguments", "Array")
		}
		m.Arguments, err = r.encoded()
	case "item":
		m.Item, err = r.encoded()
	case "result":
		m.Result, err = r.encoded()
		r.hasResult = true
	case "streamIds":
		m.StreamIDs, err = r.streamIDs()
	case "headers":
		m.Headers, err = r.headers()
	default:
		_, err = r.encoded()
	}
	return err
}

// bind makes a message of the properties found, or says which one it lacks.
func (r *jsonReader) bind(m *Message) error {
	f := &r.found
	if !r.hasType {
		return missing("type")
	}
	if r.typeNumber < 0 || r.typeNumber > math.MaxUint8 {
		return nil
	}
	m.Type = Type(r.typeNumber)
	switch m.Type {
	case TypeInvocation, TypeStreamInvocation:
		if err := r.checkInvocation(m.Type); err != nil {
			return err
		}
		m.Target, m.Arguments, m.StreamIDs = f.Target, f.Arguments, f.StreamIDs
	case TypeStreamItem:
		if f.InvocationID == "" {
			return missing("invocationId")
		}
		if f.Item == nil {
			return missing("item")
		}
		m.Item = f.Item
	case TypeCompletion:
		if f.InvocationID == "" {
			return missing("invocationId")
		}
		if f.HasError && r.hasResult {
			return &Error{Text: "The 'error' and 'result' properties are mutually exclusive."}
		}
		m.Result, m.Error, m.HasError = f.Result, f.Error, f.HasError
	case TypeCancelInvocation:
		if f.InvocationID == "" {
			return missing("invocationId")
		}
	case TypeClose:
		m.Error, m.HasError, m.Reconnect = f.Error, f.HasError, f.Reconnect
		return nil
	case TypeAck, TypeSequence:
		if !r.hasSequence {
			return missing("sequenceId")
		}
		m.SequenceID = f.SequenceID
		return nil
	default: // a ping, or a kind of the future
		return nil
	}
	m.InvocationID, m.Headers = f.InvocationID, f.Headers
	return nil
}

// checkInvocation looks for what is missing in the order in which ASP.NET Core does.
func (r *jsonReader) checkInvocation(kind Type) error {
	f := &r.found
	switch {
	case !r.hasTarget:
		return missing("target")
	case kind == TypeStreamInvocation && f.InvocationID == "":
		return missing("invocationId")
	case kind == TypeInvocation && f.Target == "":
		return missing("target")
	case f.Arguments == nil:
		return missing("arguments")
	case f.Target == "":
		return missing("target")
	}
	return nil
}

func (r *jsonReader) streamIDs() ([]string, error) {
	if r.peek() != '[' {
		return nil, r.mismatch("streamIds", "Array")
	}
	r.pos++
	var ids []string
	for first := true; ; first = false {
		more, ok := r.more(first, ']')
		if !ok {
			return nil, errJSON
		}
		if !more {
			return ids, nil
		}
		if r.peek() != '"' {
			switch kind := r.kind(); kind {
			case "":
				return nil, errJSON
			case "Null":
				return nil, &Error{Text: "Null value for 'streamIds' is not valid."}
			default:
				return nil, &Error{Text: "Cannot get the value of a token type '" + kind + "' as a string."}
			}
		}
		raw, escaped, ok := r.str()
		if !ok {
			return nil, errJSON
		}
		ids = append(ids, unquote(raw, escaped))
	}
}

func (r *jsonReader) headers() (map[string]string, error) {
	if r.peek() != '{' {
		return nil, r.mismatch("headers", "StartObject")
	}
	r.pos++
	var headers map[string]string
	for first := true; ; first = false {
		if r.peek() == 0 && r.pos == len(r.data) {
			return nil, &Error{Text: "Unexpected end when reading message headers"}
		}
		more, ok := r.more(first, '}')
		if !ok {
			return nil, errJSON
		}
		if !more {
			return headers, nil
		}
		name, ok := r.key()
		if !ok {
			return nil, errJSON
		}
		if r.peek() != '"' {
			if r.kind() == "" {
				return nil, errJSON
			}
			return nil, &Error{Text: "Expected header '" + string(name) + "' to be of type String."}
		}
		raw, escaped, ok := r.str()
		if !ok {
			return nil, errJSON
		}
		if headers == nil {
			headers = make(map[string]string)
		}
		headers[string(name)] = unquote(raw, escaped)
	}
}

package protocol

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

func (c jsonCodec) Append(dst []byte, m *Message) ([]byte, error) {
	b := dst
	switch m.Type {
	case TypeInvocation, TypeStreamInvocation:
		b = appendJSONHead(b, m.Type, m.Headers, m.InvocationID)
		b = append(b, `,"target":`...)
		b = appendJSONString(b, m.Target)
		b = append(b, `,"arguments":`...)
		b = appendEncoded(b, m.Arguments, "[]")
		b = appendStreamIDs(b, m.StreamIDs)
	case TypeStreamItem:
		b = appendJSONHead(b, m.Type, m.Headers, m.InvocationID)
		b = append(b, `,"item":`...)
		b = appendEncoded(b, m.Item, "null")
	case TypeCompletion:
		b = appendJSONHead(b, m.Type, m.Headers, m.InvocationID)
		switch {
		case m.Error != "":
			b = append(b, `,"error":`...)
			b = appendJSONString(b, m.Error)
		case m.Result != nil:
			b = append(b, `,"result":`...)
			b = appendEncoded(b, m.Result, "null")
		}
	case TypeCancelInvocation:
		b = appendJSONHead(b, m.Type, m.Headers, m.InvocationID)
	case TypePing:
		b = append(b, `{"type":6`...)
	case TypeClose:
		b = append(b, `{"type":7`...)
		if m.HasError || m.Error != "" {
			b = append(b, `,"error":`...)
			b = appendJSONString(b, m.Error)
		}
		if m.Reconnect {
			b = append(b, `,"allowReconnect":true`...)
		}
	case TypeAck, TypeSequence:
		b = appendJSONHead(b, m.Type, nil, "")
		b = append(b, `,"sequenceId":`...)
		b = strconv.AppendInt(b, m.SequenceID, 10)
	default:
		return dst, fmt.Errorf("protocol: message type %d cannot be written: it must be one of the Type constants", m.Type)
	}
	return append(b, '}', recordSeparator), nil
}

func (c jsonCodec) AppendInvocation(dst []byte, id, target string, args []any) ([]byte, error) {
	b := appendJSONHead(dst, TypeInvocation, nil, id)
	b = append(b, `,"target":`...)
	b = appendJSONString(b, target)
	b = append(b, `,"arguments":[`...)
	for i, arg := range args {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = c.AppendValue(b, arg); err != nil {
			return dst, fmt.Errorf("argument %d of %s: %w", i+1, target, err)
		}
	}
	return append(b, ']', '}', recordSeparator), nil
}

func (c jsonCodec) AppendStreamItem(dst []byte, id string, item any) ([]byte, error) {
	b := appendJSONHead(dst, TypeStreamItem, nil, id)
	b = append(b, `,"item":`...)
	b, err := c.AppendValue(b, item)
	if err != nil {
		return dst, err
	}
	return append(b, '}', recordSeparator), nil
}

func (c jsonCodec) AppendResult(dst []byte, id string, result any) ([]byte, error) {
	b := appendJSONHead(dst, TypeCompletion, nil, id)
	b = append(b, `,"result":`...)
	b, err := c.AppendValue(b, result)
	if err != nil {
		return dst, err
	}
	return append(b, '}', recordSeparator), nil
}

// appendJSONHead writes what all messages begin with. Clients drop the connection over a null or empty id, and the
// Java client over any headers, so that neither is written without need.
func appendJSONHead(dst []byte, t Type, headers map[string]string, id string) []byte {
	dst = append(dst, `{"type":`...)
	dst = append(dst, '0'+byte(t))
	if len(headers) > 0 {
		sep := `,"headers":{`
		for _, name := range slices.Sorted(maps.Keys(headers)) { // sorted, so that equal messages are equal bytes
			dst = append(dst, sep...)
			dst = appendJSONString(dst, name)
			dst = append(dst, ':')
			dst = appendJSONString(dst, headers[name])
			sep = ","
		}
		dst = append(dst, '}')
	}
	if id != "" {
		dst = append(dst, `,"invocationId":`...)
		dst = appendJSONString(dst, id)
	}
	return dst
}

func appendEncoded(dst, value []byte, none string) []byte {
	if len(value) == 0 {
		return append(dst, none...)
	}
	return append(dst, value...)
}

func appendStreamIDs(dst []byte, ids []string) []byte {
	if len(ids) == 0 {
		return dst
	}
	dst = append(dst, `,"streamIds":[`...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, id)
	}
	return append(dst, ']')
}

// appendJSONString writes s as a JSON string in which only what must be escaped is, and what is not UTF-8 has become
// U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\uFFFD"...)
			start = i + 1
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const hex = "0123456789ABCDEF" // upper case, as .NET has it
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
}

package protocol

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// appendJSONFromPack writes the one MessagePack value in b as JSON, into depth open arrays and objects.
func appendJSONFromPack(dst, b []byte, depth int) ([]byte, error) {
	if !validPack(b, depth) {
		return dst, errNotPack
	}
	dst, _, err := appendJSONValue(dst, b)
	return dst, err
}

// appendJSONValue writes the value that b, which holds it whole, begins with.
func appendJSONValue(dst, b []byte) (out, rest []byte, err error) {
	switch kind := packKindOf(b); kind {
	case packNil:
		return append(dst, "null"...), b[1:], nil
	case packBool:
		return strconv.AppendBool(dst, b[0] == 0xC3), b[1:], nil
	case packInt, packFloat:
		n, rest, _ := readNumber(b)
		dst, err = n.appendText(dst)
		return dst, rest, err
	case packArray:
		count, rest, _ := msgp.ReadArrayHeaderBytes(b)
		dst = append(dst, '[')
		for i := range count {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, rest, err = appendJSONValue(dst, rest); err != nil {
				return dst, rest, err
			}
		}
		return append(dst, ']'), rest, nil
	case packMap:
		return appendJSONObject(dst, b)
	}
	text, rest, err := packText(b)
	if err != nil {
		return dst, rest, err
	}
	return appendJSONString(dst, text), rest, nil
}

func appendJSONObject(dst, b []byte) (out, rest []byte, err error) {
	count, rest, _ := msgp.ReadMapHeaderBytes(b)
	dst = append(dst, '{')
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		var name string
		if name, rest, err = packText(rest); err != nil {
			return dst, rest, err
		}
		dst = append(appendJSONString(dst, name), ':')
		if dst, rest, err = appendJSONValue(dst, rest); err != nil {
			return dst, rest, err
		}
	}
	return append(dst, '}'), rest, nil
}

// packText returns the value that b, which holds it whole, begins with as text: what JSON has for it, or for a key what
// stands for it in an object.
func packText(b []byte) (text string, rest []byte, err error) {
	switch kind := packKindOf(b); kind {
	case packStr:
		s, rest, _ := msgp.ReadStringZC(b)
		return validText(s), rest, nil
	case packBin:
		s, rest, _ := msgp.ReadBytesZC(b)
		return base64.StdEncoding.EncodeToString(s), rest, nil
	case packExt:
		t, rest, ok := readTimestamp(b)
		if !ok {
			return "", b, errors.New("it has an extension that is no timestamp of the years 0 to 9999")
		}
		return t.Format(time.RFC3339Nano), rest, nil
	case packBool:
		return strconv.FormatBool(b[0] == 0xC3), b[1:], nil
	case packInt, packFloat:
		n, rest, _ := readNumber(b)
		text, err := n.appendText(nil)
		return string(text), rest, err
	default:
		return "", b, fmt.Errorf("it has a map with %v for a key", kind)
	}
}

// appendText writes the number as JSON has it.
func (n number) appendText(dst []byte) ([]byte, error) {
	switch {
	case math.IsNaN(n.f) || math.IsInf(n.f, 0):
		return dst, fmt.Errorf("JSON has no number for %v", n)
	case n.single:
		return appendFloat(dst, n.f, 32)
	case n.double:
		return appendFloat(dst, n.f, 64)
	case n.large:
		return strconv.AppendUint(dst, uint64(n.i), 10), nil
	}
	return strconv.AppendInt(dst, n.i, 10), nil
}

// appendPackFromJSON writes the one JSON value in text as MessagePack, into depth open arrays and maps; nothing as nil.
func appendPackFromJSON(dst, text []byte, depth int) ([]byte, error) {
	if len(text) == 0 {
		return msgp.AppendNil(dst), nil
	}
	if !validJSON(text, depth) {
		return dst, fmt.Errorf("a raw value is not valid JSON: it must be exactly one UTF-8 encoded value, at most %d levels deep", maxDepth-depth)
	}
	s := scanner{data: text}
	return appendPackValue(dst, &s)
}

// appendPackValue writes the value at which s, whose text is valid, stands.
func appendPackValue(dst []byte, s *scanner) ([]byte, error) {
	c := s.peek()
	switch c {
	case '{', '[':
		return appendPackContainer(dst, s)
	case '"':
		return appendPackString(dst, s), nil
	}
	start := s.pos
	s.scalar()
	switch c {
	case 't', 'f':
		return msgp.AppendBool(dst, c == 't'), nil
	case 'n':
		return msgp.AppendNil(dst), nil
	}
	return appendPackNumber(dst, s.data[start:s.pos])
}

func appendPackString(dst []byte, s *scanner) []byte {
	raw, escaped, _ := s.str()
	if escaped {
		return msgp.AppendString(dst, unquote(raw, true))
	}
	return msgp.AppendStringFromBytes(dst, raw)
}

// appendPackContainer writes an array or a map. How many elements it has shows only at its end, so that one byte is
// left for the header, and what is behind it is moved when that does not do.
func appendPackContainer(dst []byte, s *scanner) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0)
	object, end := s.data[s.pos] == '{', byte(']')
	if object {
		end = '}'
	}
	s.pos++
	count := uint32(0)
	for {
		if more, _ := s.more(count == 0, end); !more {
			break
		}
		s.space()
		if object {
			dst = appendPackString(dst, s)
			s.peek()
			s.pos++ // over the colon
		}
		var err error
		if dst, err = appendPackValue(dst, s); err != nil {
			return dst, err
		}
		count++
	}
	var room [5]byte
	header := msgp.AppendArrayHeader(room[:0], count)
	if object {
		header = msgp.AppendMapHeader(room[:0], count)
	}
	size := len(dst) - start - 1
	dst = append(dst, header[1:]...)
	copy(dst[start+len(header):], dst[start+1:start+1+size])
	copy(dst[start:], header)
	return dst, nil
}

// appendPackNumber writes a JSON number: an integer as an integer if it has at most 64 bits, all else as a float64.
func appendPackNumber(dst, text []byte) ([]byte, error) {
	s := scanner{data: text}
	if _, ok := s.number(); !ok || s.pos != len(text) {
		return dst, fmt.Errorf("%q is no number", text)
	}
	if !bytes.ContainsAny(text, ".eE") && string(text) != "-0" { // an integer has no negative zero
		if i, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return appendPackInt(dst, i), nil
		}
		if u, err := strconv.ParseUint(string(text), 10, 64); err == nil {
			return msgp.AppendUint64(dst, u), nil
		}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return dst, fmt.Errorf("the number %s is out of range", text)
	}
	return msgp.AppendFloat64(dst, f), nil
}

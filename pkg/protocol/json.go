package protocol

import "bytes"

// JSON is the codec of the "json" hub protocol: one JSON object per message, ended by the byte 0x1E.
//
// Reading refuses what is nested deeper than 64 levels and text that is not UTF-8. Properties may come in any order
// (the TypeScript client sends them alphabetically), unknown ones are ignored, the last of equal ones counts, and what
// follows the object is ignored, as ASP.NET Core does. A message of a kind that this package does not know decodes
// with its Type, or zero if that does not fit, and nothing else; a receiver skips it.
//
// Values are written as [encoding/json] writes them without HTML escaping, and read as it reads them, except that at
// the top level null fits only what can be nil or is a string, and an integer takes an integral 2.0 or 2e3 as well.
var JSON Codec = jsonCodec{}

const (
	jsonName        = "json"
	recordSeparator = 0x1E
)

type jsonCodec struct{}

func (jsonCodec) Name() string { return jsonName }
func (jsonCodec) Binary() bool { return false }

// Next never fails: bytes without an end are a message still on its way, however long.
func (jsonCodec) Next(data []byte) (body []byte, n int, err error) {
	i := bytes.IndexByte(data, recordSeparator)
	if i < 0 {
		return nil, 0, nil
	}
	return data[:i], i + 1, nil
}

func (jsonCodec) Elements(array []byte, dst [][]byte) ([][]byte, error) {
	s := scanner{data: array}
	if s.peek() != '[' {
		return dst, &Error{Text: "Expected the value to be of type Array."}
	}
	s.pos++
	split := dst
	for first := true; ; first = false {
		more, ok := s.more(first, ']')
		if !ok {
			return dst, errJSON
		}
		if !more {
			break
		}
		s.space()
		start := s.pos
		if !s.value(1) {
			return dst, errJSON
		}
		split = append(split, array[start:s.pos:s.pos])
	}
	if s.space(); s.pos != len(array) {
		return dst, errJSON
	}
	return split, nil
}

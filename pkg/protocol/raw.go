package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

var (
	_ json.Marshaler   = Raw{}
	_ json.Unmarshaler = (*Raw)(nil)
)

// MarshalJSON gives encoding/json the value as JSON, so that a Raw may stand anywhere inside a value that is written
// as JSON.
func (r Raw) MarshalJSON() ([]byte, error) {
	if len(r.Data) > 0 && (r.Codec == "" || r.Codec == jsonName) {
		return r.Data, nil // encoding/json checks it
	}
	return r.appendJSON(nil, 0)
}

// UnmarshalJSON keeps a copy of the JSON value data.
func (r *Raw) UnmarshalJSON(data []byte) error {
	r.Codec, r.Data = jsonName, bytes.Clone(data)
	return nil
}

// appendJSON writes the value as JSON into depth others.
func (r Raw) appendJSON(dst []byte, depth int) ([]byte, error) {
	switch {
	case len(r.Data) == 0:
		return append(dst, "null"...), nil
	case r.Codec == "" || r.Codec == jsonName:
		return appendRaw(dst, r.Data, depth)
	case r.Codec == packName:
		out, err := appendJSONFromPack(dst, r.Data, depth)
		if err != nil {
			return dst, fmt.Errorf("protocol: a raw value cannot be turned into JSON: %w", err)
		}
		return out, nil
	}
	return dst, fmt.Errorf("protocol: %w", r.unknownCodec())
}

// appendPack writes the value as MessagePack into depth others.
func (r Raw) appendPack(dst []byte, depth int) ([]byte, error) {
	switch {
	case len(r.Data) == 0:
		return msgp.AppendNil(dst), nil
	case r.Codec == "" || r.Codec == jsonName:
		return appendPackFromJSON(dst, r.Data, depth)
	case r.Codec != packName:
		return dst, r.unknownCodec()
	}
	// Checked, because one that is no MessagePack would cost every client that it reaches its connection.
	if !validPack(r.Data, depth) {
		return dst, fmt.Errorf("a raw value is not valid MessagePack: it must be exactly one value, at most %d levels deep", maxDepth-depth)
	}
	return append(dst, r.Data...), nil
}

func (r Raw) unknownCodec() error {
	return fmt.Errorf("a raw value has the unknown codec %q: it must be %q or %q", r.Codec, jsonName, packName)
}

var errNotPack = errors.New("it is not valid MessagePack, or nested too deeply")

package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
)

var (
	_ json.Marshaler   = Raw{}
	_ json.Unmarshaler = (*Raw)(nil)
)

// MarshalJSON gives encoding/json the value as it stands, so that a Raw may stand anywhere inside a value that is
// written as JSON. It fails for a value in another codec.
func (r Raw) MarshalJSON() ([]byte, error) {
	if err := r.checkJSON(); err != nil {
		return nil, err
	}
	if len(r.Data) == 0 {
		return []byte("null"), nil
	}
	return r.Data, nil
}

// UnmarshalJSON keeps a copy of the JSON value data.
func (r *Raw) UnmarshalJSON(data []byte) error {
	r.Codec, r.Data = jsonName, bytes.Clone(data)
	return nil
}

func (r Raw) checkJSON() error {
	if r.Codec != "" && r.Codec != jsonName {
		return fmt.Errorf("protocol: a raw value in %s cannot be written as json: pass it on only to connections of its own protocol, or decode it first", r.Codec)
	}
	return nil
}

package protocol

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"

	"github.com/tinylib/msgp/msgp"
)

func writeRaw(_ *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	return v.Interface().(Raw).appendPack(dst, w.depth)
}

func writeRawMessage(_ *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	return appendPackFromJSON(dst, v.Bytes(), w.depth)
}

func writeNumber(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	text := v.String()
	if text == "" {
		text = "0" // as encoding/json has it
	}
	return appendPackNumber(dst, []byte(text))
}

// self returns v, or its address where that has methods that v has not.
func self(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return v.Interface()
}

func writeJSONMarshaler(_ *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	text, err := self(v).(json.Marshaler).MarshalJSON()
	if err != nil {
		return dst, err
	}
	return appendPackFromJSON(dst, text, w.depth)
}

func writeTextMarshaler(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	text, err := self(v).(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return dst, err
	}
	return appendPackText(dst, string(text)), nil
}

func readRaw(_ *plan, b []byte, v reflect.Value) ([]byte, error) {
	n, _ := packLen(b, 0)
	v.Set(reflect.ValueOf(Raw{Codec: packName, Data: bytes.Clone(b[:n])}))
	return b[n:], nil
}

func readRawMessage(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	text, rest, err := appendJSONValue(nil, b)
	if err != nil {
		return b, unfit(p.typ, err.Error())
	}
	v.SetBytes(text)
	return rest, nil
}

func readJSONNumber(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	return p.readNumeric(b, func(n number) bool {
		text, err := n.appendText(nil)
		v.SetString(string(text))
		return err == nil
	})
}

func readJSONUnmarshaler(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	text, rest, err := appendJSONValue(nil, b)
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text)
	}
	if err != nil {
		return b, unfit(p.typ, err.Error())
	}
	return rest, nil
}

func readTextUnmarshaler(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	text, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return p.mismatch(b)
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(bytes.Clone(text)); err != nil {
		return b, unfit(p.typ, err.Error())
	}
	return rest, nil
}

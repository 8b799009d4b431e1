package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/tinylib/msgp/msgp"
)

// Unmarshal has short ways for what hub methods take most.
func (packCodec) Unmarshal(value []byte, ptr any) error {
	target := reflect.ValueOf(ptr)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return &Error{Text: fmt.Sprintf("A MessagePack value cannot be read into %T: it must be a pointer that is not nil.", ptr)}
	}
	v := target.Elem()
	if !validPack(value, 0) {
		return unfit(v.Type(), "it is not exactly one MessagePack value of at most 64 levels")
	}
	switch p := ptr.(type) {
	case *string:
		if s, _, err := msgp.ReadStringZC(value); err == nil {
			*p = validText(s)
			return nil
		}
	case *int:
		if i, _, err := msgp.ReadIntBytes(value); err == nil {
			*p = i
			return nil
		}
	case *float64:
		if f, _, err := msgp.ReadFloat64Bytes(value); err == nil {
			*p = f
			return nil
		}
	case *Raw:
		*p = Raw{Codec: packName, Data: bytes.Clone(value)}
		return nil
	}
	p := planOf(v.Type())
	if value[0] == 0xC0 {
		return p.readTopNil(value, v)
	}
	_, err := p.read(p, value, v)
	return err
}

// readTopNil binds nil as System.Text.Json binds null; see unmarshalNull. Types that read JSON themselves decide for
// themselves.
func (p *plan) readTopNil(value []byte, v reflect.Value) error {
	if _, ok := v.Addr().Interface().(json.Unmarshaler); ok && p.typ != timeType {
		_, err := p.read(p, value, v)
		return err
	}
	switch p.typ.Kind() {
	case reflect.String, reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		v.SetZero()
		return nil
	}
	return unfit(p.typ, "it is nil")
}

// unfit is the error for a value that a type does not take. ASP.NET Core's begins with the same words.
func unfit(t reflect.Type, why string) error {
	return &Error{Text: "Deserializing object of the `" + t.String() + "` type failed: " + why + "."}
}

// mismatch is unfit for the value that b begins with, which is of a wrong kind. Nil fits everything below the top
// level, where encoding/json leaves things as they are.
func (p *plan) mismatch(b []byte) (rest []byte, err error) {
	kind := packKindOf(b)
	if kind == packNil {
		return b[1:], nil
	}
	return b, unfit(p.typ, "it is "+kind.String())
}

func readUnsupported(p *plan, b []byte, _ reflect.Value) ([]byte, error) {
	return b, unfit(p.typ, "nothing in MessagePack fits this type")
}

func readBool(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	if packKindOf(b) != packBool {
		return p.mismatch(b)
	}
	v.SetBool(b[0] == 0xC3)
	return b[1:], nil
}

// readNumeric reads a number for which set has room.
func (p *plan) readNumeric(b []byte, set func(number) bool) ([]byte, error) {
	if k := packKindOf(b); k != packInt && k != packFloat {
		return p.mismatch(b)
	}
	n, rest, _ := readNumber(b)
	if !set(n) {
		return b, unfit(p.typ, "it has no room for "+n.String())
	}
	return rest, nil
}

func readInt(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	return p.readNumeric(b, func(n number) bool {
		i, ok := n.int64()
		if ok = ok && !v.OverflowInt(i); ok {
			v.SetInt(i)
		}
		return ok
	})
}

func readUint(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	return p.readNumeric(b, func(n number) bool {
		u, ok := n.uint64()
		if ok = ok && !v.OverflowUint(u); ok {
			v.SetUint(u)
		}
		return ok
	})
}

func readFloat(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	return p.readNumeric(b, func(n number) bool {
		f := n.float64()
		ok := !v.OverflowFloat(f)
		if ok {
			v.SetFloat(f)
		}
		return ok
	})
}

func readString(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	s, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return p.mismatch(b)
	}
	v.SetString(validText(s))
	return rest, nil
}

func readPointer(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	if b[0] == 0xC0 {
		v.SetZero()
		return b[1:], nil
	}
	if v.IsNil() {
		v.Set(reflect.New(p.elem.typ))
	}
	return p.elem.read(p.elem, b, v.Elem())
}

func readBytes(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	switch packKindOf(b) {
	case packBin:
		data, rest, _ := msgp.ReadBytesZC(b)
		v.SetBytes(bytes.Clone(data))
		return rest, nil
	case packStr: // as JSON has bytes
		text, rest, _ := msgp.ReadStringZC(b)
		data, err := base64.StdEncoding.AppendDecode([]byte{}, text)
		if err != nil {
			return b, unfit(p.typ, "it is a string that is not base64")
		}
		v.SetBytes(data)
		return rest, nil
	}
	return readSlice(p, b, v)
}

func readByteArray(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	data, rest, err := msgp.ReadBytesZC(b)
	if err != nil {
		return readArray(p, b, v)
	}
	if len(data) != v.Len() {
		return b, unfit(p.typ, fmt.Sprintf("it is %d bytes", len(data)))
	}
	copy(v.Bytes(), data)
	return rest, nil
}

func readSlice(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	count, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		if b[0] == 0xC0 {
			v.SetZero()
		}
		return p.mismatch(b)
	}
	list := reflect.MakeSlice(p.typ, int(count), int(count)) // so many there are: the value is whole
	for i := range int(count) {
		if rest, err = p.elem.read(p.elem, rest, list.Index(i)); err != nil {
			return b, err
		}
	}
	v.Set(list)
	return rest, nil
}

// readArray drops elements for which there is no room and zeroes those that are missing, as encoding/json does.
func readArray(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	count, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return p.mismatch(b)
	}
	v.SetZero()
	for i := range int(count) {
		if i >= v.Len() {
			n, _ := packLen(rest, 0)
			rest = rest[n:]
		} else if rest, err = p.elem.read(p.elem, rest, v.Index(i)); err != nil {
			return b, err
		}
	}
	return rest, nil
}

func readStruct(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	count, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return p.mismatch(b)
	}
	for range count {
		var f *field
		name, next, err := msgp.ReadStringZC(rest)
		if err == nil {
			f = p.named(name)
		} else {
			n, _ := packLen(rest, 0)
			next = rest[n:]
		}
		if f == nil {
			n, _ := packLen(next, 0)
			rest = next[n:]
			continue
		}
		if rest, err = f.read(next, v); err != nil {
			return b, &Error{Text: "Field '" + f.name + "': " + err.Error()}
		}
	}
	return rest, nil
}

// read reads the field of the struct v.
func (f *field) read(b []byte, v reflect.Value) (rest []byte, err error) {
	for i, at := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return b, unfit(v.Type(), "it is embedded, not exported and nil")
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	if text, rest, err := msgp.ReadStringZC(b); err == nil && f.quoted {
		if err := json.Unmarshal(text, v.Addr().Interface()); err != nil {
			return b, unfit(v.Type(), err.Error())
		}
		return rest, nil
	}
	return f.plan.read(f.plan, b, v)
}

func readInterface(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	if p.typ.NumMethod() > 0 || b[0] == 0xC0 {
		if b[0] == 0xC0 {
			v.SetZero()
		}
		return p.mismatch(b)
	}
	value, rest, err := readAny(b)
	if err != nil {
		return b, unfit(p.typ, err.Error())
	}
	v.Set(reflect.ValueOf(value))
	return rest, nil
}

// readAny reads a value without being told a type for it.
func readAny(b []byte) (value any, rest []byte, err error) {
	switch packKindOf(b) {
	case packNil:
		return nil, b[1:], nil
	case packBool:
		return b[0] == 0xC3, b[1:], nil
	case packInt, packFloat:
		n, rest, _ := readNumber(b)
		switch {
		case n.isFloat():
			return n.f, rest, nil
		case n.large:
			return uint64(n.i), rest, nil
		}
		return n.i, rest, nil
	case packBin:
		data, rest, _ := msgp.ReadBytesZC(b)
		return bytes.Clone(data), rest, nil
	case packExt:
		if t, rest, ok := readTimestamp(b); ok {
			return t, rest, nil
		}
	case packArray:
		count, rest, _ := msgp.ReadArrayHeaderBytes(b)
		list := make([]any, count)
		for i := range list {
			if list[i], rest, err = readAny(rest); err != nil {
				return nil, b, err
			}
		}
		return list, rest, nil
	case packMap:
		count, rest, _ := msgp.ReadMapHeaderBytes(b)
		object := make(map[string]any, count)
		for range count {
			var name string
			if name, rest, err = packText(rest); err != nil {
				return nil, b, err
			}
			if object[name], rest, err = readAny(rest); err != nil {
				return nil, b, err
			}
		}
		return object, rest, nil
	}
	return packText(b)
}

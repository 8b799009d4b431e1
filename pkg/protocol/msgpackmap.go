package protocol

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/tinylib/msgp/msgp"
)

// keyPlan is how the keys of a map are written and read.
type keyPlan struct {
	kind            reflect.Kind // String, Int or Uint
	marshals, reads bool         // as text, with methods of its own
}

func planKey(t reflect.Type) (keyPlan, bool) {
	k := keyPlan{reads: reflect.PointerTo(t).Implements(textUnmarshaler)}
	switch t.Kind() {
	case reflect.String:
		k.kind = reflect.String
		return k, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		k.kind = reflect.Int
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		k.kind = reflect.Uint
	}
	k.marshals = t.Implements(textMarshaler)
	return k, k.kind != reflect.Invalid || k.marshals || k.reads
}

func writeMap(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	if v.IsNil() {
		return msgp.AppendNil(dst), nil
	}
	w, err := w.deeper()
	if err != nil {
		return dst, err
	}
	entries := make([]mapEntry, 0, v.Len())
	for i := v.MapRange(); i.Next(); {
		e, err := p.key.entry(i.Key(), i.Value())
		if err != nil {
			return dst, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b mapEntry) int { // so that equal maps are equal bytes
		return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.signed, b.signed), cmp.Compare(a.unsigned, b.unsigned))
	})
	dst = msgp.AppendMapHeader(dst, uint32(len(entries)))
	for _, e := range entries {
		switch {
		case e.isText:
			dst = appendPackText(dst, e.text)
		case e.unsigned != 0:
			dst = msgp.AppendUint64(dst, e.unsigned)
		default:
			dst = appendPackInt(dst, e.signed)
		}
		if dst, err = p.elem.write(p.elem, dst, e.value, w); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// mapEntry is an entry of a map that waits for its place in the order; its key is a text or one of two integers.
type mapEntry struct {
	isText   bool
	text     string
	signed   int64
	unsigned uint64
	value    reflect.Value
}

func (k keyPlan) entry(key, value reflect.Value) (e mapEntry, err error) {
	e.value = value
	switch {
	case k.kind == reflect.String:
		e.isText, e.text = true, key.String()
	case k.marshals:
		var text []byte
		e.isText = true
		if key.Kind() != reflect.Pointer || !key.IsNil() {
			text, err = key.Interface().(encoding.TextMarshaler).MarshalText()
		}
		e.text = string(text)
	case k.kind == reflect.Int:
		e.signed = key.Int()
	case k.kind == reflect.Uint:
		e.unsigned = key.Uint()
	default:
		err = fmt.Errorf("keys of type %v can be read but not written: give them a MarshalText method", key.Type())
	}
	return e, err
}

func readMap(p *plan, b []byte, v reflect.Value) ([]byte, error) {
	count, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		if b[0] == 0xC0 {
			v.SetZero()
		}
		return p.mismatch(b)
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(p.typ, int(count)))
	}
	for range count {
		key := reflect.New(p.typ.Key()).Elem()
		if rest, err = p.key.read(rest, key); err != nil {
			return b, err
		}
		value := reflect.New(p.elem.typ).Elem()
		if rest, err = p.elem.read(p.elem, rest, value); err != nil {
			return b, err
		}
		v.SetMapIndex(key, value)
	}
	return rest, nil
}

// read reads a key. Integers may come as text, as in JSON.
func (k keyPlan) read(b []byte, key reflect.Value) (rest []byte, err error) {
	text, rest, err := packText(b)
	if err != nil {
		return b, unfit(key.Type(), err.Error())
	}
	switch {
	case k.reads:
		err = key.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	case k.kind == reflect.String:
		key.SetString(text)
	case k.kind == reflect.Int:
		var i int64
		i, err = strconv.ParseInt(text, 10, key.Type().Bits())
		key.SetInt(i)
	case k.kind == reflect.Uint:
		var u uint64
		u, err = strconv.ParseUint(text, 10, key.Type().Bits())
		key.SetUint(u)
	default:
		return readUnsupported(&plan{typ: key.Type()}, b, key)
	}
	if err != nil {
		return b, unfit(key.Type(), err.Error())
	}
	return rest, nil
}

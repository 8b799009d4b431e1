package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// AppendValue has short ways for what hubs send most.
func (c packCodec) AppendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case string:
		return appendPackText(dst, v), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int:
		return appendPackInt(dst, int64(v)), nil
	case int32:
		return appendPackInt(dst, int64(v)), nil
	case int64:
		return appendPackInt(dst, v), nil
	case uint64:
		return msgp.AppendUint64(dst, v), nil
	case float32:
		return msgp.AppendFloat32(dst, v), nil
	case float64:
		return msgp.AppendFloat64(dst, v), nil
	}
	out, err := c.appendAny(dst, v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (c packCodec) appendAny(dst []byte, v any) ([]byte, error) {
	w := writing{pascal: c.pascal, depth: 2} // inside the message and its arguments
	var err error
	switch v := v.(type) {
	case []byte:
		dst = appendPackBytes(dst, v)
	case time.Time:
		dst, err = appendTimestamp(dst, v)
	case Raw:
		dst, err = v.appendPack(dst, w.depth)
	default:
		value := reflect.ValueOf(v)
		p := planOf(value.Type())
		dst, err = p.write(p, dst, value, w)
	}
	if err != nil {
		return dst, fmt.Errorf("protocol: cannot write %T as MessagePack: %w", v, err)
	}
	return dst, nil
}

// writing is what there is to know while a value is written.
type writing struct {
	pascal bool
	depth  int // arrays and maps that are open
	hops   int // interfaces that were followed
}

// maxHops is how many interfaces may lead to each other. Values that hold themselves are found by it, or by maxDepth.
const maxHops = 1000

var errTooDeep = errors.New("it is nested more than 62 levels deep, or holds itself")

// deeper opens an array or a map.
func (w writing) deeper() (writing, error) {
	if w.depth == maxDepth {
		return w, errTooDeep
	}
	w.depth++
	return w, nil
}

func writeUnsupported(p *plan, dst []byte, _ reflect.Value, _ writing) ([]byte, error) {
	return dst, fmt.Errorf("%v has no form in MessagePack: use a struct, a map with keys of strings or integers, or a type with a MarshalJSON method", p.typ)
}

func writeBool(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return msgp.AppendBool(dst, v.Bool()), nil
}

func writeInt(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return appendPackInt(dst, v.Int()), nil
}

func writeUint(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return msgp.AppendUint64(dst, v.Uint()), nil
}

func writeFloat32(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return msgp.AppendFloat32(dst, float32(v.Float())), nil
}

func writeFloat64(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return msgp.AppendFloat64(dst, v.Float()), nil
}

func writeString(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return appendPackText(dst, v.String()), nil
}

func writeInterface(_ *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	if v.IsNil() {
		return msgp.AppendNil(dst), nil
	}
	if w.hops++; w.hops > maxHops {
		return dst, errTooDeep
	}
	v = v.Elem()
	p := planOf(v.Type())
	return p.write(p, dst, v, w)
}

func writePointer(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	if v.IsNil() {
		return msgp.AppendNil(dst), nil
	}
	return p.elem.write(p.elem, dst, v.Elem(), w)
}

func writeBytes(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	return appendPackBytes(dst, v.Bytes()), nil
}

func appendPackBytes(dst, b []byte) []byte {
	if b == nil {
		return msgp.AppendNil(dst)
	}
	return msgp.AppendBytes(dst, b)
}

func writeByteArray(_ *plan, dst []byte, v reflect.Value, _ writing) ([]byte, error) {
	dst = msgp.AppendBytesHeader(dst, uint32(v.Len()))
	if v.CanAddr() {
		return append(dst, v.Bytes()...), nil
	}
	for i := range v.Len() {
		dst = append(dst, byte(v.Index(i).Uint()))
	}
	return dst, nil
}

func writeSlice(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	if v.IsNil() {
		return msgp.AppendNil(dst), nil
	}
	return writeArray(p, dst, v, w)
}

func writeArray(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	w, err := w.deeper()
	if err != nil {
		return dst, err
	}
	dst = msgp.AppendArrayHeader(dst, uint32(v.Len()))
	for i := range v.Len() {
		if dst, err = p.elem.write(p.elem, dst, v.Index(i), w); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func writeStruct(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
	w, err := w.deeper()
	if err != nil {
		return dst, err
	}
	count := uint32(0)
	for i := range p.fields {
		if _, ok := p.fields[i].of(v); ok {
			count++
		}
	}
	dst = msgp.AppendMapHeader(dst, count)
	for i := range p.fields {
		f := &p.fields[i]
		fv, ok := f.of(v)
		if !ok {
			continue
		}
		if w.pascal {
			dst = appendPackText(dst, f.pascal)
		} else {
			dst = appendPackText(dst, f.name)
		}
		if f.quoted {
			dst, err = writeQuoted(dst, fv)
		} else {
			dst, err = f.plan.write(f.plan, dst, fv, w)
		}
		if err != nil {
			return dst, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return dst, nil
}

// of returns the field of v; not ok if it is left out.
func (f *field) of(v reflect.Value) (reflect.Value, bool) {
	for i, at := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v, !(f.omitEmpty && isEmpty(v)) && !(f.omitZero && isZero(v))
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// isZero asks the value, if it has a method for that.
func isZero(v reflect.Value) bool {
	if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		return true
	}
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := v.Addr().Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// writeQuoted writes a boolean or number as text, for readers that do not have numbers as large.
func writeQuoted(dst []byte, v reflect.Value) ([]byte, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return msgp.AppendNil(dst), nil
		}
		v = v.Elem()
	}
	var room [32]byte
	text, err := room[:0], error(nil)
	switch {
	case v.Kind() == reflect.Bool:
		text = strconv.AppendBool(text, v.Bool())
	case v.CanInt():
		text = strconv.AppendInt(text, v.Int(), 10)
	case v.CanUint():
		text = strconv.AppendUint(text, v.Uint(), 10)
	default:
		text, err = appendFloat(text, v.Float(), v.Type().Bits())
	}
	return msgp.AppendStringFromBytes(dst, text), err
}

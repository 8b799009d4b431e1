package protocol

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"time"
)

// plan is how values of one Go type are written as MessagePack and read. It is made once per type and then only read.
type plan struct {
	typ    reflect.Type
	write  func(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error)
	read   func(p *plan, b []byte, v reflect.Value) (rest []byte, err error) // v can be set, b begins with a whole value
	basic  bool                                                              // a boolean, number or string without methods of its own
	elem   *plan                                                             // of pointers, slices, arrays and maps
	key    keyPlan                                                           // of maps
	fields []field                                                           // of structs
	names  map[string]int                                                    // of structs: a field by its name and by its folded name
}

// plans has the *plan of each reflect.Type that was written or read.
var plans sync.Map

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := planner{}
	p := b.plan(t)
	// Only now are all of them whole: types may contain themselves.
	for t, p := range b {
		plans.LoadOrStore(t, p)
	}
	return p
}

var (
	timeType       = reflect.TypeFor[time.Time]()
	rawType        = reflect.TypeFor[Raw]()
	rawMessageType = reflect.TypeFor[json.RawMessage]()
	numberType     = reflect.TypeFor[json.Number]()

	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// planner has the plans that are being made.
type planner map[reflect.Type]*plan

func (b planner) plan(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := b[t]; ok {
		return p
	}
	p := &plan{typ: t}
	b[t] = p
	switch t {
	case timeType:
		p.write, p.read = writeTime, readTime
	case rawType:
		p.write, p.read = writeRaw, readRaw
	case rawMessageType:
		p.write, p.read = writeRawMessage, readRawMessage
	case numberType:
		p.write, p.read = writeNumber, readJSONNumber
	default:
		b.byKind(p)
		b.methods(p)
	}
	return p
}

// methods gives way to what the type itself has to say. MarshalJSON goes before MarshalText, as in encoding/json.
func (b planner) methods(p *plan) {
	t := p.typ
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return // what they lead to is asked instead
	}
	ptr := reflect.PointerTo(t)
	if ptr.Implements(textMarshaler) {
		p.write, p.basic = orByAddress(writeTextMarshaler, p.write, t.Implements(textMarshaler)), false
	}
	if ptr.Implements(jsonMarshaler) {
		p.write, p.basic = orByAddress(writeJSONMarshaler, p.write, t.Implements(jsonMarshaler)), false
	}
	switch {
	case ptr.Implements(jsonUnmarshaler):
		p.read, p.basic = readJSONUnmarshaler, false
	case ptr.Implements(textUnmarshaler):
		p.read, p.basic = readTextUnmarshaler, false
	}
}

// orByAddress chooses between the method of a type and what its kind calls for: a method that only the pointer has
// can be called only where the value has an address.
func orByAddress(method, kind func(*plan, []byte, reflect.Value, writing) ([]byte, error), always bool) func(*plan, []byte, reflect.Value, writing) ([]byte, error) {
	if always {
		return method
	}
	return func(p *plan, dst []byte, v reflect.Value, w writing) ([]byte, error) {
		if v.CanAddr() {
			return method(p, dst, v, w)
		}
		return kind(p, dst, v, w)
	}
}

func (b planner) byKind(p *plan) {
	t := p.typ
	switch t.Kind() {
	case reflect.Bool:
		p.write, p.read, p.basic = writeBool, readBool, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.write, p.read, p.basic = writeInt, readInt, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.write, p.read, p.basic = writeUint, readUint, true
	case reflect.Float32:
		p.write, p.read, p.basic = writeFloat32, readFloat, true
	case reflect.Float64:
		p.write, p.read, p.basic = writeFloat64, readFloat, true
	case reflect.String:
		p.write, p.read, p.basic = writeString, readString, true
	case reflect.Interface:
		p.write, p.read = writeInterface, readInterface
	case reflect.Pointer:
		if endless(t) {
			p.write, p.read = writeUnsupported, readUnsupported
			return
		}
		p.elem = b.plan(t.Elem())
		p.write, p.read = writePointer, readPointer
	case reflect.Slice:
		p.elem = b.plan(t.Elem())
		p.write, p.read = writeSlice, readSlice
		if isByte(t.Elem()) {
			p.write, p.read = writeBytes, readBytes
		}
	case reflect.Array:
		p.elem = b.plan(t.Elem())
		p.write, p.read = writeArray, readArray
		if isByte(t.Elem()) {
			p.write, p.read = writeByteArray, readByteArray
		}
	case reflect.Map:
		b.planMap(p)
	case reflect.Struct:
		b.planStruct(p)
		p.write, p.read = writeStruct, readStruct
	default:
		p.write, p.read = writeUnsupported, readUnsupported
	}
}

func (b planner) planMap(p *plan) {
	var ok bool
	if p.key, ok = planKey(p.typ.Key()); !ok {
		p.write, p.read = writeUnsupported, readUnsupported
		return
	}
	p.elem = b.plan(p.typ.Elem())
	p.write, p.read = writeMap, readMap
}

// isByte reports whether a slice of t is bytes rather than a list of things that know how to write themselves.
func isByte(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Uint8 && !p.Implements(jsonMarshaler) && !p.Implements(textMarshaler)
}

// endless reports whether the type is a pointer to itself, as type P *P is.
func endless(t reflect.Type) bool {
	for hops := 0; t.Kind() == reflect.Pointer; hops++ {
		if hops == maxDepth {
			return true
		}
		t = t.Elem()
	}
	return false
}

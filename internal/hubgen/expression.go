package hubgen

import (
	"go/types"
	"strings"
)

// expression is a type in TypeScript.
type expression struct {
	text  string
	union bool // it needs parentheses before []
}

// The types that stand for what TypeScript cannot know, and for what no client can send or receive.
var (
	unknown = expression{text: "unknown"}
	never   = expression{text: "never"}
)

func (e expression) orNull() expression {
	if e == unknown || e.text == "null" || strings.HasSuffix(e.text, " | null") {
		return e
	}
	return expression{e.text + " | null", true}
}

func (e expression) list() string {
	if e.union {
		return "(" + e.text + ")[]"
	}
	return e.text + "[]"
}

// maxTuple is how long an array may be to be written element by element.
const maxTuple = 8

// express writes a type. Named types are referred to, and declared later.
func (d *declarations) express(t types.Type) expression {
	t = types.Unalias(t)
	if e, ok := d.wellKnown(t); ok {
		return e
	}
	if named, ok := t.(*types.Named); ok {
		if types.IsInterface(named) {
			return unknown
		}
		return expression{text: d.refer(named)}
	}
	return d.expressBody(t)
}

// wellKnown writes the types for which the codecs have forms of their own.
func (d *declarations) wellKnown(t types.Type) (e expression, ok bool) {
	switch {
	case isNamed(t, "time", "Time"):
		if d.protocol == MessagePack {
			return expression{text: "Date"}, true
		}
		return expression{text: "string"}, true
	case isNamed(t, protocolPackage, "Raw"), isNamed(t, "encoding/json", "RawMessage"):
		return unknown, true
	case isNamed(t, "encoding/json", "Number"):
		return expression{text: "number"}, true
	}
	return unknown, false
}

// protocolPackage is where the type Raw is.
const protocolPackage = "github.com/hubfleet/hubfleet/pkg/protocol"

// expressBody writes what is behind a type's name: what its methods or its kind make of it.
func (d *declarations) expressBody(t types.Type) expression {
	switch codingOf(t) {
	case byText:
		return expression{text: "string"}
	case byJSON:
		return unknown
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return basic(u)
	case *types.Pointer:
		if endless(u) {
			return never
		}
		return d.express(u.Elem()).orNull()
	case *types.Slice:
		if isByte(u.Elem()) {
			return d.bytes()
		}
		return expression{text: d.express(u.Elem()).list()}
	case *types.Array:
		return d.array(u)
	case *types.Map:
		return d.mapping(u)
	case *types.Struct:
		return d.object(t)
	case *types.Interface:
		return unknown
	}
	return never
}

func basic(t *types.Basic) expression {
	switch info := t.Info(); {
	case info&types.IsBoolean != 0:
		return expression{text: "boolean"}
	case info&types.IsString != 0:
		return expression{text: "string"}
	case info&(types.IsInteger|types.IsFloat) != 0:
		return expression{text: "number"}
	}
	return never
}

// bytes is what a slice of bytes is: in JSON, base64.
func (d *declarations) bytes() expression {
	if d.protocol == MessagePack {
		return expression{text: "Uint8Array"}
	}
	return expression{text: "string"}
}

// array writes an array. One of bytes is a list of numbers in JSON, unlike a slice.
func (d *declarations) array(t *types.Array) expression {
	if d.protocol == MessagePack && isByte(t.Elem()) {
		return d.bytes()
	}
	elem := d.express(t.Elem())
	if t.Len() > maxTuple {
		return expression{text: elem.list()}
	}
	elements := make([]string, t.Len())
	for i := range elements {
		elements[i] = elem.text
	}
	return expression{text: "[" + strings.Join(elements, ", ") + "]"}
}

// mapping writes a map as an object, which is what the official client makes of one, and takes for one, in either
// encoding. An index signature rather than a Record, because only that may lead back to itself.
func (d *declarations) mapping(t *types.Map) expression {
	key := types.Unalias(t.Key())
	value := d.express(t.Elem()).text
	switch {
	case isString(key):
		if named, ok := key.(*types.Named); ok && codingOf(named) == byKind && d.program.enum(named) != nil {
			return expression{text: "{ [key in " + d.refer(named) + "]?: " + value + " }"}
		}
		return expression{text: "{ [key: string]: " + value + " }"}
	case has(key, textMarshaler), has(key, textUnmarshaler):
		return expression{text: "{ [key: string]: " + value + " }"}
	case isInteger(key):
		return expression{text: "{ [key: number]: " + value + " }"}
	}
	return never
}

// endless reports whether the type is a pointer to itself, as type P *P is.
func endless(t *types.Pointer) bool {
	seen := map[types.Type]bool{}
	for next := types.Type(t); ; {
		pointer, ok := next.Underlying().(*types.Pointer)
		if !ok {
			return false
		}
		if seen[pointer] {
			return true
		}
		seen[pointer] = true
		next = pointer.Elem()
	}
}

// object writes an unnamed struct.
func (d *declarations) object(t types.Type) expression {
	var members []string
	for _, f := range structFields(t) {
		members = append(members, d.member(f))
	}
	if len(members) == 0 {
		return expression{text: "object"}
	}
	return expression{text: "{ " + strings.Join(members, "; ") + " }"}
}

// member writes a field as a member of an object.
func (d *declarations) member(f field) string {
	e := d.express(f.variable.Type())
	if f.quoted {
		e = expression{text: "string"}
		if _, ok := f.variable.Type().Underlying().(*types.Pointer); ok {
			e = e.orNull()
		}
	}
	mark := ": "
	if f.optional || e == never {
		mark = "?: "
	}
	return propertyName(f.name) + mark + e.text
}

package protocol

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hubfleet/hubfleet/internal/jsonfields"
)

// field is a field of a struct as it stands in a map.
type field struct {
	name, pascal string // how it is written, and how for .NET
	index        []int  // as reflect.Value.FieldByIndex has it
	tagged       bool
	omitEmpty    bool
	omitZero     bool
	quoted       bool // a number or boolean that is written as text
	plan         *plan
}

func (b planner) planStruct(p *plan) {
	p.fields = structFields(p.typ)
	p.names = make(map[string]int, 2*len(p.fields))
	for i := range p.fields {
		f := &p.fields[i]
		f.pascal = upperFirst(f.name)
		f.plan = b.plan(p.typ.FieldByIndex(f.index).Type)
		target := f.plan
		if target.elem != nil && target.typ.Kind() == reflect.Pointer {
			target = target.elem
		}
		f.quoted = f.quoted && target.basic && target.typ.Kind() != reflect.String
		if _, taken := p.names[fold(f.name)]; !taken {
			p.names[fold(f.name)] = i
		}
	}
	for i := range p.fields { // the exact name goes before any that is equal but for case
		p.names[p.fields[i].name] = i
	}
}

// structFields returns the fields that encoding/json writes, in its order.
func structFields(t reflect.Type) []field {
	type embedded = jsonfields.Struct[reflect.Type]
	open := func(e embedded) (own []field, lenders []embedded) {
		for i := range e.Type.NumField() {
			f, flatten := structField(e.Type.Field(i), append(slices.Clone(e.Index), i))
			switch {
			case flatten != nil:
				lenders = append(lenders, embedded{Type: flatten, Index: f.index})
			case f.name != "":
				own = append(own, f)
			}
		}
		return own, lenders
	}
	same := func(a, b reflect.Type) bool { return a == b }
	return jsonfields.Of(t, same, open, func(f field) jsonfields.Place {
		return jsonfields.Place{Name: f.name, Tagged: f.tagged, Index: f.index}
	})
}

// structField returns the field, with an empty name if it is not written; or, if it is an embedded struct whose fields
// are, flatten and where it stands.
func structField(sf reflect.StructField, index []int) (f field, flatten reflect.Type) {
	target := sf.Type
	if target.Name() == "" && target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	if !sf.IsExported() && (!sf.Anonymous || target.Kind() != reflect.Struct) {
		return field{}, nil
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return field{}, nil
	}
	name, options, _ := strings.Cut(tag, ",")
	f = field{name: name, index: index, tagged: true}
	if !jsonfields.ValidName(name) {
		if sf.Anonymous && target.Kind() == reflect.Struct {
			return f, target
		}
		f.name, f.tagged = sf.Name, false
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			f.quoted = true
		}
	}
	return f, nil
}

func upperFirst(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

// fold makes names equal that differ in case only.
func fold(name string) string { return string(appendFolded(nil, name)) }

func appendFolded(dst []byte, name string) []byte {
	for _, r := range name {
		for { // the smallest rune of those that fold into each other
			next := unicode.SimpleFold(r)
			if next <= r {
				r = next
				break
			}
			r = next
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// named finds the field of that name; nil if there is none.
func (p *plan) named(name []byte) *field {
	i, ok := p.names[string(name)]
	if !ok {
		var room [64]byte
		if i, ok = p.names[string(appendFolded(room[:0], string(name)))]; !ok {
			return nil
		}
	}
	return &p.fields[i]
}

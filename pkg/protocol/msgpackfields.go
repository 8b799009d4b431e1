package protocol

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
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

// structFields returns the fields that encoding/json writes, in its order: those of embedded structs stand among the
// others, where the shallower hide the deeper, and a name twice at one depth goes to the one that is tagged or to none.
func structFields(t reflect.Type) []field {
	type embedded struct {
		typ   reflect.Type
		index []int
		twice bool // embedded more than once at this depth, so that its fields hide each other
	}
	var fields []field
	seen, taken := map[reflect.Type]bool{}, map[string]bool{}
	for level := []embedded{{typ: t}}; len(level) > 0; {
		var next []embedded
		var here []field
		for _, e := range level {
			if seen[e.typ] {
				continue
			}
			seen[e.typ] = true
			for i := range e.typ.NumField() {
				f, flatten := structField(e.typ.Field(i), append(slices.Clone(e.index), i))
				switch {
				case flatten != nil:
					at := slices.IndexFunc(next, func(n embedded) bool { return n.typ == flatten })
					if at >= 0 {
						next[at].twice = true
					} else {
						next = append(next, embedded{typ: flatten, index: f.index})
					}
				case f.name != "":
					here = append(here, f)
					if e.twice {
						here = append(here, f)
					}
				}
			}
		}
		fields = append(fields, dominant(here, taken)...)
		level = next
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return fields
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
	if !validName(name) {
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

// dominant picks the fields of one depth that count, and takes their names.
func dominant(here []field, taken map[string]bool) []field {
	slices.SortStableFunc(here, func(a, b field) int {
		if c := cmp.Compare(a.name, b.name); c != 0 || a.tagged == b.tagged {
			return c
		}
		if a.tagged {
			return -1
		}
		return 1
	})
	var fields []field
	for i := 0; i < len(here); {
		f, same := here[i], 1
		for i+same < len(here) && here[i+same].name == f.name {
			same++
		}
		if !taken[f.name] && (same == 1 || f.tagged != here[i+1].tagged) {
			fields = append(fields, f)
		}
		taken[f.name] = true
		i += same
	}
	return fields
}

// validName reports whether encoding/json takes the name in a tag.
func validName(name string) bool {
	for _, c := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return name != ""
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

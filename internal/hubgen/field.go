package hubgen

import (
	"cmp"
	"go/types"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// field is a field of a struct as it stands in an object.
type field struct {
	name     string
	tagged   bool
	variable *types.Var
	owner    *types.TypeName // the type in whose declaration it stands; nil for an unnamed struct
	index    []int
	optional bool // it may be left out
	quoted   bool // a number or boolean is written as text
}

// embedded is a struct whose fields stand among those of another.
type embedded struct {
	typ      types.Type
	index    []int
	optional bool // it is behind a pointer, which may be nil
	twice    bool // it is embedded more than once at its depth, so that its fields hide each other
}

// structFields returns the fields that encoding/json writes, in its order: those of embedded structs stand among the
// others, where the shallower hide the deeper, and a name twice at one depth goes to the one that is tagged or to none.
func structFields(t types.Type) []field {
	var fields []field
	seen, taken := map[string]bool{}, map[string]bool{}
	for level := []embedded{{typ: t}}; len(level) > 0; {
		var next []embedded
		var here []field
		for _, e := range level {
			if key := types.TypeString(e.typ, nil); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			own, deeper := e.fields()
			here = append(here, own...)
			if e.twice {
				here = append(here, own...)
			}
			for _, d := range deeper {
				at := slices.IndexFunc(next, func(n embedded) bool { return types.Identical(n.typ, d.typ) })
				if at >= 0 {
					next[at].twice = true
				} else {
					next = append(next, d)
				}
			}
		}
		fields = append(fields, dominant(here, taken)...)
		level = next
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return fields
}

// fields are the struct's own fields, and the structs that are embedded in it.
func (e embedded) fields() (own []field, deeper []embedded) {
	body := e.typ.Underlying().(*types.Struct)
	var owner *types.TypeName
	if named, ok := e.typ.(*types.Named); ok {
		owner = named.Obj()
	}
	for i := range body.NumFields() {
		v := body.Field(i)
		index := append(slices.Clone(e.index), i)
		target, pointer := v.Type(), false
		if p, ok := types.Unalias(target).(*types.Pointer); ok {
			target, pointer = p.Elem(), true
		}
		target = types.Unalias(target)
		_, isStruct := target.Underlying().(*types.Struct)
		tag := reflect.StructTag(body.Tag(i)).Get("json")
		if tag == "-" || !v.Exported() && (!v.Embedded() || !isStruct) {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if !validName(name) {
			if v.Embedded() && isStruct {
				deeper = append(deeper, embedded{typ: target, index: index, optional: e.optional || pointer})
				continue
			}
			name = ""
		}
		f := field{name: cmp.Or(name, v.Name()), tagged: name != "", variable: v, owner: owner, index: index, optional: e.optional}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				f.optional = f.optional || canBeEmpty(v.Type())
			case "omitzero":
				f.optional = true
			case "string":
				f.quoted = canBeQuoted(target)
			}
		}
		own = append(own, f)
	}
	return own, deeper
}

// canBeEmpty says whether omitempty does anything: it leaves structs alone, and arrays that have elements.
func canBeEmpty(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Struct:
		return false
	case *types.Array:
		return u.Len() == 0
	}
	return true
}

func canBeQuoted(t types.Type) bool {
	return info(t)&(types.IsBoolean|types.IsInteger|types.IsFloat|types.IsString) != 0 && codingOf(t) == byKind &&
		!isNamed(t, "encoding/json", "Number")
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

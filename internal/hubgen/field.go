package hubgen

import (
	"cmp"
	"go/types"
	"reflect"
	"slices"
	"strings"

	"github.com/hubfleet/hubfleet/internal/jsonfields"
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
type embedded = jsonfields.Struct[types.Type]

// structFields returns the fields that encoding/json writes, in its order.
func structFields(t types.Type) []field {
	return jsonfields.Of(t, types.Identical, fieldsOf, func(f field) jsonfields.Place {
		return jsonfields.Place{Name: f.name, Tagged: f.tagged, Index: f.index}
	})
}

// fieldsOf are the struct's own fields, and the structs that are embedded in it.
func fieldsOf(e embedded) (own []field, deeper []embedded) {
	body := e.Type.Underlying().(*types.Struct)
	var owner *types.TypeName
	if named, ok := e.Type.(*types.Named); ok {
		owner = named.Obj()
	}
	for i := range body.NumFields() {
		v := body.Field(i)
		index := append(slices.Clone(e.Index), i)
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
		if !jsonfields.ValidName(name) {
			if v.Embedded() && isStruct {
				deeper = append(deeper, embedded{Type: target, Index: index, Optional: e.Optional || pointer})
				continue
			}
			name = ""
		}
		f := field{name: cmp.Or(name, v.Name()), tagged: name != "", variable: v, owner: owner, index: index, optional: e.Optional}
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

package hubgen

import "go/types"

// methodSet is an interface with the single method that one of the encoding interfaces has.
func methodSet(name string, in, out types.Type) *types.Interface {
	var params, results []*types.Var
	if in != nil {
		params = append(params, types.NewParam(0, nil, "", in))
	}
	if out != nil {
		results = append(results, types.NewParam(0, nil, "", out))
	}
	results = append(results, types.NewParam(0, nil, "", types.Universe.Lookup("error").Type()))
	t := types.NewSignatureType(nil, nil, nil, types.NewTuple(params...), types.NewTuple(results...), false)
	return types.NewInterfaceType([]*types.Func{types.NewFunc(0, nil, name, t)}, nil).Complete()
}

var (
	byteSlice       = types.NewSlice(types.Typ[types.Uint8])
	jsonMarshaler   = methodSet("MarshalJSON", nil, byteSlice)
	jsonUnmarshaler = methodSet("UnmarshalJSON", byteSlice, nil)
	textMarshaler   = methodSet("MarshalText", nil, byteSlice)
	textUnmarshaler = methodSet("UnmarshalText", byteSlice, nil)
)

// has says whether a type, or a pointer to it, has the methods: what is sent is often addressable.
func has(t types.Type, methods *types.Interface) bool {
	return types.Implements(t, methods) || types.Implements(types.NewPointer(t), methods)
}

// coding is who decides how values of a type are encoded.
type coding uint8

const (
	byKind coding = iota // what kind of type it is
	byText               // its MarshalText: it is a string
	byJSON               // its MarshalJSON or UnmarshalJSON, or a method that works one way only: nobody knows
)

// codingOf asks a type's methods in the order of encoding/json. Pointers and interfaces have none of their own: what they
// lead to is asked instead.
func codingOf(t types.Type) coding {
	switch t.Underlying().(type) {
	case *types.Pointer, *types.Interface:
		return byKind
	}
	switch {
	case has(t, jsonMarshaler), has(t, jsonUnmarshaler):
		return byJSON
	case has(t, textMarshaler):
		return byText
	case has(t, textUnmarshaler):
		if isString(t) {
			return byText
		}
		return byJSON
	}
	return byKind
}

// isByte says whether a slice of t is bytes rather than a list of things that know how to write themselves.
func isByte(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uint8 && !has(t, jsonMarshaler) && !has(t, textMarshaler)
}

func isString(t types.Type) bool { return info(t)&types.IsString != 0 }

func isInteger(t types.Type) bool { return info(t)&types.IsInteger != 0 }

func info(t types.Type) types.BasicInfo {
	if b, ok := t.Underlying().(*types.Basic); ok {
		return b.Info()
	}
	return 0
}

package hubgen

import (
	"fmt"
	"go/types"
	"strings"
)

// goName is a type as reflection prints it, which messages about hubs have: packages by their names, and no names of parameters.
func goName(t types.Type) string {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		if t.Kind() == types.UnsafePointer {
			return "unsafe.Pointer"
		}
		return types.Typ[t.Kind()].Name() // byte is uint8, rune is int32
	case *types.Pointer:
		return "*" + goName(t.Elem())
	case *types.Slice:
		return "[]" + goName(t.Elem())
	case *types.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), goName(t.Elem()))
	case *types.Map:
		return "map[" + goName(t.Key()) + "]" + goName(t.Elem())
	case *types.Chan:
		return chanName(t)
	case *types.Signature:
		return "func" + goSignature(t)
	case *types.Interface:
		if t.Empty() {
			return "interface {}"
		}
	}
	return types.TypeString(t, (*types.Package).Name)
}

func chanName(t *types.Chan) string {
	elem := goName(t.Elem())
	switch t.Dir() {
	case types.SendOnly:
		return "chan<- " + elem
	case types.RecvOnly:
		return "<-chan " + elem
	}
	if strings.HasPrefix(elem, "<-") {
		elem = "(" + elem + ")"
	}
	return "chan " + elem
}

func goSignature(t *types.Signature) string {
	in := goNames(t.Params())
	if n := len(in); t.Variadic() {
		in[n-1] = "..." + strings.TrimPrefix(in[n-1], "[]")
	}
	text := "(" + strings.Join(in, ", ") + ")"
	switch out := goNames(t.Results()); len(out) {
	case 0:
	case 1:
		text += " " + out[0]
	default:
		text += " (" + strings.Join(out, ", ") + ")"
	}
	return text
}

func goNames(vars *types.Tuple) []string {
	var names []string
	for v := range vars.Variables() {
		names = append(names, goName(v.Type()))
	}
	return names
}

package hubgen

import (
	"bytes"
	"encoding/json"
	"go/types"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plainName matches what needs no quotes as the name of a property.
var plainName = regexp.MustCompile(`^[\p{L}_$][\p{L}\p{Nd}_$]*$`)

func propertyName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quote(name)
}

// quote is a literal of a string, in the quotes that need fewer escapes.
func quote(s string) string {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // there is no string that JSON cannot write
	}
	literal := strings.TrimSuffix(text.String(), "\n")
	if strings.Contains(s, `"`) && !strings.Contains(s, "'") {
		return "'" + strings.ReplaceAll(literal[1:len(literal)-1], `\"`, `"`) + "'"
	}
	return literal
}

// reserved are the words that Go lets be names of parameters and TypeScript does not.
var reserved = strings.Fields(`arguments await class catch debugger delete do enum eval export extends false finally function
	implements in instanceof let new null private protected public static super this throw true try typeof void while with
	yield`)

// parameterName is a name for the parameter at a position, counted from 1. A parameter without one is named for its
// position.
func parameterName(name string, position int) string {
	switch {
	case name == "" || name == "_":
		return "arg" + strconv.Itoa(position)
	case slices.Contains(reserved, name):
		return name + "_"
	}
	return name
}

// typeName is a name for a type: as in Go, but with a first letter in upper case, and followed by those of its arguments
// if it is an instance of a generic type. prefix is put in front of the name of each type that has one.
func typeName(t types.Type, prefix func(*types.Package) string) string {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		name := upperFirst(t.Obj().Name())
		if pkg := t.Obj().Pkg(); pkg != nil {
			name = prefix(pkg) + name
		}
		for argument := range t.TypeArgs().Types() {
			name += typeName(argument, prefix)
		}
		return name
	case *types.Basic:
		return upperFirst(types.Typ[t.Kind()].Name())
	case *types.Pointer:
		return typeName(t.Elem(), prefix) + "OrNull"
	case *types.Slice:
		return typeName(t.Elem(), prefix) + "List"
	case *types.Array:
		return typeName(t.Elem(), prefix) + "List" + strconv.FormatInt(t.Len(), 10)
	case *types.Map:
		return typeName(t.Elem(), prefix) + "By" + typeName(t.Key(), prefix)
	case *types.Struct:
		return "Object"
	}
	return "Any"
}

// plain is for names without packages.
func plain(*types.Package) string { return "" }

func upperFirst(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

// lowerFirst puts the first word in lower case: ChatHub becomes chatHub, HTTPHub httpHub, and ID id.
func lowerFirst(name string) string {
	runes := []rune(name)
	for i, r := range runes {
		wordBegins := i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if !unicode.IsUpper(r) || wordBegins {
			break
		}
		runes[i] = unicode.ToLower(r)
	}
	return string(runes)
}

// names hands out names, each once.
type names map[string]bool

// pick takes the first of the candidates that is free, or else the last with a number.
func (n names) pick(candidates ...string) string {
	for _, name := range candidates {
		if !n[name] {
			n[name] = true
			return name
		}
	}
	last := candidates[len(candidates)-1]
	for i := 2; ; i++ {
		if name := last + strconv.Itoa(i); !n[name] {
			n[name] = true
			return name
		}
	}
}

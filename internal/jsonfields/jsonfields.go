// Package jsonfields knows which fields of a struct encoding/json writes, and under which names, for reflection and for type checkers
// alike: embedded structs lend their fields, of which the shallower hide the deeper, and a name twice at one depth goes to the one
// that is tagged or to none.
package jsonfields

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Place is what counts of a field.
type Place struct {
	Name   string
	Tagged bool  // the name comes from a tag
	Index  []int // as reflect.Value.FieldByIndex has it
}

// Struct is a struct whose fields stand among those of another, in which it is embedded. T describes its type.
type Struct[T any] struct {
	Type     T
	Index    []int
	Optional bool // it is behind a pointer, which may be nil
	twice    bool // it is embedded more than once at its depth, so that its fields hide each other
}

// Of returns the fields of a struct in the order in which they are written. same tells whether two types are the same, open returns a
// struct's own fields and the structs embedded in it that lend it theirs, and place where a field stands.
func Of[T, F any](t T, same func(a, b T) bool, open func(Struct[T]) (own []F, lenders []Struct[T]), place func(F) Place) []F {
	var fields []F
	var seen []T
	taken := map[string]bool{}
	for level := []Struct[T]{{Type: t}}; len(level) > 0; {
		var next []Struct[T]
		var here []F
		for _, s := range level {
			if slices.ContainsFunc(seen, func(t T) bool { return same(t, s.Type) }) {
				continue
			}
			seen = append(seen, s.Type)
			own, lenders := open(s)
			here = append(here, own...)
			if s.twice {
				here = append(here, own...)
			}
			for _, l := range lenders {
				at := slices.IndexFunc(next, func(n Struct[T]) bool { return same(n.Type, l.Type) })
				if at >= 0 {
					next[at].twice = true
				} else {
					next = append(next, l)
				}
			}
		}
		fields = append(fields, dominant(here, taken, place)...)
		level = next
	}
	slices.SortFunc(fields, func(a, b F) int { return slices.Compare(place(a).Index, place(b).Index) })
	return fields
}

// dominant picks the fields of one depth that count, and takes their names.
func dominant[F any](here []F, taken map[string]bool, place func(F) Place) []F {
	slices.SortStableFunc(here, func(x, y F) int {
		a, b := place(x), place(y)
		if c := cmp.Compare(a.Name, b.Name); c != 0 || a.Tagged == b.Tagged {
			return c
		}
		if a.Tagged {
			return -1
		}
		return 1
	})
	var fields []F
	for i := 0; i < len(here); {
		f, same := place(here[i]), 1
		for i+same < len(here) && place(here[i+same]).Name == f.Name {
			same++
		}
		if !taken[f.Name] && (same == 1 || f.Tagged != place(here[i+1]).Tagged) {
			fields = append(fields, here[i])
		}
		taken[f.Name] = true
		i += same
	}
	return fields
}

// ValidName reports whether encoding/json takes the name in a tag.
func ValidName(name string) bool {
	for _, c := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return name != ""
}

package hubgen

import (
	"cmp"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
)

// enum returns the values of a type that is used as an enumeration, as literals: the constants of that type in its
// package, the exported ones if there are any, so that a last, uncounted one does not get in. It returns nil for other
// types: those with fewer than two values, and integers that do not follow one on the other, which are flags, units or
// anything at all, as those of time.Duration are.
func (p *program) enum(t *types.Named) []string {
	if !isString(t) && !isInteger(t) || t.Obj().Pkg() == nil {
		return nil
	}
	values := p.constants(t)
	if len(values) < 2 {
		return nil
	}
	if isString(t) {
		literals := make([]string, len(values))
		for i, v := range values {
			literals[i] = quote(constant.StringVal(v))
		}
		return literals
	}
	slices.SortFunc(values, compareIntegers)
	literals := make([]string, len(values))
	for i, v := range values {
		if i > 0 && !constant.Compare(constant.BinaryOp(v, token.SUB, values[i-1]), token.EQL, constant.MakeInt64(1)) {
			return nil
		}
		literals[i] = v.ExactString()
	}
	return literals
}

// constants are the different values of a type's constants, in the order of the source.
func (p *program) constants(t *types.Named) []constant.Value {
	scope := t.Obj().Pkg().Scope()
	var exported, all []*types.Const
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if !ok || name == "_" || !types.Identical(c.Type(), t) {
			continue
		}
		all = append(all, c)
		if c.Exported() {
			exported = append(exported, c)
		}
	}
	if len(exported) > 0 {
		all = exported
	}
	slices.SortFunc(all, func(a, b *types.Const) int {
		x, y := p.files.Position(a.Pos()), p.files.Position(b.Pos())
		return cmp.Or(cmp.Compare(x.Filename, y.Filename), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column),
			cmp.Compare(a.Name(), b.Name()))
	})
	var values []constant.Value
	for _, c := range all {
		same := func(v constant.Value) bool { return constant.Compare(v, token.EQL, c.Val()) }
		if !slices.ContainsFunc(values, same) {
			values = append(values, c.Val())
		}
	}
	return values
}

func compareIntegers(a, b constant.Value) int {
	switch {
	case constant.Compare(a, token.LSS, b):
		return -1
	case constant.Compare(a, token.EQL, b):
		return 0
	}
	return 1
}

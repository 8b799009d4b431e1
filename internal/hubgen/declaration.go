package hubgen

import (
	"cmp"
	"go/types"
	"slices"
	"strings"
)

// declarations are the named types that a hub's methods lead to. They are found by writing everything once without
// names; then names are given, and it is written again. Only so do a type's name and the names of others not depend on
// which comes first.
type declarations struct {
	program  *program
	protocol Protocol
	found    []*types.Named // in the order in which they are met
	known    map[string]int // index in found by the type in full
	names    []string       // as found; empty at first
}

// refer returns the name of a type, and has it declared.
func (d *declarations) refer(t *types.Named) string {
	key := types.TypeString(t, nil)
	i, ok := d.known[key]
	if !ok {
		i = len(d.found)
		d.known[key] = i
		d.found = append(d.found, t)
	}
	if i < len(d.names) {
		return d.names[i]
	}
	return ""
}

// give names everything that was found. What is of the hub's own package goes first; where a name is taken, types of
// others are named with their packages.
func (d *declarations) give(taken names) {
	order := make([]int, len(d.found))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := d.found[a], d.found[b]
		return cmp.Or(cmp.Compare(d.foreign(x), d.foreign(y)), cmp.Compare(types.TypeString(x, nil), types.TypeString(y, nil)))
	})
	d.names = make([]string, len(d.found))
	for _, i := range order {
		t := d.found[i]
		name := typeName(t, plain)
		d.names[i] = taken.pick(name, typeName(t, d.packageOf), upperFirst(t.Obj().Pkg().Name())+name)
	}
}

// packageOf is the name of a package that is not the hub's.
func (d *declarations) packageOf(pkg *types.Package) string {
	if pkg == d.program.pkg {
		return ""
	}
	return upperFirst(pkg.Name())
}

// foreign counts the types of other packages in a type's name.
func (d *declarations) foreign(t *types.Named) (count int) {
	typeName(t, func(pkg *types.Package) string {
		if pkg != d.program.pkg {
			count++
		}
		return ""
	})
	return count
}

// write declares all that was referred to, and what that refers to.
func (d *declarations) write(p *printer) {
	for i := 0; i < len(d.found); i++ {
		d.declare(p, d.found[i])
	}
}

func (d *declarations) declare(p *printer, t *types.Named) {
	p.line("")
	doc := d.program.documentation(t.Obj(), "")
	name := d.refer(t)
	switch codingOf(t) {
	case byText:
		p.doc(doc, goName(t)+" writes itself as text.")
		p.line("export type %s = string;", name)
		return
	case byJSON:
		p.doc(doc, goName(t)+" has its own way of writing or reading JSON, so that what it looks like is not known here.")
		p.line("export type %s = unknown;", name)
		return
	}
	if _, ok := t.Underlying().(*types.Struct); ok {
		p.doc(doc, "")
		d.declareStruct(p, name, t)
		return
	}
	if literals := d.program.enum(t); literals != nil {
		p.doc(doc, "")
		p.union(name, literals)
		return
	}
	note := ""
	if isNamed(t, "time", "Duration") {
		doc, note = "", "time.Duration is a span of time, in nanoseconds."
	}
	p.doc(doc, note)
	p.line("export type %s = %s;", name, d.expressBody(t).text)
}

func (d *declarations) declareStruct(p *printer, name string, t *types.Named) {
	fields := structFields(t)
	if len(fields) == 0 {
		p.line("export interface %s {}", name)
		return
	}
	p.line("export interface %s {", name)
	for _, f := range fields {
		note := ""
		member := d.member(f)
		if strings.HasSuffix(member, ": never") {
			note = "No client can send or receive a " + goName(f.variable.Type()) + "."
		}
		in := p.indented()
		in.doc(d.program.documentation(f.owner, f.variable.Name()), note)
		in.line("%s;", member)
	}
	p.line("}")
}

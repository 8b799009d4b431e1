package hubgen

import (
	"errors"
	"fmt"
	"go/types"
	"reflect"
)

// clientType is a struct of funcs, the methods that clients have.
type clientType struct {
	typ     *types.Named
	methods []clientMethod
}

// clientMethod is a method that the hub calls.
type clientMethod struct {
	method
	field string // in which it stands; the method's own name may be in the tag
}

// client describes a typed client, by the rules of hub.Typed.
func (p *program) client(name string) (*clientType, error) {
	typ, err := p.named(name)
	if err != nil {
		return nil, err
	}
	fields, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return nil, fmt.Errorf("hub: %s cannot be a typed client: it is not a struct", goName(typ))
	}
	c := &clientType{typ: typ}
	for i := range fields.NumFields() {
		if !fields.Field(i).Exported() {
			continue
		}
		m, err := clientFunc(fields.Field(i), fields.Tag(i))
		if err != nil {
			return nil, fmt.Errorf("hub: %s.%s cannot be a client's method: %w", goName(typ), fields.Field(i).Name(), err)
		}
		for _, other := range c.methods {
			if other.name == m.name {
				return nil, fmt.Errorf("hub: %s.%s cannot be a client's method: %s is named %q, too", goName(typ), m.field, other.field, m.name)
			}
		}
		c.methods = append(c.methods, m)
	}
	return c, nil
}

func clientFunc(field *types.Var, tag string) (clientMethod, error) {
	m := clientMethod{field: field.Name()}
	m.name = field.Name()
	if name := reflect.StructTag(tag).Get("hub"); name != "" {
		m.name = name
	}
	t, ok := field.Type().Underlying().(*types.Signature)
	if !ok || t.Variadic() {
		return m, errors.New("it must be a func with a fixed number of parameters")
	}
	for i := range t.Params().Len() {
		v := t.Params().At(i)
		if err := carriable(v.Type()); err != nil {
			return m, fmt.Errorf("parameter %d: %w", i+1, err)
		}
		m.params = append(m.params, param{name: v.Name(), typ: v.Type()})
	}
	out := t.Results()
	switch n := out.Len(); {
	case n == 1 && isError(out.At(0).Type()):
	case n == 2 && isError(out.At(1).Type()):
		m.result = out.At(0).Type()
		if err := carriable(m.result); err != nil {
			return m, fmt.Errorf("its result: %w", err)
		}
	default:
		return m, errors.New("it must return an error, or a value and an error")
	}
	return m, nil
}

package hubgen

import (
	"errors"
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// hubPackage is where the type Call is.
const hubPackage = "github.com/hubfleet/hubfleet/pkg/hub"

// hubType is a hub's type, with its methods in the order of the source.
type hubType struct {
	typ     *types.Named
	methods []method
	names   map[string]string // of the methods, by what they are in lower case
}

// method is a hub method.
type method struct {
	name   string
	params []param    // behind the *hub.Call
	result types.Type // what it returns or streams; nil when it returns nothing but, maybe, an error
	stream bool       // the result is streamed
}

// param is a parameter: an argument, or a stream from the client.
type param struct {
	name   string
	typ    types.Type // of an item, if it is a stream
	upload bool
}

// hub describes a hub, by the rules of hub.Server.Map for a pointer to such a value, which has all of its methods.
func (p *program) hub(name string) (*hubType, error) {
	typ, err := p.named(name)
	if err != nil {
		return nil, errors.Join(err, p.otherHubs())
	}
	if types.IsInterface(typ) {
		return nil, fmt.Errorf("%s is an interface; name the type whose values are mapped", name)
	}
	h := &hubType{typ: typ, names: map[string]string{}}
	var errs []error
	for i := range typ.NumMethods() { // promoted ones are not among them
		m := typ.Method(i)
		if !m.Exported() {
			continue
		}
		if err := h.add(m); err != nil {
			errs = append(errs, fmt.Errorf("hub: *%s.%s: %w", goName(typ), m.Name(), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// otherHubs says which types of the package have hub methods; nil if none has.
func (p *program) otherHubs() error {
	var names []string
	for _, name := range p.pkg.Scope().Names() {
		object, ok := p.pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		named, ok := object.Type().(*types.Named)
		if ok && slices.ContainsFunc(slices.Collect(named.Methods()), isHubMethod) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("types with hub methods are: %s", strings.Join(names, ", "))
}

func isHubMethod(m *types.Func) bool {
	in := m.Signature().Params()
	return m.Exported() && in.Len() > 0 && isCall(in.At(0).Type())
}

func (h *hubType) add(m *types.Func) error {
	t := m.Signature()
	switch m.Name() {
	case "OnConnected":
		if t.Params().Len() != 1 || !isCall(t.Params().At(0).Type()) || t.Results().Len() != 1 || !isError(t.Results().At(0).Type()) {
			return errors.New("must be func(*hub.Call) error")
		}
		return nil
	case "OnDisconnected":
		if t.Params().Len() != 2 || !isCall(t.Params().At(0).Type()) || !isError(t.Params().At(1).Type()) || t.Results().Len() != 0 {
			return errors.New("must be func(c *hub.Call, reason error)")
		}
		return nil
	}
	if !isHubMethod(m) {
		return nil
	}
	described, err := signature(m.Name(), t)
	if err != nil {
		return err
	}
	key := strings.ToLower(m.Name())
	if twin, ok := h.names[key]; ok {
		return fmt.Errorf("differs from %s only in case; clients call methods without regard to case", twin)
	}
	h.names[key] = m.Name()
	h.methods = append(h.methods, described)
	return nil
}

// signature checks parameters and results.
func signature(name string, t *types.Signature) (method, error) {
	m := method{name: name}
	if t.Variadic() {
		return m, errors.New("takes a variable number of arguments; take a slice instead")
	}
	for i := 1; i < t.Params().Len(); i++ {
		v := t.Params().At(i)
		p := param{name: v.Name(), typ: v.Type()}
		if item := upload(p.typ); item != nil {
			p.typ, p.upload = item, true
		}
		if err := carriable(p.typ); err != nil {
			return m, fmt.Errorf("parameter %d: %w", i, err)
		}
		m.params = append(m.params, p)
	}
	n := t.Results().Len()
	if n > 0 && isError(t.Results().At(n-1).Type()) {
		n--
	}
	if n > 1 {
		return m, errors.New("returns too much; it may return nothing, an error, a value, or a value and an error")
	}
	if n == 1 {
		m.result = t.Results().At(0).Type()
		if item := streamed(m.result); item != nil {
			m.result, m.stream = item, true
		}
		if err := carriable(m.result); err != nil {
			return m, fmt.Errorf("its result: %w", err)
		}
	}
	return m, nil
}

// carriable refuses types whose values no client can send or receive.
func carriable(t types.Type) error {
	switch u := t.Underlying().(type) {
	case *types.Interface:
		if u.NumMethods() > 0 {
			return fmt.Errorf("a client's value cannot become a %s; use a concrete type, or any", goName(t))
		}
	default:
		if uncarriable(t) {
			return fmt.Errorf("no client can send or receive a %s", goName(t))
		}
	}
	return nil
}

// uncarriable says whether neither encoding has a form for the values of a type.
func uncarriable(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Signature, *types.Chan:
		return true
	case *types.Basic:
		return u.Kind() == types.UnsafePointer || u.Info()&types.IsComplex != 0
	}
	return false
}

// streamed is the type of the items if a result of type t is a stream.
func streamed(t types.Type) types.Type {
	switch u := t.Underlying().(type) {
	case *types.Chan:
		if u.Dir() != types.SendOnly {
			return u.Elem()
		}
	case *types.Signature:
		item, _ := sequence(u)
		return item
	}
	return nil
}

// upload is the type of the items if a parameter of type t is a stream.
func upload(t types.Type) types.Type {
	switch u := t.Underlying().(type) {
	case *types.Chan:
		if u.Dir() == types.RecvOnly {
			return u.Elem()
		}
	case *types.Signature:
		if item, failing := sequence(u); failing {
			return item
		}
	}
	return nil
}

// sequence recognises func(yield func(T) bool), and func(yield func(T, error) bool), which can tell of an error.
func sequence(t *types.Signature) (item types.Type, failing bool) {
	if t.Params().Len() != 1 || t.Results().Len() != 0 {
		return nil, false
	}
	yield, ok := t.Params().At(0).Type().Underlying().(*types.Signature)
	if !ok || yield.Results().Len() != 1 || !isBool(yield.Results().At(0).Type()) {
		return nil, false
	}
	switch in := yield.Params(); {
	case in.Len() == 1:
		return in.At(0).Type(), false
	case in.Len() == 2 && isError(in.At(1).Type()):
		return in.At(0).Type(), true
	}
	return nil, false
}

func isBool(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Bool
}

func isError(t types.Type) bool {
	return types.Identical(t, types.Universe.Lookup("error").Type())
}

func isCall(t types.Type) bool {
	pointer, ok := types.Unalias(t).(*types.Pointer)
	return ok && isNamed(pointer.Elem(), hubPackage, "Call")
}

func isNamed(t types.Type, path, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Name() == name && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == path
}

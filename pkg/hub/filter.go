package hub

import (
	"fmt"
	"reflect"
)

// Filter sees what a hub does, and may change it. Its funcs may be nil. Each calls next to go on, or does not, to refuse: the error
// that it returns is then treated like one of the hub's method. Filters are applied in order, the first outermost: those of
// the server, of the hub, of the method. They must be safe for concurrent use.
type Filter struct {
	// Invoke surrounds an invocation. args are what the method takes behind its *Call, decoded; next takes arguments of the same types. Of
	// a method that streams, the result is the stream.
	Invoke func(c *Call, args []any, next func(c *Call, args []any) (any, error)) (any, error)
	// Connected surrounds OnConnected, also of a hub without one.
	Connected func(c *Call, next func(c *Call) error) error
	// Disconnected surrounds OnDisconnected, also of a hub without one.
	Disconnected func(c *Call, reason error, next func(c *Call, reason error))
}

// surround builds what runs when a method is invoked.
func (m *method) surround(filters []Filter) {
	var chain func(c *Call, args []any) (any, error)
	for i := len(filters) - 1; i >= 0; i-- {
		f := filters[i].Invoke
		if f == nil {
			continue
		}
		next := chain
		if next == nil {
			next = m.callAny
		}
		chain = func(c *Call, args []any) (any, error) { return f(c, args, next) }
	}
	m.filtered = chain
}

// callAny calls the method with what a filter passes on.
func (m *method) callAny(c *Call, args []any) (any, error) {
	if len(args) != len(m.params) {
		return nil, fmt.Errorf("hub: a filter passes %d arguments on to %s, which takes %d", len(args), m.name, len(m.params))
	}
	in := make([]reflect.Value, 1, 1+len(args))
	in[0] = reflect.ValueOf(c)
	for i, a := range args {
		v := reflect.ValueOf(a)
		t := m.params[i].typ
		switch {
		case !v.IsValid():
			v = reflect.Zero(t)
		case !v.Type().AssignableTo(t):
			return nil, fmt.Errorf("hub: a filter passes a %s on to %s as argument %d, which is a %s", v.Type(), m.name, i+1, t)
		}
		in = append(in, v)
	}
	return m.call(in)
}

// invoke runs the method inside its filters.
func (inv *invocation) invoke() (any, error) {
	m := inv.method
	if m.filtered == nil {
		return m.call(inv.in)
	}
	args := make([]any, len(inv.in)-1)
	for i, v := range inv.in[1:] {
		args[i] = v.Interface()
	}
	return m.filtered(inv.call, args)
}

// surroundLifecycle builds what runs when a client comes and goes.
func (h *host) surroundLifecycle(filters []Filter) {
	for i := len(filters) - 1; i >= 0; i-- {
		if f, next := filters[i].Connected, h.onConnected; f != nil {
			if next == nil {
				next = func(*Call) error { return nil }
			}
			h.onConnected = func(c *Call) error { return f(c, next) }
		}
		if f, next := filters[i].Disconnected, h.onDisconnected; f != nil {
			if next == nil {
				next = func(*Call, error) {}
			}
			h.onDisconnected = func(c *Call, reason error) { f(c, reason, next) }
		}
	}
}

// applyFilters gives each method its own filters behind those of the hub and the server.
func (h *host) applyFilters(o HubOptions) error {
	common := append(append([]Filter(nil), h.server.options.Filters...), o.Filters...)
	h.surroundLifecycle(common)
	for name := range o.MethodFilters {
		if h.method(name) == nil {
			return fmt.Errorf("hub: HubOptions.MethodFilters names a method %q, which the hub does not have", name)
		}
	}
	for _, m := range h.methods {
		filters := append([]Filter(nil), common...)
		for name, own := range o.MethodFilters {
			if h.method(name) == m {
				filters = append(filters, own...)
			}
		}
		m.surround(filters)
	}
	return nil
}

package hub

import (
	"context"
	"fmt"
	"reflect"
	"sync"
)

// Typed gives a target the shape of T, so that the compiler checks what is sent. T is a struct whose exported fields are funcs, one
// for each method that clients have, under the field's name or that in its tag `hub:"name"`:
//
//	type ChatClient struct {
//		ReceiveMessage func(user, message string) error
//		Confirm        func(question string) (bool, error)
//	}
//
//	hub.Typed[ChatClient](c, c.Clients().All()).ReceiveMessage("ada", "hello")
//
// A func that returns an error alone sends; one that returns a value and an error invokes, and needs a target that is a single
// connection. Typed panics when T is not such a struct, which any test of the calling code finds. ctx is that of all
// calls made through the result.
func Typed[T any](ctx context.Context, t Target) T {
	var client T
	v := reflect.ValueOf(&client).Elem()
	for _, f := range clientFuncs(v.Type()) {
		v.Field(f.field).Set(f.bind(ctx, t))
	}
	return client
}

// clientFunc is one func of a typed client.
type clientFunc struct {
	field  int
	typ    reflect.Type
	method string
	result reflect.Type // what the client answers; nil when it does not
}

var clientTypes sync.Map // reflect.Type → []clientFunc

func clientFuncs(t reflect.Type) []clientFunc {
	if known, ok := clientTypes.Load(t); ok {
		return known.([]clientFunc)
	}
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("hub: %s cannot be a typed client: it is not a struct", t))
	}
	var funcs []clientFunc
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		f, err := clientMethod(field)
		if err != nil {
			panic(fmt.Sprintf("hub: %s.%s cannot be a client's method: %v", t, field.Name, err))
		}
		f.field = i
		funcs = append(funcs, f)
	}
	clientTypes.Store(t, funcs)
	return funcs
}

func clientMethod(field reflect.StructField) (clientFunc, error) {
	f := clientFunc{typ: field.Type, method: field.Name}
	if name := field.Tag.Get("hub"); name != "" {
		f.method = name
	}
	t := field.Type
	if t.Kind() != reflect.Func || t.IsVariadic() {
		return f, fmt.Errorf("it must be a func with a fixed number of parameters")
	}
	for i := range t.NumIn() {
		if err := carriable(t.In(i)); err != nil {
			return f, fmt.Errorf("parameter %d: %w", i+1, err)
		}
	}
	switch n := t.NumOut(); {
	case n == 1 && t.Out(0) == errorType:
	case n == 2 && t.Out(1) == errorType:
		f.result = t.Out(0)
		if err := carriable(f.result); err != nil {
			return f, fmt.Errorf("its result: %w", err)
		}
	default:
		return f, fmt.Errorf("it must return an error, or a value and an error")
	}
	return f, nil
}

// bind makes the func.
func (f clientFunc) bind(ctx context.Context, t Target) reflect.Value {
	return reflect.MakeFunc(f.typ, func(in []reflect.Value) []reflect.Value {
		args := make([]any, len(in))
		for i, v := range in {
			args[i] = v.Interface()
		}
		if f.result == nil {
			err := t.Send(ctx, f.method, args...)
			return []reflect.Value{reflect.ValueOf(&err).Elem()}
		}
		result := reflect.New(f.result)
		err := t.Invoke(ctx, result.Interface(), f.method, args...)
		return []reflect.Value{result.Elem(), reflect.ValueOf(&err).Elem()}
	})
}

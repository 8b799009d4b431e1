package hub

import "reflect"

// streamType is a Go type that stands for a stream: a channel, an iter.Seq2[T, error], or, for results, an iter.Seq[T].
type streamType struct {
	elem reflect.Type
	form streamForm
}

type streamForm uint8

const (
	streamChan streamForm = iota
	streamSeq
	streamSeq2
)

// resultStream says what a method with a result of type t streams; nil when it does not.
func resultStream(t reflect.Type) *streamType {
	switch {
	case t.Kind() == reflect.Chan && t.ChanDir()&reflect.RecvDir != 0:
		return &streamType{t.Elem(), streamChan}
	case t.Kind() == reflect.Func:
		return sequence(t)
	}
	return nil
}

// uploadType says what a parameter of type t receives from the client; nil when it is an argument. A channel must be
// receive-only, so that nobody takes a parameter for a way to send; of the iterators only the one that can tell an error will do.
func uploadType(t reflect.Type) *streamType {
	switch {
	case t.Kind() == reflect.Chan && t.ChanDir() == reflect.RecvDir:
		return &streamType{t.Elem(), streamChan}
	case t.Kind() == reflect.Func:
		if s := sequence(t); s != nil && s.form == streamSeq2 {
			return s
		}
	}
	return nil
}

// sequence recognises func(yield func(T) bool) and func(yield func(T, error) bool).
func sequence(t reflect.Type) *streamType {
	if t.NumIn() != 1 || t.NumOut() != 0 || t.In(0).Kind() != reflect.Func {
		return nil
	}
	yield := t.In(0)
	if yield.NumOut() != 1 || yield.Out(0).Kind() != reflect.Bool {
		return nil
	}
	switch {
	case yield.NumIn() == 1:
		return &streamType{yield.In(0), streamSeq}
	case yield.NumIn() == 2 && yield.In(1) == errorType:
		return &streamType{yield.In(0), streamSeq2}
	}
	return nil
}

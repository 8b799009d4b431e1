package zoo

import (
	"io"
	"unsafe"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// The hubs below cannot be mapped.
type (
	Variadic        struct{}
	Func            struct{}
	Results         struct{}
	ErrorFirst      struct{}
	Twins           struct{}
	BadConnected    struct{}
	BadDisconnected struct{}
	Face            struct{}
	SendOnly        struct{}
	SendStream      struct{}
	SeqUp           struct{}
	BadItems        struct{}
	Pointer         struct{}
	Complex         struct{}
	Many            struct{}
	Chans           struct{}
	Generic         struct{}
)

type box[T any] struct{ v T }

type handler func(box[int], ...map[string][]byte) (any, error)

func (Variadic) M(c *hub.Call, a ...string)                                  {}
func (Func) M(c *hub.Call, f func(name string, rest ...byte) (int, error))   {}
func (Results) M(c *hub.Call) (int, int, error)                              { return 0, 0, nil }
func (ErrorFirst) M(c *hub.Call) (error, int)                                { return nil, 0 }
func (Twins) Send(c *hub.Call)                                               {}
func (Twins) SEND(c *hub.Call)                                               {}
func (BadConnected) OnConnected(c *hub.Call)                                 {}
func (BadDisconnected) OnDisconnected(c *hub.Call)                           {}
func (Face) M(c *hub.Call, n int, r io.Reader)                               {}
func (SendOnly) M(c *hub.Call, ch chan<- int)                                {}
func (SendStream) M(c *hub.Call) chan<- string                               { return nil }
func (SeqUp) M(c *hub.Call, s func(yield func(int) bool))                    {}
func (BadItems) M(c *hub.Call, s <-chan error)                               {}
func (Pointer) M(c *hub.Call) unsafe.Pointer                                 { return nil }
func (Complex) M(c *hub.Call) (complex128, error)                            { return 0, nil }
func (Chans) M(c *hub.Call, ch chan (<-chan []rune))                         {}
func (Generic) M(c *hub.Call, h handler, n int)                              {}
func (Many) A(c *hub.Call, f func(*[2]box[string], map[any]func()) chan int) {}
func (Many) B(c *hub.Call, f chan chan<- int)                                {}
func (Many) Fine(c *hub.Call)                                                {}

// The structs below cannot be typed clients.
type (
	NotFuncs     struct{ Name string }
	NoError      struct{ M func() }
	WrongResults struct{ M func() (error, int) }
	TooMany      struct{ M func() (int, int, error) }
	VariableArgs struct{ M func(a ...int) error }
	BadParam     struct{ M func(n int, c chan int) error }
	BadResult    struct{ M func() (func(), error) }
	NoStruct     func()
	Doubled      struct {
		A func() error `hub:"x"`
		B func() error `hub:"x"`
	}
)

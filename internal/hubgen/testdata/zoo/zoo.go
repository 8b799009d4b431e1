// Package zoo has hubs of every kind, for the tests of hubgen.
package zoo

import (
	"context"
	"encoding/json"
	"iter"
	"net/netip"
	"time"

	"github.com/hubfleet/hubfleet/internal/hubgen/testdata/other"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// Methods shows what signatures hub methods may have.
type Methods struct{}

func (*Methods) Nothing(c *hub.Call)                                {}
func (Methods) Error(c *hub.Call) error                             { return nil }
func (Methods) Value(c *hub.Call) int                               { return 0 }
func (*Methods) ValueAndError(c *hub.Call, a, b int) (int, error)   { return a / b, nil }
func (*Methods) OnConnected(c *hub.Call) error                      { return nil }
func (*Methods) OnDisconnected(c *hub.Call, reason error)           {}
func (*Methods) NotAHubMethod(ctx context.Context, n int) error     { return nil }
func (*Methods) NoParameters()                                      {}
func (*Methods) CallIsNotFirst(n int, c *hub.Call)                  {}
func (*Methods) CallByValue(c hub.Hooks)                            {}
func (*Methods) Unnamed(*hub.Call, int, string)                     {}
func (*Methods) Blank(_ *hub.Call, _ int, rest string, arg1 bool)   {}
func (*Methods) Awkward(c *hub.Call, function, delete, args string) {}
func (*Methods) unexported(c *hub.Call)                             {}

// Long has a comment of more than one line,
// and so many parameters that they do not fit.
//
// Deprecated: use something shorter. */ Not even this ends the comment.
func (*Methods) Long(c *hub.Call, first, second string, third []string, fourth map[string]int) (string, error) {
	return "", nil
}

// Base is embedded.
type Base struct{}

func (Base) Inherited(c *hub.Call) string      { return "" }
func (Base) Overridden(c *hub.Call) string     { return "" }
func (*Base) ByPointer(c *hub.Call)            {}
func (Base) OnConnected(c *hub.Call, n int)    {} // promoted, so that nobody minds
func (Base) Variable(c *hub.Call, rest ...int) {}

// Reader is an interface.
type Reader interface{ Read(c *hub.Call) string }

// Promoted embeds types with methods, which clients cannot invoke.
type Promoted struct {
	Base
	Reader
}

func (Promoted) Own(c *hub.Call)                {}
func (*Promoted) Overridden(c *hub.Call) string { return "" }

// Number is a hub that is no struct.
type Number int

func (Number) Add(c *hub.Call, n int) int { return n }
func (n *Number) Set(c *hub.Call, to int) { *n = Number(to) }

// Of is a generic hub.
type Of[T any] struct{ values []T }

// Get returns a value.
func (o *Of[T]) Get(c *hub.Call, at int) (T, error) { return o.values[at], nil }

func (o *Of[T]) All(c *hub.Call) (<-chan T, error) { return nil, nil }

// Streams shows streams of every kind.
type Streams struct{}

type (
	// Ints is a named channel.
	Ints <-chan int
	// Texts is a named sequence.
	Texts iter.Seq2[string, error]
)

func (Streams) Channel(c *hub.Call) <-chan int                                       { return nil }
func (Streams) BothWays(c *hub.Call) (chan *time.Time, error)                        { return nil, nil }
func (Streams) Sequence(c *hub.Call) iter.Seq[string]                                { return nil }
func (Streams) Failing(c *hub.Call, n int) (iter.Seq2[other.User, error], error)     { return nil, nil }
func (Streams) Named(c *hub.Call) Texts                                              { return nil }
func (Streams) Up(c *hub.Call, numbers <-chan float64) (float64, error)              { return 0, nil }
func (Streams) UpNamed(c *hub.Call, a Ints, factor int, b Texts) error               { return nil }
func (Streams) Both(c *hub.Call, in iter.Seq2[int, error]) (iter.Seq[string], error) { return nil, nil }

// Values shows what values look like.
type Values struct{}

func (Values) Numbers(c *hub.Call, a int8, b uint64, d float32, e uintptr, f rune, g json.Number) {}
func (Values) Bytes(c *hub.Call, a []byte, b [3]byte, d [16]uint8, e []Letter, f [2]Letter)       {}
func (Values) Times(c *hub.Call, at time.Time, after time.Duration, in *time.Month)               {}
func (Values) Lists(c *hub.Call, a []*string, b [2]bool, d [9]int, e [0]int, f [][]Color, g *[]**int) {
}
func (Values) Maps(c *hub.Call, a map[string]int, b map[int][]string, d map[Color]bool, e map[netip.Addr]*User) {
}
func (Values) Unknown(c *hub.Call, a any, b hub.Raw, d json.RawMessage, e protocol.Raw, f Money, g *any) {
}
func (Values) Text(c *hub.Call, a netip.Addr, b *Secret) (UserID, error) { return "", nil }
func (Values) Enums(c *hub.Call, a Color, b Size, d Flags, e Alone, f other.Level, g hidden, h []Color) {
}
func (Values) Users(c *hub.Call, a User, b other.User, d *Node, e Pages) (Page[User], error) {
	return Page[User]{}, nil
}
func (Values) Pages(c *hub.Call) (Page[[]string], error) { return Page[[]string]{}, nil }
func (Values) Unnamed(c *hub.Call, p struct {
	X, Y float64
	Name string `json:"the name,omitempty"`
}) struct{} {
	return struct{}{}
}
func (Values) Tags(c *hub.Call, t Tags, d Deep, s Subject, h Hooked) Outer { return Outer{} }
func (Values) Recursive(c *hub.Call, a Tree, b Forest, d Self, e Me)       {}

// Color is an enumeration of strings.
type Color string

// The colors.
const (
	Red   Color = "red"
	Green Color = "green"
	Blue  Color = "blue"
	Azure       = Blue // the same once more
	last  Color = "last"
)

// Size is an enumeration of integers.
type Size uint8

// The sizes.
const (
	Small Size = iota + 1
	Medium
	Large
)

// Flags can be joined.
type Flags int

// The flags.
const (
	A Flags = 1 << iota
	B
	C
)

// Alone has one constant, which makes no enumeration.
type Alone string

// Single is it.
const Single Alone = "single"

// hidden is not exported, and neither are its values.
type hidden string

const (
	hiddenThis  hidden = "this is one of rather long values"
	hiddenThat  hidden = "that is one of rather long values"
	hiddenOther hidden = `with "quotes"`
)

// UserID is a string with a name.
type UserID string

// Letter writes itself, so that a slice of it is no bytes.
type Letter byte

func (l Letter) MarshalText() ([]byte, error)  { return []byte{byte(l)}, nil }
func (l *Letter) UnmarshalText(b []byte) error { *l = Letter(b[0]); return nil }

// Money has its own form in JSON.
type Money struct{ Cents int }

func (m *Money) MarshalJSON() ([]byte, error) { return []byte(`"1.00"`), nil }

// Secret reads text.
type Secret string

func (s *Secret) UnmarshalText(b []byte) error { *s = Secret(b); return nil }

// User is a user of this package.
type User struct {
	// Name is what others call the user.
	Name     string
	Email    *string   `json:"email"` // null if it is not known
	Created  time.Time `json:"created,omitempty"`
	Seen     time.Time `json:"seen,omitzero"`
	Age      int       `json:"age,omitempty,string"`
	Balance  *int64    `json:"balance,string"`
	Picture  []byte    `json:"picture,omitempty"`
	Ignored  int       `json:"-"`
	Dash     int       `json:"-,"`
	internal int
	Any      any                    `json:"any"`
	Origin   [2]float64             `json:"origin,omitempty"`
	Home     *Address               `json:"home,omitempty"`
	Levels   map[string]other.Level `json:"levels"`
	Quoted   string                 `json:"quoted,string"`
	BadTag   int                    `json:"a\\b"`
	Spaced   int                    `json:"two words"`
}

// Hooked has what no client can send or receive.
type Hooked struct {
	// Callback is called.
	Callback func(name string) error `json:"callback"`
	Number   int
}

// Address has one field.
type Address struct{ Street string }

// Node is a list.
type Node struct {
	Next *Node
	Page Page[*Node]
}

// Page is generic.
type Page[T any] struct {
	Items []T `json:"items"`
	Next  int `json:"next,omitempty"`
}

// Pages has pages of the two users.
type Pages struct {
	Own    Page[User]
	Others Page[other.User]
}

type Tags []string

// Subject has the name of something that the official client has.
type Subject struct{ Text string }

// Outer embeds.
type Outer struct {
	Inner
	*Maybe
	Address  `json:"address"`
	Tags     // no struct, so a field
	embedded // not exported, but its fields are
	Name     string
}

// Inner is embedded; Outer has a Name, too.
type Inner struct {
	Name  string
	Depth int `json:"depth"`
	Twice int
}

// Maybe is embedded by a pointer.
type Maybe struct {
	// Might is there if the pointer is not nil.
	Might bool
	Twice int
}

type embedded struct{ Seen bool }

// Deep embeds one struct twice, whose fields hide each other.
type Deep struct {
	Left
	Right
}

type Left struct {
	Inner
	L int
}

type Right struct {
	Inner
	R int
}

// Tree leads back to itself through a map, Forest through a slice, Self and Me through nothing else.
type (
	Tree   map[string]Tree
	Forest []Forest
	Self   *Self
	Me     []*Me
)

// Client is the interface of clients.
type Client struct {
	// ReceiveMessage shows a message.
	ReceiveMessage func(user, message string) error
	Renamed        func(User) error                                          `hub:"user.changed"`
	Confirm        func(question string, within time.Duration) (bool, error) // Confirm asks.
	Pick           func(colors []Color) (*Color, error)                      // null for none
	Any            func() (any, error)
	Long           func(first string, second other.User, third []byte, fourth time.Time) (map[string]string, error)
	hidden         int
}

// Empty has no methods, and NoClient neither.
type (
	Empty    struct{}
	NoClient struct{}
)

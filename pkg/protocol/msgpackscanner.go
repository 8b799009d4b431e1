package protocol

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// packKind is what a MessagePack value is, as its first byte says.
type packKind uint8

const (
	packNone packKind = iota // no value: nothing there, or the byte 0xC1, which is never used
	packNil
	packBool
	packInt
	packFloat
	packStr
	packBin
	packArray
	packMap
	packExt
)

// String returns what error texts call it.
func (k packKind) String() string {
	return [...]string{"no MessagePack", "nil", "a boolean", "an integer", "a float", "a string", "binary", "an array", "a map", "an extension"}[k]
}

// packForm says how a value goes on behind its first byte.
type packForm struct {
	kind   packKind
	fixed  uint8 // bytes that it takes in any case, the first one and the length included
	length uint8 // how many bytes behind the first one say how much more there is, in bytes or elements
}

// packForms are the forms of the first bytes from 0xC0 to 0xDF; the others carry their length within themselves.
var packForms = [...]packForm{
	{packNil, 1, 0}, {packNone, 0, 0}, {packBool, 1, 0}, {packBool, 1, 0},
	{packBin, 2, 1}, {packBin, 3, 2}, {packBin, 5, 4},
	{packExt, 3, 1}, {packExt, 4, 2}, {packExt, 6, 4},
	{packFloat, 5, 0}, {packFloat, 9, 0},
	{packInt, 2, 0}, {packInt, 3, 0}, {packInt, 5, 0}, {packInt, 9, 0},
	{packInt, 2, 0}, {packInt, 3, 0}, {packInt, 5, 0}, {packInt, 9, 0},
	{packExt, 3, 0}, {packExt, 4, 0}, {packExt, 6, 0}, {packExt, 10, 0}, {packExt, 18, 0},
	{packStr, 2, 1}, {packStr, 3, 2}, {packStr, 5, 4},
	{packArray, 3, 2}, {packArray, 5, 4}, {packMap, 3, 2}, {packMap, 5, 4},
}

// packHead reads how the value that b begins with is made up: the bytes that it takes without its elements, which b
// need not hold, and how many elements follow; keys and values of a map count each.
func packHead(b []byte) (kind packKind, size, elements uint64) {
	if len(b) == 0 {
		return packNone, 0, 0
	}
	lead := b[0]
	switch {
	case lead <= 0x7F || lead >= 0xE0:
		return packInt, 1, 0
	case lead <= 0x8F:
		return packMap, 1, 2 * uint64(lead&0x0F)
	case lead <= 0x9F:
		return packArray, 1, uint64(lead & 0x0F)
	case lead <= 0xBF:
		return packStr, 1 + uint64(lead&0x1F), 0
	}
	form := packForms[lead-0xC0]
	size = uint64(form.fixed)
	if uint64(len(b)) < size {
		return form.kind, size, 0
	}
	var n uint64
	switch form.length {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	case 4:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	switch form.kind {
	case packArray:
		return form.kind, size, n
	case packMap:
		return form.kind, size, 2 * n
	}
	return form.kind, size + n, 0
}

func packKindOf(b []byte) packKind {
	kind, _, _ := packHead(b)
	return kind
}

// packLen is how many bytes the value takes that b begins with and that stands inside depth open arrays and maps. It
// is not ok if the value is not whole or nested too deeply. It ends with the first element that is not there, whatever
// number is claimed.
func packLen(b []byte, depth int) (n int, ok bool) {
	kind, size, elements := packHead(b)
	if kind == packNone || uint64(len(b)) < size {
		return 0, false
	}
	n = int(size)
	if kind != packArray && kind != packMap {
		return n, true
	}
	if depth == maxDepth {
		return 0, false
	}
	for range elements {
		size, ok := packLen(b[n:], depth+1)
		if !ok {
			return 0, false
		}
		n += size
	}
	return n, true
}

// validPack reports whether b is exactly one MessagePack value, within the depth limit when it stands inside depth others.
func validPack(b []byte, depth int) bool {
	n, ok := packLen(b, depth)
	return ok && n == len(b)
}

// number is any MessagePack number. The zero number is the integer 0.
type number struct {
	i      int64   // the integer, or its bits if it is large
	f      float64 // the float
	large  bool    // an integer above the largest int64
	double bool    // a float64
	single bool    // a float32
}

// readNumber reads the number that b, which holds a whole value, begins with.
func readNumber(b []byte) (n number, rest []byte, ok bool) {
	var err error
	switch b[0] {
	case 0xCA:
		var f float32
		f, rest, err = msgp.ReadFloat32Bytes(b)
		n = number{f: float64(f), single: true}
	case 0xCB:
		n.double = true
		n.f, rest, err = msgp.ReadFloat64Bytes(b)
	case 0xCF:
		var u uint64
		u, rest, err = msgp.ReadUint64Bytes(b)
		n = number{i: int64(u), large: u > math.MaxInt64}
	default:
		n.i, rest, err = msgp.ReadInt64Bytes(b)
	}
	return n, rest, err == nil
}

func (n number) isFloat() bool { return n.double || n.single }

func (n number) String() string {
	if n.isFloat() {
		return strconv.FormatFloat(n.f, 'g', -1, 64)
	}
	text, _ := n.appendText(nil)
	return string(text)
}

// int64 returns the number as an integer, if it is one and fits.
func (n number) int64() (int64, bool) {
	if n.isFloat() {
		// The bounds are powers of two, so that float64 has them exactly. They keep out what is not a number, too.
		ok := n.f == math.Trunc(n.f) && n.f >= -1<<63 && n.f < 1<<63
		return int64(n.f), ok
	}
	return n.i, !n.large
}

func (n number) uint64() (uint64, bool) {
	if n.isFloat() {
		ok := n.f == math.Trunc(n.f) && n.f >= 0 && n.f < 1<<64
		return uint64(n.f), ok
	}
	return uint64(n.i), n.large || n.i >= 0
}

func (n number) float64() float64 {
	switch {
	case n.isFloat():
		return n.f
	case n.large:
		return float64(uint64(n.i))
	}
	return float64(n.i)
}

// validText returns b as a string in which each byte that is not UTF-8 has become U+FFFD.
func validText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

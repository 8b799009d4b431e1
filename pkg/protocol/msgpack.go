package protocol

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"
)

// MessagePack is the codec of the "messagepack" hub protocol: one MessagePack array per message, behind its length as
// a VarInt. Struct fields have the names that JSON has for them; peers in .NET want those of [NewMessagePack] with
// PascalCase.
//
// Reading refuses what is nested deeper than 64 levels, as the JSON codec does, so that all that one codec reads the
// other can write. Items behind those that this package knows are ignored. Arguments, items and results that are cut
// short or missing are no breach of the protocol: as in ASP.NET Core they fail the one call that they belong to, which
// shows when Elements or Unmarshal gets them.
//
// Values are written so:
//
//   - integers in their shortest form, float32 and float64 at their size, strings as str with what is not UTF-8
//     replaced, []byte and byte arrays as bin, nil pointers, maps and slices as nil;
//   - [time.Time] as a timestamp (extension type -1), in UTC, for the years 0 to 9999;
//   - structs as maps by the rules of [encoding/json]: names, "-", omitempty, omitzero and embedding. The string option
//     writes numbers and booleans as text; strings it leaves alone;
//   - maps with their keys sorted, integer keys as integers;
//   - a type with a MarshalJSON method as what it returns, one with MarshalText as a string, as encoding/json does, and
//     [encoding/json.RawMessage] and a [Raw] in JSON likewise turned into MessagePack.
//
// Reading is the reverse, and lenient where clients differ: names count in any case, a float takes any number, an
// integer also a float that is integral and in range, []byte also base64 text or an array, time.Time also
// text as RFC 3339 and the array of two that .NET writes for a DateTimeOffset. An any gets nil, bool, int64, uint64
// (only above the largest int64), float64, string, []byte, time.Time, []any or map[string]any. At the top level nil
// fits only what can be nil or is a string; deeper it leaves things as they are.
var MessagePack Codec = NewMessagePack(MessagePackOptions{})

// MessagePackOptions are the options of a MessagePack codec. The zero value is that of [MessagePack].
type MessagePackOptions struct {
	// PascalCase writes the names of struct fields with an upper-case first letter, as the contractless types of
	// .NET peers have them. Keys of maps and names in raw values stay as they are. Reading takes any case anyway.
	PascalCase bool
}

// NewMessagePack returns a codec of the "messagepack" hub protocol. See [MessagePack].
func NewMessagePack(o MessagePackOptions) Codec {
	return packCodec{pascal: o.PascalCase}
}

const (
	packName = "messagepack"

	maxPrefix = binary.MaxVarintLen32 // bytes of a length prefix
)

var errTooLarge = &Error{Text: "Messages over 2GB in size are not supported."}

type packCodec struct{ pascal bool }

func (packCodec) Name() string { return packName }
func (packCodec) Binary() bool { return true }

// Next knows the length before the message is there, but leaves it to its caller to call one too long.
func (packCodec) Next(data []byte) (body []byte, n int, err error) {
	length := 0
	for i, c := range data {
		if i == maxPrefix-1 && c > 7 { // the fifth byte has room for three more bits
			return nil, 0, errTooLarge
		}
		length |= int(c&0x7F) << (7 * i)
		if c&0x80 != 0 {
			continue
		}
		start := i + 1
		if len(data)-start < length {
			return nil, 0, nil
		}
		return data[start : start+length : start+length], start + length, nil
	}
	return nil, 0, nil
}

// appendFrame puts the length in front of the message that begins behind b[start], where one byte was left for it.
// Most messages are short: for the rest it is cheaper to move them than to write all of them twice.
func appendFrame(b []byte, start int) ([]byte, error) {
	size := len(b) - start - 1
	if size < 0x80 {
		b[start] = byte(size)
		return b, nil
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("protocol: %w", errTooLarge)
	}
	var prefix [maxPrefix]byte
	n := binary.PutUvarint(prefix[:], uint64(size))
	b = append(b, prefix[1:n]...)
	copy(b[start+n:], b[start+1:start+1+size])
	copy(b[start:], prefix[:n])
	return b, nil
}

// The errors that ASP.NET Core gives for arguments, whether they are missing, something else, or cannot be read.
var (
	errNoArguments  = &Error{Text: "Reading array length for 'arguments' failed."}
	errBadArguments = &Error{Text: "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."}
)

func (packCodec) Elements(array []byte, dst [][]byte) ([][]byte, error) {
	count, rest, err := msgp.ReadArrayHeaderBytes(array)
	if err != nil {
		return dst, errNoArguments
	}
	split := dst
	for range count {
		n, ok := packLen(rest, 2) // inside the message and the array
		if !ok {
			return dst, errBadArguments
		}
		split = append(split, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return dst, errBadArguments
	}
	return split, nil
}

package protocol

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

func (packCodec) Append(dst []byte, m *Message) ([]byte, error) {
	b := append(dst, 0) // for the length
	var err error
	switch m.Type {
	case TypeInvocation, TypeStreamInvocation:
		b, err = appendPackHead(b, 6, m)
		b = appendPackText(b, m.Target)
		b = appendEncoded(b, m.Arguments, "\x90")
		b = msgp.AppendArrayHeader(b, uint32(len(m.StreamIDs)))
		for _, id := range m.StreamIDs {
			b = appendPackText(b, id)
		}
	case TypeStreamItem:
		b, err = appendPackHead(b, 4, m)
		b = appendEncoded(b, m.Item, "\xC0")
	case TypeCompletion:
		switch {
		case m.HasError || m.Error != "":
			b, err = appendPackHead(b, 5, m)
			b = appendPackText(append(b, resultError), m.Error)
		case m.Result != nil:
			b, err = appendPackHead(b, 5, m)
			b = appendEncoded(append(b, resultValue), m.Result, "\xC0")
		default:
			b, err = appendPackHead(b, 4, m)
			b = append(b, resultVoid)
		}
	case TypeCancelInvocation:
		b, err = appendPackHead(b, 3, m)
	case TypePing:
		b = append(b, 0x91, byte(TypePing))
	case TypeClose:
		b = append(b, 0x93, byte(TypeClose))
		if m.Error == "" {
			b = msgp.AppendNil(b)
		} else {
			b = appendPackText(b, m.Error)
		}
		b = msgp.AppendBool(b, m.Reconnect)
	case TypeAck, TypeSequence:
		b = append(b, 0x92, byte(m.Type))
		b = appendPackInt(b, m.SequenceID)
	default:
		return dst, fmt.Errorf("protocol: message type %d cannot be written: it must be one of the Type constants", m.Type)
	}
	return finishFrame(dst, b, err)
}

func (c packCodec) AppendInvocation(dst []byte, id, target string, args []any) ([]byte, error) {
	b := append(dst, 0, 0x96, byte(TypeInvocation), 0x80)
	if id == "" {
		b = msgp.AppendNil(b)
	} else {
		b = appendPackText(b, id)
	}
	b = appendPackText(b, target)
	b = msgp.AppendArrayHeader(b, uint32(len(args)))
	for i, arg := range args {
		var err error
		if b, err = c.AppendValue(b, arg); err != nil {
			return dst, fmt.Errorf("argument %d of %s: %w", i+1, target, err)
		}
	}
	return finishFrame(dst, append(b, 0x90), nil)
}

func (c packCodec) AppendStreamItem(dst []byte, id string, item any) ([]byte, error) {
	b := append(dst, 0, 0x94, byte(TypeStreamItem), 0x80)
	b, err := c.AppendValue(appendPackText(b, id), item)
	return finishFrame(dst, b, err)
}

func (c packCodec) AppendResult(dst []byte, id string, result any) ([]byte, error) {
	b := append(dst, 0, 0x95, byte(TypeCompletion), 0x80)
	b, err := c.AppendValue(append(appendPackText(b, id), resultValue), result)
	return finishFrame(dst, b, err)
}

// finishFrame frames the message that b has behind dst.
func finishFrame(dst, b []byte, err error) ([]byte, error) {
	if err == nil {
		b, err = appendFrame(b, len(dst))
	}
	if err != nil {
		return dst, err
	}
	return b, nil
}

// appendPackHead writes what the messages of types 1 to 5 begin with. An Invocation that wants no answer has nil for
// its id.
func appendPackHead(dst []byte, items byte, m *Message) ([]byte, error) {
	dst = append(dst, 0x90|items, byte(m.Type))
	dst = msgp.AppendMapHeader(dst, uint32(len(m.Headers)))
	if len(m.Headers) > 0 {
		for _, name := range slices.Sorted(maps.Keys(m.Headers)) { // sorted, so that equal messages are equal bytes
			if name == "" || m.Headers[name] == "" {
				return dst, fmt.Errorf("protocol: the header %q: %q cannot be written: a peer ends the connection over an empty name or value", name, m.Headers[name])
			}
			dst = appendPackText(dst, name)
			dst = appendPackText(dst, m.Headers[name])
		}
	}
	if m.InvocationID == "" && m.Type == TypeInvocation {
		return msgp.AppendNil(dst), nil
	}
	return appendPackText(dst, m.InvocationID), nil
}

// appendPackText writes s as a str in which what is not UTF-8 has become U+FFFD: not every reader takes anything else.
func appendPackText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return msgp.AppendString(dst, s)
}

// appendPackInt writes an integer in its shortest form, as .NET does. msgp.AppendInt64 alone would write 128 as an
// int16, which takes a byte more.
func appendPackInt(dst []byte, i int64) []byte {
	if i < 0 {
		return msgp.AppendInt64(dst, i)
	}
	return msgp.AppendUint64(dst, uint64(i))
}

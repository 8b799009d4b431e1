package hub_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// packed makes a framed MessagePack message of its notation, in which "h'01ff'" are bytes and "t'2017-04-11T00:00:00Z'" is a time. Only -update needs it.
func packed(value string) []byte {
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(fmt.Sprintf("%s: %v", value, err))
	}
	body, err := protocol.MessagePack.AppendValue(nil, withTypes(v))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", value, err))
	}
	var frame []byte
	for n := len(body); ; n >>= 7 {
		if n < 0x80 {
			return append(append(frame, byte(n)), body...)
		}
		frame = append(frame, byte(n)|0x80)
	}
}

// withTypes puts bytes and times for the strings that stand for them.
func withTypes(v any) any {
	switch v := v.(type) {
	case string:
		if text, ok := strings.CutPrefix(v, "h'"); ok {
			b, _ := hex.DecodeString(strings.TrimSuffix(text, "'"))
			return b
		}
		if text, ok := strings.CutPrefix(v, "t'"); ok {
			t, _ := time.Parse(time.RFC3339Nano, strings.TrimSuffix(text, "'"))
			return t
		}
	case []any:
		for i := range v {
			v[i] = withTypes(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withTypes(v[k])
		}
	}
	return v
}

func fromHex(text string) ([]byte, error) { return hex.DecodeString(strings.ReplaceAll(text, " ", "")) }

// isPacked says whether data is a whole number of MessagePack messages.
func isPacked(data []byte) bool {
	for len(data) > 0 {
		body, n, err := protocol.MessagePack.Next(data)
		if err != nil || n == 0 || len(body) == 0 || body[0]&0xf0 != 0x90 {
			return false
		}
		data = data[n:]
	}
	return true
}

// packets shows each message of data.
func packets(data []byte) (lines []string) {
	for len(data) > 0 {
		_, n, err := protocol.MessagePack.Next(data)
		if err != nil || n == 0 {
			n = len(data)
		}
		lines = append(lines, notation(data[:n]))
		data = data[n:]
	}
	return lines
}

// notation shows a framed MessagePack message: its length, its bytes, and what they mean.
func notation(frame []byte) string {
	body, n, err := protocol.MessagePack.Next(frame)
	if err != nil || n != len(frame) {
		return fmt.Sprintf("%x # no whole message", frame)
	}
	var meaning bytes.Buffer
	rest, err := explain(&meaning, body)
	if err != nil || len(rest) > 0 {
		meaning.WriteString(" …")
	}
	return shortened(fmt.Sprintf("%x %x # %s", frame[:len(frame)-len(body)], body, meaning.Bytes()))
}

// explain writes the value that b begins with.
func explain(out *bytes.Buffer, b []byte) (rest []byte, err error) {
	switch msgp.NextType(b) {
	case msgp.ArrayType:
		return explainAll(out, b, "[]", msgp.ReadArrayHeaderBytes, explain)
	case msgp.MapType:
		return explainAll(out, b, "{}", msgp.ReadMapHeaderBytes, func(out *bytes.Buffer, b []byte) ([]byte, error) {
			if b, err = explain(out, b); err == nil {
				out.WriteString(":")
				b, err = explain(out, b)
			}
			return b, err
		})
	case msgp.BinType:
		data, rest, err := msgp.ReadBytesZC(b)
		fmt.Fprintf(out, "h'%x'", data)
		return rest, err
	case msgp.TimeType, msgp.ExtensionType:
		var t time.Time
		if err := protocol.MessagePack.Unmarshal(b[:len(b)-len(afterExtension(b))], &t); err != nil {
			return b, err
		}
		out.WriteString("t'" + t.UTC().Format(time.RFC3339Nano) + "'")
		return afterExtension(b), nil
	}
	v, rest, err := msgp.ReadIntfBytes(b)
	if err != nil {
		return b, err
	}
	switch v := v.(type) {
	case float32:
		out.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32) + "f32")
	case float64:
		out.WriteString(strconv.FormatFloat(v, 'g', -1, 64) + "f64")
	default:
		text, _ := json.Marshal(v)
		out.Write(text)
	}
	return rest, nil
}

func afterExtension(b []byte) []byte {
	rest, err := msgp.Skip(b)
	if err != nil {
		return nil
	}
	return rest
}

// explainAll writes the elements of an array or a map.
func explainAll(out *bytes.Buffer, b []byte, brackets string, header func([]byte) (uint32, []byte, error), element func(*bytes.Buffer, []byte) ([]byte, error)) ([]byte, error) {
	count, b, err := header(b)
	out.WriteByte(brackets[0])
	for i := range count {
		if i > 0 {
			out.WriteByte(',')
		}
		if b, err = element(out, b); err != nil {
			return b, err
		}
	}
	out.WriteByte(brackets[1])
	return b, err
}

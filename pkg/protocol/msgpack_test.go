package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

// packVector is a message and its exact bytes on the wire; in Hex with their length in front if they were written so.
type packVector struct {
	Name        string
	Message     packMessage
	Size        int // with the length; zero if the documents name none
	Base64, Hex string
}

// packMessage is a Message as testdata spells it: encoded values in hex.
type packMessage struct {
	vectorMessage
	Arguments, Item, Result *string
}

func (v packMessage) message(tb testing.TB) Message {
	m := v.vectorMessage.message()
	for from, to := range map[*string]*[]byte{v.Arguments: &m.Arguments, v.Item: &m.Item, v.Result: &m.Result} {
		if from != nil {
			*to = unhex(tb, *from)
		}
	}
	return m
}

func TestMessagePackAppend(t *testing.T) {
	for _, v := range loadJSON[[]packVector](t, "msgpack_write.json") {
		t.Run(v.Name, func(t *testing.T) {
			m := v.Message.message(t)
			got, err := MessagePack.Append([]byte("before"), &m)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := bytes.CutPrefix(got, []byte("before"))
			diff(t, "wire", v.Hex, hex.EncodeToString(got))
			if !ok || v.Size != 0 && v.Size != len(got) {
				t.Errorf("%d bytes, want %d", len(got), v.Size)
			}
		})
	}
}

// TestMessagePackRead takes every message that the vectors write and those that other writers might.
func TestMessagePackRead(t *testing.T) {
	read := func(v packVector, body []byte) {
		t.Run(v.Name, func(t *testing.T) {
			got := Message{Type: 99, Target: "left over", StreamIDs: []string{"left over"}}
			if err := MessagePack.Decode(body, &got); err != nil {
				t.Fatal(err)
			}
			diff(t, "message", v.Message.message(t), got)
		})
	}
	for _, v := range loadJSON[[]packVector](t, "msgpack_write.json") {
		frame := unhex(t, v.Hex)
		body, n, err := MessagePack.Next(append(frame, "behind"...))
		if n != len(frame) || err != nil {
			t.Fatalf("%s: %d bytes, error %v", v.Name, n, err)
		}
		if v.Base64 != "" {
			diff(t, v.Name, v.Base64, base64.StdEncoding.EncodeToString(body))
		}
		read(v, body)
	}
	for _, v := range loadJSON[[]packVector](t, "msgpack_read.json") {
		read(v, unhex(t, v.Hex))
	}
}

func TestMessagePackReadRefuses(t *testing.T) {
	pairs := append(loadPairs(t, "msgpack_fail.txt"), pair{"", "Reading array length for 'elementCount' failed."})
	for _, p := range pairs {
		t.Run(p.in, func(t *testing.T) {
			wire, _, _ := strings.Cut(p.in, " ")
			m := Message{Target: "left over"}
			err := MessagePack.Decode(unhex(t, wire), &m)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%+v, error %v", m, err)
			}
			diff(t, "text", p.want, e.Text)
			diff(t, "message", Message{}, m)
		})
	}
}

func TestMessagePackNext(t *testing.T) {
	for _, p := range loadPairs(t, "msgpack_frames.txt") {
		data := unhex(t, p.in)
		var got []string
		for len(data) > 0 {
			body, n, err := MessagePack.Next(data)
			if err != nil {
				got = append(got, err.Error())
				break
			}
			if n == 0 {
				got = append(got, "incomplete")
				break
			}
			got = append(got, strconv.QuoteToASCII(string(body)))
			data = data[n:]
		}
		diff(t, p.in, p.want, strings.ReplaceAll(strings.Join(got, " "), `\u00`, `\x`))
	}
	if body, n, err := MessagePack.Next(nil); body != nil || n != 0 || err != nil {
		t.Errorf("of nothing: %q, %d, %v", body, n, err)
	}
}

// TestMessagePackFrameSizes writes messages around the lengths whose prefixes grow.
func TestMessagePackFrameSizes(t *testing.T) {
	for _, size := range []int{0x7F, 0x80, 0x81, 0x3FFF, 0x4000, 0x1F_FFFF, 0x20_0000} {
		text := strings.Repeat("x", size-len("\x94\x02\x80\xa11\xda\x00\x00"))
		if size > 0xFFFF {
			text = text[2:]
		}
		if size < 0x100 {
			text += "x"
		}
		frame, err := MessagePack.AppendStreamItem([]byte("before"), "1", text)
		if err != nil {
			t.Fatal(err)
		}
		body, n, err := MessagePack.Next(frame[len("before"):])
		if len(body) != size || n != len(frame)-len("before") || err != nil {
			t.Fatalf("%d bytes of %d, want %d: %v", len(body), n, size, err)
		}
		var m Message
		var got string
		if err := MessagePack.Decode(body, &m); err != nil {
			t.Fatal(err)
		}
		if err := MessagePack.Unmarshal(m.Item, &got); err != nil || got != text {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
	}
}

// packCustom is the object of the vectors, which .NET wrote.
type packCustom struct {
	StringProp   string
	DoubleProp   float64
	IntProp      int
	DateTimeProp time.Time
	NullProp     *string
	ByteArrProp  []byte
}

// TestMessagePackGoValues writes the vectors again, from Go values instead of encoded ones; those with objects from a
// struct that has tags for JSON and one that has none.
func TestMessagePackGoValues(t *testing.T) {
	dotnet := NewMessagePack(MessagePackOptions{PascalCase: true})
	untagged := packCustom(custom)
	invocation := func(codec Codec, args ...any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return codec.AppendInvocation(nil, m.InvocationID, m.Target, args) }
	}
	item := func(codec Codec, v any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return codec.AppendStreamItem(nil, m.InvocationID, v) }
	}
	result := func(codec Codec, v any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return codec.AppendResult(nil, m.InvocationID, v) }
	}
	tests := map[string]func(Message) ([]byte, error){
		"Invocation, id, no args":                 invocation(MessagePack),
		"Invocation, no id, no args":              invocation(MessagePack),
		"Invocation, int arg":                     invocation(MessagePack, 42),
		"Invocation, int + string":                invocation(MessagePack, uint64(42), "string"),
		"Invocation, null arg":                    invocation(MessagePack, nil),
		"Invocation, int + enum":                  invocation(MessagePack, int32(42), one{}),
		"Invocation [42,\"string\",CustomObject]": invocation(dotnet, int64(42), "string", custom),
		"StreamItem int":                          item(MessagePack, 42),
		"StreamItem float32 42.0":                 item(MessagePack, float32(42)),
		"StreamItem string":                       item(MessagePack, Raw{Data: []byte(`"string"`)}),
		"StreamItem true":                         item(MessagePack, true),
		"StreamItem null":                         item(MessagePack, Raw{}),
		"StreamItem enum":                         item(MessagePack, one{}),
		"StreamItem CustomObject":                 item(MessagePack, untagged),
		"Completion int":                          result(MessagePack, uint8(42)),
		"Completion float32":                      result(MessagePack, float32(42)),
		"Completion string":                       result(MessagePack, "string"),
		"Completion true":                         result(MessagePack, true),
		"Completion null result":                  result(MessagePack, nil),
		"Completion enum":                         result(MessagePack, one{}),
		"Completion CustomObject":                 result(dotnet, &custom),
		"Completion 2 x CustomObject":             result(MessagePack, []packCustom{untagged, untagged}),
		"list result":                             result(MessagePack, []int{42}),
	}
	for _, v := range loadJSON[[]packVector](t, "msgpack_write.json") {
		write, ok := tests[v.Name]
		if !ok {
			continue
		}
		delete(tests, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			got, err := write(v.Message.message(t))
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "wire", v.Hex, hex.EncodeToString(got))
		})
	}
	for name := range tests {
		t.Errorf("no vector is called %q", name)
	}
}

// one is an enumeration as .NET writes it: by name.
type one struct{}

func (one) MarshalText() ([]byte, error) { return []byte("One"), nil }

func TestMessagePackAppendRefuses(t *testing.T) {
	before := []byte("before")
	for _, m := range []Message{
		{}, {Type: 10},
		{Type: TypeCancelInvocation, InvocationID: "1", Headers: map[string]string{"a": ""}},
		{Type: TypeCompletion, InvocationID: "1", Headers: map[string]string{"": "a"}},
	} {
		if b, err := MessagePack.Append(before, &m); err == nil || string(b) != "before" {
			t.Errorf("%+v: %q, %v", m, b, err)
		}
	}
	unwritable := func() {}
	for name, write := range map[string]func() ([]byte, error){
		"invocation":  func() ([]byte, error) { return MessagePack.AppendInvocation(before, "", "t", []any{1, unwritable}) },
		"stream item": func() ([]byte, error) { return MessagePack.AppendStreamItem(before, "1", unwritable) },
		"result":      func() ([]byte, error) { return MessagePack.AppendResult(before, "1", unwritable) },
	} {
		if b, err := write(); err == nil || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestMessagePackElements(t *testing.T) {
	const noArray = "Reading array length for 'arguments' failed."
	const unreadable = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."
	tests := []struct {
		array string
		want  string // the elements, or the error
	}{
		{"90", ""},
		{"91a161", "a161"},
		{"9401a2616291c081a17802", "01 a26162 91c0 81a17802"},
		{"dd00000001c0", "c0"},
		{"", noArray}, {"2a", noArray}, {"c0", noArray}, {"81c0c0", noArray}, {"dd0000", noArray},
		{"91", unreadable}, {"92a161", unreadable}, {"91c1", unreadable}, {"9001", unreadable}, {"ddffffffffc0", unreadable},
		{strings.Repeat("91", maxDepth) + "c0", unreadable},
	}
	for _, tt := range tests {
		got, err := MessagePack.Elements(unhex(t, tt.array), [][]byte{[]byte("before")})
		if string(got[0]) != "before" || err != nil && len(got) != 1 {
			t.Errorf("Elements(%s) = %q, %v", tt.array, got, err)
		}
		var elements []string
		for _, e := range got[1:] {
			elements = append(elements, hex.EncodeToString(e))
		}
		text := strings.Join(elements, " ")
		if err != nil {
			text = err.(*Error).Text
		}
		diff(t, tt.array, tt.want, text)
	}
}

// TestMessagePackDepth holds that a message goes as deep as one in JSON. One level more fails the call only.
func TestMessagePackDepth(t *testing.T) {
	for levels, ok := range map[int]bool{maxDepth - 1: true, maxDepth: false} {
		array := strings.Repeat("\x91", levels-1) + "\x90"
		for head, behind := range map[string]string{"\x95": "", "\x96": "\x90"} {
			var m Message
			if err := MessagePack.Decode([]byte(head+"\x01\x80\xa11\xa1t"+array+behind), &m); err != nil {
				t.Fatalf("%d levels: %v", levels, err)
			}
			want := array
			if !ok {
				want += behind // nobody knows where it ends
			}
			diff(t, "arguments", want, string(m.Arguments))
			if _, err := MessagePack.Elements(m.Arguments, nil); (err == nil) != ok {
				t.Errorf("%d levels of arguments: %v", levels, err)
			}
		}
	}
}

// TestMessagePackBinding reads the invocations of the documents whose arguments do not fit a method that takes a string.
func TestMessagePackBinding(t *testing.T) {
	for _, kind := range []Type{TypeInvocation, TypeStreamInvocation} {
		for wire, want := range map[string]string{
			"940180a3616263a378797a":           "Reading array length for 'arguments' failed.",
			"950180a3616263a378797a2a":         "Reading array length for 'arguments' failed.",
			"950180a3616263a378797a90":         "0 arguments",
			"950180a3616263a378797a92a161a162": "2 arguments",
			"950180a3616263a378797a912a":       "Deserializing object of the `string` type failed: it is an integer.",
		} {
			body := unhex(t, wire)
			body[1] = byte(kind)
			var m Message
			if err := MessagePack.Decode(body, &m); err != nil {
				t.Fatal(err)
			}
			diff(t, "message", []string{"abc", "xyz"}, []string{m.InvocationID, m.Target})
			elements, err := MessagePack.Elements(m.Arguments, nil)
			got := strconv.Itoa(len(elements)) + " arguments"
			if err == nil && len(elements) == 1 {
				var text string
				err = MessagePack.Unmarshal(elements[0], &text)
			}
			if err != nil {
				got = err.Error()
			}
			diff(t, wire, want, got)
		}
	}
}

package protocol

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestJSONAppend(t *testing.T) {
	for _, v := range loadJSON[[]jsonVector](t, "json_write.json") {
		t.Run(v.Name, func(t *testing.T) {
			m := v.Message.message()
			got, err := JSON.Append([]byte("before"), &m)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "wire", "before"+framed(v.Wire), string(got))
			if v.Size != 0 && v.Size != len(got)-len("before") {
				t.Errorf("%d bytes, want %d", len(got)-len("before"), v.Size)
			}
		})
	}
}

// TestJSONRead takes every message that the vectors write and those that other writers might.
func TestJSONRead(t *testing.T) {
	for _, file := range []string{"json_write.json", "json_read.json"} {
		for _, v := range loadJSON[[]jsonVector](t, file) {
			t.Run(v.Name, func(t *testing.T) {
				got := Message{Type: 99, Target: "left over", StreamIDs: []string{"left over"}}
				if err := JSON.Decode(v.Wire, &got); err != nil {
					t.Fatal(err)
				}
				diff(t, "message", v.Message.message(), got)
			})
		}
	}
}

func TestJSONReadRefuses(t *testing.T) {
	pairs := loadPairs(t, "json_fail.txt")
	pairs = append(pairs, // what does not show in a text file
		pair{"", "Error reading JSON."},
		pair{"{\"type\":6,\"x\":\"\xff\"}", "Error reading JSON."},
		pair{"{\"type\":6,\"x\":\"\x00\"}", "Error reading JSON."},
		pair{"\uFEFF{\"type\":6}", "Error reading JSON."},
		pair{nested(maxDepth), "Error reading JSON."},
	)
	for _, p := range pairs {
		t.Run(p.in, func(t *testing.T) {
			m := Message{Target: "left over"}
			err := JSON.Decode([]byte(p.in), &m)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%+v, error %v", m, err)
			}
			diff(t, "text", p.want, e.Text)
			diff(t, "message", Message{}, m)
		})
	}
}

// nested is a message whose argument array is n deep.
func nested(n int) string {
	return `{"type":1,"target":"t","arguments":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
}

func TestJSONDepth(t *testing.T) {
	var m Message
	if err := JSON.Decode([]byte(nested(maxDepth-1)), &m); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
}

func TestJSONIgnoresWhatFollows(t *testing.T) {
	var m Message
	if err := JSON.Decode([]byte(`{"type":6}{"type":7`), &m); err != nil || m.Type != TypePing {
		t.Errorf("type %d, error %v", m.Type, err)
	}
}

func TestJSONNext(t *testing.T) {
	tests := []struct {
		data, body string
		n          int
	}{
		{"", "", 0},
		{`{"type":6}`, "", 0},
		{"\x1e", "", 1},
		{"{}\x1e", "{}", 3},
		{"a\x1eb\x1e", "a", 2},
	}
	for _, tt := range tests {
		body, n, err := JSON.Next([]byte(tt.data))
		if string(body) != tt.body || n != tt.n || err != nil {
			t.Errorf("Next(%q) = %q, %d, %v", tt.data, body, n, err)
		}
	}
}

type customObject struct {
	StringProp   string    `json:"stringProp"`
	DoubleProp   float64   `json:"doubleProp"`
	IntProp      int       `json:"intProp"`
	DateTimeProp time.Time `json:"dateTimeProp"`
	NullProp     *string   `json:"nullProp"`
	ByteArrProp  []byte    `json:"byteArrProp"`
}

var custom = customObject{
	StringProp: "SignalR!", DoubleProp: 6.2831853071, IntProp: 42,
	DateTimeProp: time.Date(2017, time.April, 11, 0, 0, 0, 0, time.UTC), ByteArrProp: []byte{1, 2, 3},
}

// TestJSONGoValues writes the vectors again, from Go values instead of encoded ones.
func TestJSONGoValues(t *testing.T) {
	dated := time.Date(2016, time.May, 10, 13, 51, 20, 0, time.FixedZone("", 12*3600+34*60))
	invocation := func(args ...any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return JSON.AppendInvocation(nil, m.InvocationID, m.Target, args) }
	}
	item := func(v any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return JSON.AppendStreamItem(nil, m.InvocationID, v) }
	}
	result := func(v any) func(Message) ([]byte, error) {
		return func(m Message) ([]byte, error) { return JSON.AppendResult(nil, m.InvocationID, v) }
	}
	tests := map[string]func(Message) ([]byte, error){
		"invocation with id":       invocation(1, "Foo"),
		"bool argument":            invocation(true),
		"null argument":            invocation(nil),
		"date with offset":         invocation(dated),
		"not ASCII":                invocation("מחרוזת כלשהי"),
		"custom object":            invocation(custom),
		"size invocation":          invocation(1.0),
		"size invocation with id":  invocation(Raw{Data: []byte("1")}),
		"stream item int":          item(1),
		"stream item string":       item("Foo"),
		"stream item bool":         item(true),
		"stream item null":         item(nil),
		"completion int":           result(1),
		"completion string":        result("Foo"),
		"completion bool":          result(true),
		"completion null":          result(nil),
		"completion custom object": result(&custom),
		"size completion result":   result(uint8(1)),
		"size stream item null":    item(Raw{}),
	}
	for _, v := range loadJSON[[]jsonVector](t, "json_write.json") {
		write, ok := tests[v.Name]
		if !ok {
			continue
		}
		delete(tests, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			got, err := write(v.Message.message())
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "wire", framed(v.Wire), string(got))
		})
	}
	for name := range tests {
		t.Errorf("no vector is called %q", name)
	}
}

func TestJSONAppendRefuses(t *testing.T) {
	before := []byte("before")
	for _, m := range []Message{{}, {Type: 10}} {
		if b, err := JSON.Append(before, &m); err == nil || string(b) != "before" {
			t.Errorf("type %d: %q, %v", m.Type, b, err)
		}
	}
	unwritable := func() {}
	for name, write := range map[string]func() ([]byte, error){
		"invocation":  func() ([]byte, error) { return JSON.AppendInvocation(before, "", "t", []any{1, unwritable}) },
		"stream item": func() ([]byte, error) { return JSON.AppendStreamItem(before, "1", unwritable) },
		"result":      func() ([]byte, error) { return JSON.AppendResult(before, "1", unwritable) },
	} {
		if b, err := write(); err == nil || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestJSONElements(t *testing.T) {
	tests := []struct {
		array string
		want  []string // nil: refused
	}{
		{`[]`, []string{}},
		{` [ ] `, []string{}},
		{`[1]`, []string{"1"}},
		{`[ 1 , "a,]" , [2, {}] ,{"x":[]}, null ]`, []string{"1", `"a,]"`, "[2, {}]", `{"x":[]}`, "null"}},
		{``, nil}, {`{}`, nil}, {`[1`, nil}, {`[1,]`, nil}, {`[,]`, nil}, {`[1]x`, nil}, {`[1 2]`, nil},
	}
	for _, tt := range tests {
		got, err := JSON.Elements([]byte(tt.array), [][]byte{[]byte("before")})
		if string(got[0]) != "before" || (err != nil) != (tt.want == nil) {
			t.Errorf("Elements(%s) = %q, %v", tt.array, got, err)
		}
		elements := []string{}
		for _, e := range got[1:] {
			elements = append(elements, string(e))
		}
		if err == nil {
			diff(t, tt.array, tt.want, elements)
		} else if len(elements) != 0 {
			t.Errorf("Elements(%s) left %q behind", tt.array, elements)
		}
	}
}

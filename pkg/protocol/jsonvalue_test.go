package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestJSONAppendValue(t *testing.T) {
	type inner struct {
		Text string `json:"text"`
		Raw  Raw    `json:"raw"`
	}
	tests := []struct {
		value any
		want  string
	}{
		{nil, "null"},
		{"", `""`},
		{"plain", `"plain"`},
		{"\"\\\b\f\n\r\t\x00\x1f", `"\"\\\b\f\n\r\t\u0000\u001F"`},
		{"<a href='x'>&é€😀\u2028\x7f", "\"<a href='x'>&é€😀\u2028\x7f\""},
		{"a\xffb\xc3", "\"a\uFFFDb\uFFFD\""},
		{"\xff\xff\n", "\"\uFFFD\uFFFD\\n\""},
		{"\uFFFD", "\"\uFFFD\""},
		{true, "true"}, {false, "false"},
		{math.MinInt64, "-9223372036854775808"}, {uint64(math.MaxUint64), "18446744073709551615"},
		{int8(-8), "-8"}, {int16(-16), "-16"}, {int32(-32), "-32"}, {int64(-64), "-64"},
		{uint(0), "0"}, {uint8(8), "8"}, {uint16(16), "16"}, {uint32(32), "32"},
		{2.0, "2"}, {6.2831853071, "6.2831853071"}, {float32(0.1), "0.1"},
		{math.SmallestNonzeroFloat64, "5e-324"}, {1e21, "1e+21"}, {1e20, "100000000000000000000"}, {1e-7, "1e-7"},
		{math.Copysign(0, -1), "-0"},
		{json.RawMessage(" [1, 2] "), " [1, 2] "}, {json.RawMessage(nil), "null"},
		{Raw{}, "null"}, {Raw{Data: []byte("[1, 2]")}, "[1, 2]"}, {Raw{Codec: "json", Data: []byte(`"x"`)}, `"x"`},
		{[]byte{1, 2, 3}, `"AQID"`},
		{[]string{"<&>", "b"}, `["<&>","b"]`},
		{inner{"<", Raw{Data: []byte(`{"a":"<"}`)}}, `{"text":"<","raw":{"a":"<"}}`},
		{[]Raw{{}, {Data: []byte("1")}}, `[null,1]`},
		{Raw{Codec: "messagepack"}, "null"}, {Raw{Codec: "messagepack", Data: []byte("\x82\x01\xa1<\xa1b\xc4\x01x")}, `{"1":"<","b":"eA=="}`},
		{[]Raw{{Codec: "messagepack", Data: []byte("\x91\xa1<")}}, `[["<"]]`},
		{(*int)(nil), "null"},
	}
	for _, tt := range tests {
		got, err := JSON.AppendValue([]byte("before"), tt.value)
		if err != nil {
			t.Errorf("%#v: %v", tt.value, err)
			continue
		}
		diff(t, fmt.Sprintf("%T", tt.value), "before"+tt.want, string(got))
	}
}

func TestJSONAppendValueRefuses(t *testing.T) {
	tests := map[string]struct {
		value any
		text  string
	}{
		"not a number":     {math.NaN(), "NaN"},
		"infinite":         {float32(math.Inf(-1)), "-Inf"},
		"nested infinite":  {[]float64{math.Inf(1)}, "+Inf"},
		"function":         {func() {}, "func()"},
		"unknown codec":    {Raw{Codec: "cbor", Data: []byte{0xf6}}, "cbor"},
		"unknown inside":   {[]Raw{{Codec: "cbor", Data: []byte{0xf6}}}, "cbor"},
		"not MessagePack":  {Raw{Codec: "messagepack", Data: []byte{0xc1}}, "not valid MessagePack"},
		"no form in JSON":  {[]Raw{{Codec: "messagepack", Data: []byte{0xca, 0x7f, 0x80, 0, 0}}}, "+Inf"},
		"two values":       {Raw{Data: []byte("1 2")}, "not valid JSON"},
		"half a value":     {json.RawMessage(`{"a":`), "not valid JSON"},
		"not UTF-8":        {json.RawMessage("\"\xff\""), "not valid JSON"},
		"separator inside": {json.RawMessage("\"\x1e\""), "not valid JSON"},
		"too deep":         {json.RawMessage(strings.Repeat("[", 63) + strings.Repeat("]", 63)), "not valid JSON"},
	}
	for name, tt := range tests {
		got, err := JSON.AppendValue([]byte("before"), tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.text) || string(got) != "before" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestJSONUnmarshal(t *testing.T) {
	type userID string
	type count int
	type point struct{ X, Y int }
	date := time.Date(2016, time.May, 10, 13, 51, 20, 0, time.UTC)
	tests := []struct {
		value string
		want  any // its type is what is decoded into; nil errors
	}{
		{`""`, ""}, {`"plain"`, "plain"}, {`"é😀"`, "é😀"}, {`"\u0041\n\/"`, "A\n/"}, {`"\ud83d"`, "\uFFFD"}, {` "x" `, "x"},
		{`"\ud83d\ude00"`, "😀"}, {`"x"`, userID("x")},
		{`true`, true}, {`false`, false},
		{`-7`, -7}, {`0`, 0}, {`-0`, 0}, {`2.0`, 2}, {`2e3`, 2000}, {`2.5e1`, count(25)}, {`7`, count(7)},
		{`127`, int8(127)}, {`-32768`, int16(-32768)}, {`1e2`, int32(100)}, {`9223372036854775807`, int64(math.MaxInt64)},
		{`255`, uint8(255)}, {`65535`, uint16(65535)}, {`4294967295`, uint32(math.MaxUint32)}, {`1`, uint(1)},
		{`18446744073709551615`, uint64(math.MaxUint64)}, {`2.0`, uint64(2)}, {` 3 `, 3},
		{`1`, 1.0}, {`-1.5e-3`, -1.5e-3}, {`0.1`, float32(0.1)},
		{`{"x":1,"Y":2}`, point{1, 2}}, {`[1,2]`, []int{1, 2}}, {`"AQID"`, []byte{1, 2, 3}},
		{`"2016-05-10T13:51:20Z"`, date},
		{`[1.5, "a"]`, Raw{"json", []byte(`[1.5, "a"]`)}}, {`[ 1 ]`, json.RawMessage(`[ 1 ]`)},
		{`null`, Raw{"json", []byte(`null`)}}, {`null`, json.RawMessage(`null`)},
		{`null`, ""}, {`null`, userID("")}, {`null`, []int(nil)}, {`null`, map[string]int(nil)}, {`null`, (*point)(nil)},
		{`{"a":[null]}`, map[string]any{"a": []any{nil}}},
		{`[{"a": 1}]`, []Raw{{"json", []byte(`{"a": 1}`)}}},
	}
	for _, tt := range tests {
		ptr := reflect.New(reflect.TypeOf(tt.want))
		if err := JSON.Unmarshal([]byte(tt.value), ptr.Interface()); err != nil {
			t.Errorf("%s into %T: %v", tt.value, tt.want, err)
			continue
		}
		diff(t, tt.value, tt.want, ptr.Elem().Interface())
	}
}

func TestJSONUnmarshalAny(t *testing.T) {
	for value, want := range map[string]any{
		`null`: nil, `1`: 1.0, `"x"`: "x", `true`: true, `[1]`: []any{1.0}, `{"a":{}}`: map[string]any{"a": map[string]any{}},
	} {
		got := any("left over")
		if err := JSON.Unmarshal([]byte(value), &got); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		diff(t, value, want, got)
	}
}

func TestJSONUnmarshalRefuses(t *testing.T) {
	type point struct{ X, Y int }
	tests := []struct {
		value string
		into  any
	}{
		{`null`, 0}, {`null`, int8(0)}, {`null`, uint64(0)}, {`null`, false}, {`null`, 0.0}, {`null`, point{}},
		{`null`, time.Time{}}, {`null`, [1]int{}}, {` null `, 0}, {`null x`, ""},
		{`"abc"`, 0}, {`1`, ""}, {`[1]`, ""}, {`[]`, ""}, {`1`, false}, {`"1"`, 1.0}, {`{}`, []int{}}, {`[]`, point{}},
		{`1.5`, 0}, {`1e400`, 0.0}, {`128`, int8(0)}, {`-129`, int8(0)}, {`-1`, uint(0)}, {`-1`, uint8(0)}, {`256`, uint8(0)},
		{`-1.0`, uint16(0)}, {`1e30`, 0}, {`9223372036854775808`, int64(0)}, {`-1`, uint64(0)},
		{``, 0}, {``, ""}, {`01`, 0}, {`1x`, 0}, {`+1`, 0}, {`"`, ""}, {`"a`, ""}, {`"a"b"`, ""}, {`tru`, false}, {`1 2`, 0},
		{`[1`, Raw{}}, {``, Raw{}}, {`1 2`, json.RawMessage{}},
	}
	for _, tt := range tests {
		ptr := reflect.New(reflect.TypeOf(tt.into))
		err := JSON.Unmarshal([]byte(tt.value), ptr.Interface())
		e, ok := err.(*Error)
		if !ok || !strings.HasPrefix(e.Text, "The JSON value could not be converted to ") {
			t.Errorf("%s into %T: %v, error %v", tt.value, tt.into, ptr.Elem(), err)
		}
	}
	var n *int
	for _, ptr := range []any{nil, 0, n} {
		if err := JSON.Unmarshal([]byte("null"), ptr); err == nil {
			t.Errorf("no error from decoding into %T", ptr)
		}
	}
}

// TestJSONUnmarshalCopies holds Unmarshal to its promise that nothing refers to the input afterwards.
func TestJSONUnmarshalCopies(t *testing.T) {
	const value = `"abcdef"`
	var s string
	var raw Raw
	var message json.RawMessage
	var raws []Raw
	input := []byte(value)
	list := []byte("[" + value + "]")
	for _, err := range []error{
		JSON.Unmarshal(input, &s), JSON.Unmarshal(input, &raw), JSON.Unmarshal(input, &message), JSON.Unmarshal(list, &raws),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	copy(input, bytes.Repeat([]byte("x"), len(input)))
	copy(list, bytes.Repeat([]byte("x"), len(list)))
	diff(t, "values", []string{"abcdef", value, value, value}, []string{s, string(raw.Data), string(message), string(raws[0].Data)})
}

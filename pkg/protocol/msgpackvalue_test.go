package protocol

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The types that the tests write and read beside those of Go.
type (
	userID string
	level  uint8

	// color knows its text, and only by pointer how to read it.
	color int

	// point writes itself as an array, and only by pointer.
	point struct{ X, Y int }

	base struct {
		ID   string `json:"id"`
		Note string `json:"note,omitempty"`
		Deep string
	}
	hidden struct{ Shown int }
	person struct {
		base
		*Extra
		hidden
		Name    string         `json:"name"`
		Age     *int           `json:"age,omitempty"`
		Score   float32        `json:"score,omitzero"`
		Tags    []string       `json:"tags,omitempty"`
		Since   time.Time      `json:"since,omitzero"`
		Big     int64          `json:"big,string"`
		Flag    *bool          `json:"flag,string,omitempty"`
		Text    string         `json:"text,omitempty,string"`
		Secret  string         `json:"-"`
		Dash    int            `json:"dash,omitempty"`
		Any     any            `json:"any,omitempty"`
		Sub     map[string]any `json:"sub,omitempty"`
		Deep    int            `json:"Deep,omitempty"` // hides base.Deep
		private int
	}
	Extra struct {
		Key string `json:"key"`
	}
	// clash embeds two structs with a field of the same name, which hide each other.
	clash struct {
		Left
		Right
		Own int
	}
	Left  struct{ Same, L int }
	Right struct{ Same, R int }

	tree struct {
		Value    int     `json:"value"`
		Children []*tree `json:"children,omitempty"`
	}
	// both has two names that are equal but for case.
	both struct {
		Upper int `json:"A"`
		Lower int `json:"a"`
	}
	endlessPointer *endlessPointer
)

func (c color) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "#%02x", int(c)), nil }
func (c *color) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "#%02x", (*int)(c))
	return err
}

func (p *point) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, "[%d,%d]", p.X, p.Y), nil }
func (p *point) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &[]*int{&p.X, &p.Y}) }

func TestMessagePackAppendValue(t *testing.T) {
	age, yes := 7, true
	full := person{
		base: base{ID: "1", Note: "n", Deep: "hidden"}, Extra: &Extra{"k"}, Name: "N", Age: &age, Score: 0.5, Tags: []string{"t"},
		Since: time.Unix(1, 0), Big: -5, Flag: &yes, Text: "7", Secret: "s", Dash: 1, Any: 1, Sub: map[string]any{"a": nil}, Deep: 3, private: 1,
	}
	tests := []struct {
		value any
		want  string
	}{
		{nil, "c0"}, {"", "a0"}, {"é", "a2c3a9"}, {"a\xff", "a461efbfbd"}, {strings.Repeat("x", 256), "da0100" + strings.Repeat("78", 256)},
		{true, "c3"}, {false, "c2"},
		// The unsigned forms for whatever is not negative: msgp alone would write 128 as d10080.
		{127, "7f"}, {128, "cc80"}, {255, "ccff"}, {256, "cd0100"}, {65535, "cdffff"}, {65536, "ce00010000"},
		{math.MaxUint32, "ceffffffff"}, {1 << 32, "cf0000000100000000"}, {math.MaxInt64, "cf7fffffffffffffff"},
		{-1, "ff"}, {-32, "e0"}, {-33, "d0df"}, {-128, "d080"}, {-129, "d1ff7f"}, {-32769, "d2ffff7fff"}, {math.MinInt64, "d38000000000000000"},
		{int8(-8), "f8"}, {int16(200), "ccc8"}, {int32(128), "cc80"}, {int64(128), "cc80"},
		{uint(200), "ccc8"}, {uint8(128), "cc80"}, {uint16(128), "cc80"}, {uint32(128), "cc80"}, {uint64(math.MaxUint64), "cfffffffffffffffff"},
		{level(200), "ccc8"}, {userID("x"), "a178"}, {time.Duration(200), "ccc8"},
		{float32(0.5), "ca3f000000"}, {0.5, "cb3fe0000000000000"}, {2.0, "cb4000000000000000"}, {math.Inf(1), "cb7ff0000000000000"},
		{[]byte(nil), "c0"}, {[]byte{}, "c400"}, {[]byte{1, 2}, "c4020102"}, {[]level{1, 2}, "c4020102"}, {[2]byte{1, 2}, "c4020102"}, {&[2]byte{1, 2}, "c4020102"},
		{json.RawMessage("[1, 2]"), "920102"}, {json.RawMessage(nil), "c0"}, {json.Number("200"), "ccc8"}, {json.Number("1.5"), "cb3ff8000000000000"}, {json.Number(""), "00"},
		{Raw{}, "c0"}, {Raw{Data: []byte(`{"a":1}`)}, "81a16101"}, {Raw{"json", []byte("1.0")}, "cb3ff0000000000000"},
		{Raw{"messagepack", []byte("\xd3\x00\x00\x00\x00\x00\x00\x00\x01")}, "d30000000000000001"}, // not in its shortest form
		{Raw{"messagepack", []byte("\xd4\x05\x01")}, "d40501"},                                     // an extension that nobody knows
		{[]Raw{{}, {"messagepack", []byte("\xa1a")}}, "92c0a161"},
		{[]int(nil), "c0"}, {[]int{}, "90"}, {[]int{1, 200}, "9201ccc8"}, {[2]string{"a"}, "92a161a0"}, {[]any{nil, 1, "a", []byte{1}}, "94c001a161c40101"},
		{map[string]int(nil), "c0"}, {map[string]int{"b": 2, "a": 1}, "82a16101a16202"}, {map[userID]any{"a": nil}, "81a161c0"},
		{map[int]string{200: "b", -1: "a", 3: ""}, "83ffa16103a0ccc8a162"}, {map[level]int{0: 0, 200: 1}, "820000ccc801"}, {map[color]int{10: 1}, "81a323306101"},
		{(*int)(nil), "c0"}, {&age, "07"}, {new(any), "c0"}, {&[]*int{&age, nil}, "9207c0"},
		{color(255), "a3236666"}, {[]color{1}, "91a3233031"}, {big.NewInt(200), "ccc8"},
		{point{1, 2}, "82a15801a15902"}, {&point{1, 2}, "920102"}, {[]point{{1, 2}}, "91920102"},
		{struct{}{}, "80"}, {struct{ A, b int }{1, 2}, "81a14101"},
		{person{}, "84a26964a0a553686f776e00a46e616d65a0a3626967a130"},
		{full, "de0010" + "a26964a131" + "a46e6f7465a16e" + "a36b6579a16b" + "a553686f776e00" + "a46e616d65a14e" + "a361676507" +
			"a573636f7265ca3f000000" + "a47461677391a174" + "a573696e6365d6ff00000001" + "a3626967a22d35" + "a4666c6167a474727565" +
			"a474657874a137" + "a46461736801" + "a3616e7901" + "a373756281a161c0" + "a44465657003"},
		{clash{Left{1, 2}, Right{3, 4}, 5}, "83a14c02a15204a34f776e05"},
		{tree{1, []*tree{{2, nil}, nil}}, "82a576616c756501a86368696c6472656e9281a576616c756502c0"},
	}
	for _, tt := range tests {
		got, err := MessagePack.AppendValue([]byte("before"), tt.value)
		if err != nil {
			t.Errorf("%#v: %v", tt.value, err)
			continue
		}
		diff(t, fmt.Sprintf("%T %v", tt.value, tt.value), tt.want, hex.EncodeToString(got[len("before"):]))
	}
}

func TestMessagePackTimes(t *testing.T) {
	tests := []struct {
		text, want string
	}{
		{"1970-01-01T00:00:00Z", "d6ff00000000"},
		{"2017-04-11T00:00:00Z", "d6ff58ec1c80"},
		{"2016-05-10T13:51:20+12:34", "d6ff573136a0"}, // the instant: a timestamp has no offset
		{"2106-02-07T06:28:15Z", "d6ffffffffff"},
		{"2106-02-07T06:28:16Z", "d7ff0000000100000000"},
		{"2017-04-11T00:00:00.5Z", "d7ff7735940058ec1c80"},
		{"2514-05-30T01:53:03.999999999Z", "d7ffee6b27ffffffffff"},
		{"2514-05-30T01:53:04Z", "c70cff000000000000000400000000"},
		{"1969-12-31T23:59:59.25Z", "c70cff0ee6b280ffffffffffffffff"},
		{"0001-01-01T00:00:00Z", "c70cff00000000fffffff1886e0900"},
		{"9999-12-31T23:59:59.999999999Z", "c70cff3b9ac9ff0000003afff4417f"},
	}
	for _, tt := range tests {
		date, err := time.Parse(time.RFC3339Nano, tt.text)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{date, &date, []time.Time{date}} {
			got, err := MessagePack.AppendValue(nil, v)
			if err != nil || strings.TrimPrefix(hex.EncodeToString(got), "91") != tt.want {
				t.Errorf("%s in %T is %x, want %s, error %v", tt.text, v, got, tt.want, err)
			}
		}
		var got time.Time
		if err := MessagePack.Unmarshal(unhex(t, tt.want), &got); err != nil || !got.Equal(date) || got.Location() != time.UTC {
			t.Errorf("%s is read as %v, error %v", tt.text, got, err)
		}
	}
}

func TestMessagePackAppendValueRefuses(t *testing.T) {
	var loop any
	loop = &loop
	knot := &tree{}
	knot.Children = []*tree{knot}
	ringMap := map[string]any{}
	ringMap["a"] = ringMap
	var ring endlessPointer
	ring = &ring
	tests := map[string]struct {
		value any
		text  string
	}{
		"function":            {func() {}, "func()"},
		"channel in a struct": {struct{ C chan int }{}, "field C: chan int"},
		"complex in a list":   {[]any{1i}, "complex128"},
		"keys of structs":     {map[struct{ A int }]int{}, "keys of strings or integers"},
		"keys of any":         {map[any]int{"a": 1}, "keys of strings or integers"},
		"interface in itself": {loop, "holds itself"},
		"tree in itself":      {knot, "holds itself"},
		"endless type":        {ring, "endlessPointer"},
		"far future":          {time.Unix(maxTimestamp+1, 0), "year"},
		"far past":            {[]time.Time{time.Unix(minTimestamp-1, 0)}, "year"},
		"no number":           {json.Number("1x"), "1x"},
		"not JSON":            {json.RawMessage("{"), "not valid JSON"},
		"two values":          {Raw{Data: []byte("1 2")}, "not valid JSON"},
		"half a value":        {Raw{"messagepack", []byte("\x92\x01")}, "not valid MessagePack"},
		"two values in pack":  {[]Raw{{"messagepack", []byte("\x01\x01")}}, "not valid MessagePack"},
		"unknown codec":       {Raw{"cbor", []byte("\x01")}, "cbor"},
		"failing marshaler":   {failing{}, "no luck"},
		"failing in JSON":     {[]json.Marshaler{failing{}}, "no luck"},
		"failing key":         {map[failing]int{{}: 1}, "no luck"},
		"failing in a map":    {map[string]any{"a": failing{}}, "no luck"},
		"keys only read":      {map[onlyRead]int{{}: 1}, "MarshalText"},
		"map in itself":       {ringMap, "holds itself"},
		"infinite as text": {struct {
			F float64 `json:",string"`
		}{math.Inf(1)}, "+Inf"},
	}
	for name, tt := range tests {
		got, err := MessagePack.AppendValue([]byte("before"), tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.text) || string(got) != "before" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

type failing struct{}

func (failing) MarshalText() ([]byte, error) { return nil, errors.New("no luck") }
func (failing) MarshalJSON() ([]byte, error) { return nil, errors.New("no luck") }

type onlyRead struct{ Text string }

func (o *onlyRead) UnmarshalText(text []byte) error { o.Text = string(text); return nil }

// TestMessagePackAsJSON holds that both encodings say the same of a value: the same names, the same things left out,
// the same methods asked.
func TestMessagePackAsJSON(t *testing.T) {
	type inner struct {
		A int `json:"a"`
		B int `json:"b,omitempty"`
	}
	type tags struct {
		inner
		One int `json:"one"`
		//lint:ignore SA5008 a name that encoding/json does not take
		Bad   int `json:"b\"ad"`
		Space int `json:"with space"`
		Uni   int `json:"ключ"`
		Empty int `json:",omitempty"`
		//lint:ignore SA5008 encoding/json calls this field "-"
		Minus int `json:"-,"`
		Ptr   *inner
		Nil   *inner `json:",omitempty"`
		Arr   [0]int `json:",omitempty"`
		Named inner  `json:"named"`
		*tree `json:"tree"`
		Iface fmt.Stringer
	}
	type tagged struct {
		Left  `json:"left"`
		Right // now alone with its names
	}
	type deep struct {
		clash
		L int `json:"R"`
	}
	type twice struct {
		inner
		Left
		Mid struct{ inner }
	}
	type viaLeft struct{ Left }
	type viaLeftToo struct{ Left }
	type named struct {
		Same int `json:"Same"` // goes before the one of Right, which has no tag
	}
	type empty struct {
		A bool            `json:",omitempty"`
		B []bool          `json:",omitempty"`
		C float64         `json:",omitempty"`
		D struct{}        `json:",omitempty"`
		E any             `json:",omitempty"`
		F never           `json:",omitzero"`
		G *never          `json:",omitzero"`
		H always          `json:",omitzero"`
		I *always         `json:",omitzero"`
		J map[color]bool  `json:",omitempty"`
		K map[*color]bool `json:",omitempty"`
		L fmt.Stringer    `json:",omitzero"`
		M uint            `json:",omitempty,string"`
		N *float64        `json:",string"`
		O *string         `json:",string"`
	}
	values := []any{
		struct { // the same struct on two ways: its fields hide each other
			viaLeft
			viaLeftToo
			Last int
		}{}, struct {
			Left
			named
			Right
		}{}, empty{}, &empty{}, &empty{
			A: true, B: []bool{true, false}, C: 0.5, E: 0, G: new(never), I: new(always), J: map[color]bool{1: true},
			K: map[*color]bool{nil: true}, L: time.UTC, M: 7, N: ptr(0.5),
		},
		person{}, &person{}, person{Extra: &Extra{}}, tags{}, &tags{Ptr: &inner{}, Empty: 1, tree: &tree{}}, tagged{}, deep{}, clash{}, &clash{},
		twice{}, []any{point{1, 2}, &point{3, 4}, color(7)}, map[color]point{1: {1, 2}}, map[int]*point{-1: {}}, struct{ P point }{}, &struct{ P point }{},
		&struct {
			T time.Time `json:",omitzero"`
			U time.Time `json:"u"`
			V *time.Time
			W *big.Int
			X json.Number
			Y json.RawMessage
			Z Raw
		}{Y: json.RawMessage(`{"a":[1]}`)},
	}
	for _, v := range values {
		packed, err := MessagePack.AppendValue(nil, v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		text, err := appendJSONFromPack(nil, packed, 0)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var gotAny, wantAny any
		if err := errors.Join(json.Unmarshal(text, &gotAny), json.Unmarshal(want, &wantAny)); err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprintf("%T", v), wantAny, gotAny)
	}
}

// never is never zero, and always always.
type (
	never  struct{ N int }
	always struct{ N int }
)

func (never) IsZero() bool   { return false }
func (*always) IsZero() bool { return true }

func TestMessagePackPascalCase(t *testing.T) {
	type item struct {
		Name  string         `json:"name"`
		Extra map[string]int `json:"extra"`
		Raw   Raw            `json:"raw"`
		Élan  int            `json:"élan"`
		Plain int
		List  []struct {
			Key int `json:"key"`
		} `json:"list"`
	}
	value := item{Name: "n", Extra: map[string]int{"a": 1}, Raw: Raw{Data: []byte(`{"b":2}`)}}
	value.List = append(value.List, struct {
		Key int `json:"key"`
	}{3})
	for pascal, want := range map[bool]string{
		false: `{"name":"n","extra":{"a":1},"raw":{"b":2},"élan":0,"Plain":0,"list":[{"key":3}]}`,
		true:  `{"Name":"n","Extra":{"a":1},"Raw":{"b":2},"Élan":0,"Plain":0,"List":[{"Key":3}]}`,
	} {
		codec := NewMessagePack(MessagePackOptions{PascalCase: pascal})
		packed, err := codec.AppendValue(nil, value)
		if err != nil {
			t.Fatal(err)
		}
		text, err := appendJSONFromPack(nil, packed, 0)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "names", want, string(text))
		var back item
		if err := MessagePack.Unmarshal(packed, &back); err != nil || back.Name != "n" || back.List[0].Key != 3 {
			t.Errorf("%+v, error %v", back, err)
		}
	}
}

func TestMessagePackUnmarshal(t *testing.T) {
	seven, yes := 7, true
	date := time.Date(2017, time.April, 11, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		value string
		want  any // its type is what is decoded into; nil errors
	}{
		{"a0", ""}, {"a3616263", "abc"}, {"d903616263", "abc"}, {"da0003616263", "abc"}, {"db00000003616263", "abc"}, {"a2ff61", "\uFFFDa"}, {"a178", userID("x")},
		{"c3", true}, {"c2", false},
		{"00", 0}, {"ff", -1}, {"ccff", 255}, {"d1ff7f", -129}, {"cf7fffffffffffffff", math.MaxInt64}, {"d38000000000000000", math.MinInt64},
		{"7f", int8(127)}, {"cd7fff", int16(math.MaxInt16)}, {"ce7fffffff", int32(math.MaxInt32)}, {"d3ffffffffffffffff", int64(-1)},
		{"ccff", uint8(255)}, {"cdffff", uint16(math.MaxUint16)}, {"ceffffffff", uint32(math.MaxUint32)}, {"cfffffffffffffffff", uint64(math.MaxUint64)},
		{"d07f", uint(127)}, {"ccc8", level(200)}, {"ccc8", time.Duration(200)},
		// Floats that are integers, and integers that are floats.
		{"ca42280000", 42}, {"cb4045000000000000", 42}, {"cbc045000000000000", int8(-42)}, {"cb4045000000000000", uint8(42)}, {"cb8000000000000000", 0},
		{"cbc3e0000000000000", int64(math.MinInt64)}, {"cb43efffffffffffff", uint64(math.MaxUint64 - 2047)}, {"cb43dfffffffffffff", int64(math.MaxInt64 - 1023)},
		{"2a", 42.0}, {"ff", float32(-1)}, {"cfffffffffffffffff", 0x1p64}, {"ca3fc00000", 1.5}, {"cb3ff8000000000000", float32(1.5)}, {"ca7f800000", math.Inf(1)},
		{"cb7ff0000000000000", float32(math.Inf(1))},
		{"c403010203", []byte{1, 2, 3}}, {"c400", []byte{}}, {"a441514944", []byte{1, 2, 3}}, {"a0", []byte{}}, {"93010203", []byte{1, 2, 3}}, {"c4020102", []level{1, 2}},
		{"c4020102", [2]byte{1, 2}}, {"920102", [2]byte{1, 2}}, {"c4020102", [2]level{1, 2}},
		{"90", []int{}}, {"9201ccc8", []int{1, 200}}, {"9201c0", []*int{ptr(1), nil}}, {"92c001", []int{0, 1}}, {"91a161", [2]string{"a"}}, {"93a161919101a162", [1]string{"a"}}, {"92a161a162", [1]string{"a"}},
		{"80", map[string]int{}}, {"81a16101", map[string]int{"a": 1}}, {"81a16101", map[onlyRead]int{{"a"}: 1}}, {"81a161c0", map[string]int{"a": 0}}, {"8101a161", map[int]string{1: "a"}}, {"81a22d31a161", map[int]string{-1: "a"}}, {"8101a161", map[string]string{"1": "a"}},
		{"81ccc801", map[level]int{200: 1}}, {"81a323306101", map[color]int{10: 1}}, {"81a1619101", map[userID][]int{"a": {1}}},
		{"d6ff58ec1c80", date}, {"d7ff0000000058ec1c80", date}, {"c70cff000000000000000058ec1c80", date}, {"b4323031372d30342d31315430303a30303a30305a", date},
		{"d6ff58ec1c80", &date},
		{"07", &seven}, {"c0", (*int)(nil)}, {"07", ptr(&seven)}, {"c0", (**int)(nil)},
		{"c0", ""}, {"c0", userID("")}, {"c0", []int(nil)}, {"c0", []byte(nil)}, {"c0", map[string]int(nil)}, {"c0", (*person)(nil)},
		{"c0", Raw{"messagepack", []byte{0xc0}}}, {"d40501", Raw{"messagepack", []byte{0xd4, 5, 1}}}, {"91a161", []Raw{{"messagepack", []byte("\xa1a")}}},
		{"82a161c40101a16202", json.RawMessage(`{"a":"AQ==","b":2}`)}, {"c0", json.RawMessage("null")}, {"ccc8", json.Number("200")}, {"cb3ff8000000000000", json.Number("1.5")},
		{"a3236666", color(255)}, {"920102", point{1, 2}}, {"920102", &point{1, 2}}, {"ccc8", big.NewInt(200)},
		{"82a576616c756501a86368696c6472656e9281a576616c756502c0", tree{1, []*tree{{2, nil}, nil}}},
		// Names in any case, unknown ones, keys that are no names, one twice; nil leaves things as they are.
		{"87" + "a44e414d45a141" + "a6756e6b6e6f6e9101" + "0102" + "a24944a131" + "a3616765c0" + "a36b6579c0" + "a46e616d65a142", person{Name: "B", base: base{ID: "1"}, Extra: &Extra{}}},
		{"85" + "a3424947a22d35" + "a4666c6167a474727565" + "a46461736801" + "a474657874a137" + "a3616e7991c3", person{Big: -5, Flag: &yes, Dash: 1, Text: "7", Any: []any{true}}},
		{"82a36269670aa4666c6167c0", person{Big: 10}},
		{"82a16101a14102", both{Lower: 1, Upper: 2}},
		{"83a453616d6501a14c02a152c0", clash{Left: Left{L: 2}}},
	}
	for _, tt := range tests {
		into := reflect.New(reflect.TypeOf(tt.want))
		if err := MessagePack.Unmarshal(unhex(t, tt.value), into.Interface()); err != nil {
			t.Errorf("%s into %T: %v", tt.value, tt.want, err)
			continue
		}
		if !reflect.DeepEqual(tt.want, into.Elem().Interface()) {
			t.Errorf("%s is read as %#v, want %#v", tt.value, into.Elem(), tt.want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestMessagePackDateTimeOffset(t *testing.T) {
	for value, want := range map[string]string{
		"92d6ff58ec1c80cd02f2": "2017-04-11T00:00:00+12:34", // what the clock shows, and by how much it is ahead
		"92d6ff58ec1c80d1ff10": "2017-04-11T00:00:00-04:00",
		"92d6ff58ec1c8000":     "2017-04-11T00:00:00Z",
		"92d6ff58ec1c80cd05a0": "", "92d6ff58ec1c80a0": "", "91d6ff58ec1c80": "", "93d6ff58ec1c800000": "", "920000": "", "92d5ff000000": "",
	} {
		var got time.Time
		err := MessagePack.Unmarshal(unhex(t, value), &got)
		if (err != nil) != (want == "") || err == nil && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, want %s, error %v", value, got, want, err)
		}
	}
}

func TestMessagePackUnmarshalAny(t *testing.T) {
	for value, want := range map[string]any{
		"c0": nil, "c3": true, "2a": int64(42), "ff": int64(-1), "cf0000000000000001": int64(1), "cfffffffffffffffff": uint64(math.MaxUint64),
		"ca3fc00000": 1.5, "cb3ff8000000000000": 1.5, "a161": "a", "c40101": []byte{1}, "d6ff00000001": time.Unix(1, 0).UTC(),
		"90": []any{}, "9201c0": []any{int64(1), nil}, "80": map[string]any{}, "82a16191c0c3a162": map[string]any{"a": []any{nil}, "true": "b"},
	} {
		got := any("left over")
		if err := MessagePack.Unmarshal(unhex(t, value), &got); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", value, d)
		}
	}
}

func TestMessagePackUnmarshalRefuses(t *testing.T) {
	tests := []struct {
		value string
		into  any
	}{
		{"c0", 0}, {"c0", int8(0)}, {"c0", uint64(0)}, {"c0", false}, {"c0", 0.0}, {"c0", person{}}, {"c0", time.Time{}}, {"c0", [1]int{}}, {"c0", color(0)},
		{"2a", ""}, {"c3", ""}, {"90", ""}, {"c40161", ""}, {"a131", 0}, {"c3", 0}, {"01", false}, {"a0", 1.0}, {"80", []int{}}, {"90", person{}}, {"01", person{}}, {"90", map[string]int{}},
		{"ccff", int8(0)}, {"d1ff7f", int8(0)}, {"ff", uint(0)}, {"ff", uint8(0)}, {"cd0100", uint8(0)}, {"cf8000000000000000", 0}, {"ff", uint64(0)},
		{"cb3ff8000000000000", 0}, {"cb43e0000000000000", int64(0)}, {"cb43f0000000000000", uint64(0)}, {"cb3ff8000000000000", uint(0)}, {"cbbff0000000000000", uint(0)}, {"cb7ff8000000000000", 0},
		{"cb7ff0000000000000", uint64(0)}, {"cb4070000000000000", uint8(0)}, {"cb7fefffffffffffff", float32(0)},
		{"a3212121", []byte{}}, {"9101", []string{}}, {"9101", [1]string{}}, {"81a161c0", map[failing]int{}}, {"91a161", []byte{}}, {"91cd0100", []byte{}}, {"c40101", [2]byte{}}, {"c403010101", [2]byte{}},
		{"81a17801", map[int]int{}}, {"81cd010001", map[level]int{}}, {"81a17801", map[color]int{}}, {"819001", map[string]int{}}, {"81c001", map[string]int{}},
		{"81a161a162", map[string]int{}}, {"81a3616765a0", person{}}, {"81a3626967a178", person{}}, {"01", color(0)}, {"a178", color(0)}, {"a0", point{}}, {"a0", json.Number("")},
		{"a3616263", time.Time{}}, {"00", time.Time{}}, {"d40500", time.Time{}}, {"d7ffffffffff00000000", time.Time{}}, {"c70cff000000007fffffffffffffff", time.Time{}},
		{"01", func() {}}, {"01", make(chan int)}, {"81a14301", struct{ C chan int }{}}, {"80", map[struct{}]int{}}, {"01", endlessPointer(nil)},
		{"01", struct{ error }{}}, {"81a56572726f7201", struct {
			Error error `json:"error"`
		}{}}, {"d40100", *new(any)}, {"81c0c0", *new(any)}, {"81a161d40100", *new(any)}, {"91c0c0", *new(any)},
		{"d40100", json.RawMessage{}}, {"cb7ff8000000000000", json.RawMessage{}}, {"cb7ff8000000000000", json.Number("")}, {"d40100", point{}},
		{"81a24964a131", struct{ *base }{}},
		{"", 0}, {"", ""}, {"c1", ""}, {"0101", 0}, {"a1", ""}, {"a16162", ""}, {"91", []int{}}, {"9201", []int{}}, {"81a161", map[string]int{}}, {"91c1", Raw{}}, {"0101", Raw{}}, {"", Raw{}},
		{strings.Repeat("91", maxDepth+1) + "c0", Raw{}}, {strings.Repeat("91", maxDepth+1) + "c0", *new(any)},
	}
	for _, tt := range tests {
		into := reflect.ValueOf(new(any))
		if tt.into != nil {
			into = reflect.New(reflect.TypeOf(tt.into))
		}
		err := MessagePack.Unmarshal(unhex(t, tt.value), into.Interface())
		e, ok := err.(*Error)
		if !ok || !strings.Contains(e.Text, "Deserializing object of the `") {
			t.Errorf("%s into %T: %v, error %v", tt.value, tt.into, into.Elem(), err)
		}
	}
	var n *int
	for _, ptr := range []any{nil, 0, n} {
		if err := MessagePack.Unmarshal([]byte{0xc0}, ptr); err == nil {
			t.Errorf("no error from decoding into %T", ptr)
		}
	}
	err := MessagePack.Unmarshal(unhex(t, "81a3737562"+"81a161a0"), &struct{ Sub map[string]struct{} }{})
	diff(t, "text", "Field 'Sub': Deserializing object of the `struct {}` type failed: it is a string.", err.Error())
}

// TestMessagePackUnmarshalCopies holds Unmarshal to its promise that nothing refers to the input afterwards.
func TestMessagePackUnmarshalCopies(t *testing.T) {
	input := []byte("\x94\xa3abc\xc4\x03abc\x81\xa3abc\xa3abc\xa3abc")
	var list []any
	var raw Raw
	var raws []Raw
	var data []byte
	for _, into := range []any{&list, &raw, &raws} {
		if err := MessagePack.Unmarshal(input, into); err != nil {
			t.Fatal(err)
		}
	}
	if err := MessagePack.Unmarshal(input[5:10], &data); err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(list, raw, raws, data)
	for i := range input {
		input[i] = 'x'
	}
	diff(t, "values", before, fmt.Sprint(list, raw, raws, data))
}

// TestMessagePackHostileLengths holds that a length takes memory only when that much is there.
func TestMessagePackHostileLengths(t *testing.T) {
	values := []string{"ddffffffff", "dfffffffff", "c6ffffffff", "dbffffffff", "c9ffffffffff", "dcffff" + strings.Repeat("dcffff", 50), strings.Repeat("91", 5000),
		"81a161ddffffffff", "ddfffffffec0", "df7fffffffa161c0"}
	into := []any{new(any), new([]int), new([][]any), new(map[string]any), new([]byte), new(string), new(Raw), new(person), new(point), new(json.RawMessage), new([4]int)}
	var before, after runtime.MemStats
	for _, value := range values {
		b := unhex(t, value)
		runtime.ReadMemStats(&before)
		for _, p := range into {
			if err := MessagePack.Unmarshal(b, p); err == nil {
				t.Errorf("%.20s is read as %T", value, p)
			}
		}
		var m Message
		for _, head := range []string{"\x96\x01\x80\xc0\xa1t", "\x94\x02\x80\xa11", "\x93\x05", "\x96\x01\x80\xc0\xa1t\x90"} {
			if err := MessagePack.Decode(append([]byte(head), b...), &m); err == nil && m.Arguments != nil {
				if _, err := MessagePack.Elements(m.Arguments, nil); err == nil {
					t.Errorf("%.20s are elements", value)
				}
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
			t.Errorf("%.20s took %d bytes", value, n)
		}
	}
}

// TestMessagePackPlansConcurrently makes the plans of types that contain each other from many goroutines at once.
func TestMessagePackPlansConcurrently(t *testing.T) {
	type odd struct {
		Even *struct{ Odd []*tree }
		More map[string]*struct{ Tree tree }
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			b, err := MessagePack.AppendValue(nil, odd{More: map[string]*struct{ Tree tree }{"a": {}}})
			if err == nil {
				err = MessagePack.Unmarshal(b, new(odd))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

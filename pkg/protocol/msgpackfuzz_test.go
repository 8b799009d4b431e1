package protocol

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tinylib/msgp/msgp"
)

// FuzzMessagePack holds that reading agrees with msgp about what is MessagePack, that what was read can be written and
// read again, and that it takes no more memory than the input is worth.
func FuzzMessagePack(f *testing.F) {
	for _, v := range loadJSON[[]packVector](f, "msgpack_write.json") {
		f.Add(unhex(f, v.Hex))
	}
	for _, v := range loadJSON[[]packVector](f, "msgpack_read.json") {
		f.Add(inFrame(unhex(f, v.Hex)))
	}
	for _, p := range loadPairs(f, "msgpack_fail.txt") {
		wire, _, _ := strings.Cut(p.in, " ")
		f.Add(inFrame(unhex(f, wire)))
	}
	for _, p := range loadPairs(f, "msgpack_frames.txt") {
		f.Add(unhex(f, p.in))
	}
	for _, value := range []string{"dfffffffff", "c6ffffffff", "92d6ff58ec1c80cd02f2", "81d6ff58ec1c80c70cff3b9ac9fffffffff1886e0900", "82cbfff8000000000000a0cfffffffffffffffffc7ff05"} {
		f.Add(inFrame(append([]byte("\x96\x01\x80\xc0\xa1t\x91"), unhex(f, value)...)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		allocated := heapAllocated()
		body, n, err := MessagePack.Next(data)
		if n < 0 || n > len(data) || n == 0 && body != nil || err != nil && n != 0 {
			t.Fatalf("Next: %d of %d bytes, %v", n, len(data), err)
		}
		if n == 0 {
			body = data
		}
		checkSkip(t, body)
		var m Message
		if err := MessagePack.Decode(body, &m); err != nil {
			if _, ok := err.(*Error); !ok || err.Error() == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		if m.Type < TypeInvocation || m.Type > TypeSequence {
			return
		}
		values, _ := MessagePack.Elements(m.Arguments, nil)
		values = append(values, m.Item, m.Result)
		for _, value := range values {
			readPackValue(t, value)
		}
		// Most of it is for reading every value into eleven types, and for what a map of Go takes.
		if n := heapAllocated() - allocated; n > 1<<20+uint64(len(data))*20_000 {
			t.Fatalf("%d bytes took %d", len(data), n)
		}
		for _, value := range values {
			checkPackValue(t, value)
		}
		checkPackStable(t, m)
	})
}

func inFrame(body []byte) []byte {
	frame, err := appendFrame(append([]byte{0}, body...), 0)
	if err != nil {
		panic(err)
	}
	return frame
}

func heapAllocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// checkSkip compares packLen with msgp, which knows no limit of ours.
func checkSkip(t *testing.T, b []byte) {
	n, ok := packLen(b, 0)
	rest, err := msgp.Skip(b)
	if ok && (err != nil || n != len(b)-len(rest)) {
		t.Fatalf("%x is %d bytes long, msgp: %d, %v", b, n, len(b)-len(rest), err)
	}
	if !ok && err == nil && bytes.Count(b, []byte{0x91})+bytes.Count(b, []byte{0x81}) < maxDepth/2 && len(b) < maxDepth {
		t.Fatalf("%x is refused", b)
	}
}

func checkPackStable(t *testing.T, m Message) {
	frame, err := MessagePack.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	body, n, err := MessagePack.Next(frame)
	if err != nil || n != len(frame) {
		t.Fatalf("%x: %d bytes, error %v", frame, n, err)
	}
	// What is missing is written as nothing: an empty array, or nil.
	for value, none := range map[*[]byte]string{&m.Arguments: "\x90", &m.Item: "\xC0", &m.Result: "\xC0"} {
		if *value != nil && len(*value) == 0 {
			*value = []byte(none)
		}
		if *value != nil && !validPack(*value, 1) {
			return // cut short, it runs on into what is written behind it
		}
	}
	if m.Type == TypeClose && m.Error == "" {
		m.HasError = false // the protocol writes no empty error here
	}
	var again Message
	if err := MessagePack.Decode(body, &again); err != nil {
		t.Fatalf("%x: %v", body, err)
	}
	if d := cmp.Diff(m, again); d != "" {
		t.Fatalf("%x (-before +after):\n%s", body, d)
	}
}

// readPackValue reads a value into every kind of type.
func readPackValue(t *testing.T, value []byte) {
	for _, zero := range []any{"", false, 0, uint8(0), float32(0), time.Time{}, []byte{}, []any{}, map[string]int{}, person{}, json.RawMessage{}} {
		err := MessagePack.Unmarshal(value, reflect.New(reflect.TypeOf(zero)).Interface())
		if _, ok := err.(*Error); err != nil && !ok {
			t.Fatalf("%x into %T: %#v", value, zero, err)
		}
	}
	var v any
	_ = MessagePack.Unmarshal(value, &v)
}

// checkPackValue writes what any has made of a value to read it again.
func checkPackValue(t *testing.T, value []byte) {
	var raw Raw
	if err := MessagePack.Unmarshal(value, &raw); (err == nil) != validPack(value, 0) {
		t.Fatalf("%x as a raw value: %v", value, err)
	} else if err == nil && !bytes.Equal(raw.Data, value) {
		t.Fatalf("%x has become %x", value, raw.Data)
	}
	var first, second any
	if err := MessagePack.Unmarshal(value, &first); err != nil {
		return
	}
	wire, err := MessagePack.AppendValue(nil, first)
	if err == nil {
		err = MessagePack.Unmarshal(wire, &second)
	}
	if err != nil && !validPack(value, 2) {
		return // read alone it may be two levels deeper than inside a message
	}
	if err != nil || !samePack(first, second) {
		t.Fatalf("%x: %v, was %v, is %v", value, err, first, second)
	}
}

// samePack compares what reading into any gives. cmp would take twice as long for each level of nesting.
func samePack(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, samePack)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, samePack)
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || a != a && b != b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	}
	return reflect.DeepEqual(a, b)
}

// FuzzTranscode holds that a value keeps its meaning from one encoding to the other: once it has been in JSON, it stays
// the same JSON however often it is turned over, and means what encoding/json reads.
func FuzzTranscode(f *testing.F) {
	for _, v := range loadJSON[[]packVector](f, "msgpack_write.json") {
		m := v.Message.message(f)
		f.Add(append(append(m.Arguments, m.Item...), m.Result...))
	}
	for _, v := range loadJSON[[]jsonVector](f, "json_write.json") {
		f.Add([]byte(v.Wire))
	}
	for _, seed := range []string{"-0", "1e400", "18446744073709551616", "2.0", `"\ud83d\u0000<"`, `{"a":{"b":[1e-7,""]},"a":null}`,
		"\xca\x3d\xcc\xcc\xcd", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x82\x01\xc4\x01x\xc0\xd6\xff\x00\x00\x00\x01", "\xa2\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var text []byte
		var err error
		checkFrugal(t, value, func() { text, err = appendJSONFromPack(nil, value, 0) })
		if err == nil {
			checkTurned(t, text)
			if again := turn(t, text); !bytes.Equal(text, again) {
				t.Fatalf("%x is %s, and then %s", value, text, again)
			}
		}
		checkFrugal(t, value, func() { _, err = appendPackFromJSON(nil, value, 0) })
		if err == nil && len(value) > 0 {
			once := turn(t, value)
			checkMeaning(t, value, once)
			if twice := turn(t, once); !bytes.Equal(once, twice) {
				t.Fatalf("%s is %s, and then %s", value, once, twice)
			}
		}
	})
}

func checkTurned(t *testing.T, text []byte) {
	if !json.Valid(text) || !validJSON(text, 0) {
		t.Fatalf("no JSON: %q", text)
	}
}

// turn writes JSON as MessagePack and that as JSON again.
func turn(t *testing.T, text []byte) []byte {
	packed, err := appendPackFromJSON(nil, text, 0)
	if err != nil || !validPack(packed, 0) {
		t.Fatalf("%s is %x, error %v", text, packed, err)
	}
	again, err := appendJSONFromPack(nil, packed, 0)
	if err != nil {
		t.Fatalf("%s is %x: %v", text, packed, err)
	}
	checkTurned(t, again)
	return again
}

func checkMeaning(t *testing.T, before, after []byte) {
	var want, got any
	if json.Unmarshal(before, &want) != nil || json.Unmarshal(after, &got) != nil {
		t.Fatalf("%q has become %q", before, after)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })); d != "" {
		t.Fatalf("%q has become %q (-before +after):\n%s", before, after, d)
	}
}

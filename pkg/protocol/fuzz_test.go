package protocol

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzJSON holds that reading agrees with encoding/json about what is JSON, and that what was read can be written and
// read again.
func FuzzJSON(f *testing.F) {
	for _, file := range []string{"json_write.json", "json_read.json"} {
		for _, v := range loadJSON[[]jsonVector](f, file) {
			f.Add([]byte(v.Wire))
		}
	}
	for _, p := range loadPairs(f, "json_fail.txt") {
		f.Add([]byte(p.in))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var m Message
		var err error
		checkFrugal(t, wire, func() { err = JSON.Decode(wire, &m) })
		if object, ok := firstObject(wire); ok {
			if err == errJSON {
				t.Fatalf("refused, though it is JSON: %q", object)
			}
		} else if err == nil {
			t.Fatalf("accepted, though it is not JSON: %+v", m)
		}
		if err != nil || m.Type < TypeInvocation || m.Type > TypeSequence {
			return
		}
		if m.Arguments != nil {
			checkElements(t, m.Arguments)
		}
		checkStable(t, m)
	})
}

// checkFrugal fails when decode takes more memory than its input is worth: the lengths and depths that it declares are
// claims of a stranger. The runtime counts whole spans, and what others take, so that only a repeated excess is one.
func checkFrugal(t *testing.T, input []byte, decode func()) {
	t.Helper()
	for tries := 1; ; tries++ {
		before := heapAllocated()
		decode()
		n := heapAllocated() - before
		if n <= 64<<10+uint64(len(input))*200 {
			return
		}
		if tries == 5 {
			t.Fatalf("%d bytes took %d of memory: %.40x", len(input), n, input)
		}
	}
}

// firstObject returns the JSON object that b begins with, as encoding/json sees it, if it is one that we accept.
func firstObject(b []byte) (json.RawMessage, bool) {
	var object json.RawMessage
	in := bytes.NewReader(b)
	d := json.NewDecoder(in)
	if d.Decode(&object) != nil || object[0] != '{' {
		return nil, false
	}
	return object, utf8.Valid(b[:d.InputOffset()]) && depth(object) <= maxDepth
}

// depth is how deeply valid JSON is nested.
func depth(b []byte) int {
	deepest, open := 0, 0
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			open++
			deepest = max(deepest, open)
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
}

func checkElements(t *testing.T, array []byte) {
	elements, err := JSON.Elements(array, nil)
	var want []json.RawMessage
	if wantErr := json.Unmarshal(array, &want); err != nil || wantErr != nil {
		t.Fatalf("elements of %q: %v, encoding/json: %v", array, err, wantErr)
	}
	if len(elements) != len(want) {
		t.Fatalf("%q has %d elements, not %d", array, len(want), len(elements))
	}
	for i := range want {
		if !bytes.Equal(elements[i], want[i]) {
			t.Fatalf("element %d of %q is %q, not %q", i, array, want[i], elements[i])
		}
	}
}

func checkStable(t *testing.T, m Message) {
	frame, err := JSON.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	body, n, err := JSON.Next(frame)
	if err != nil || n != len(frame) {
		t.Fatalf("%q: %d bytes, error %v", frame, n, err)
	}
	var again Message
	if err := JSON.Decode(body, &again); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if m.Type == TypeCompletion && m.Error == "" {
		m.HasError = false // the protocol writes no empty error here
	}
	if d := cmp.Diff(m, again); d != "" {
		t.Fatalf("%q (-before +after):\n%s", body, d)
	}
}

// FuzzJSONValue holds that the short ways of Unmarshal and AppendValue agree with encoding/json.
func FuzzJSONValue(f *testing.F) {
	for _, seed := range []string{`"a"`, `"\u00e9\n"`, "\"\xff\"", `-1`, `2.0`, `1e3`, `0.1`, `1e400`, `true`, `null`, ` 1 `, `[1]`, `{"a":"<"}`, `99999999999`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		isNull := string(bytes.TrimSpace(value)) == "null"
		for _, zero := range []any{"", false, 0, int8(0), uint16(0), uint64(0), 0.0, float32(0), []any{}, map[string]any{}} {
			got, want := reflect.New(reflect.TypeOf(zero)), reflect.New(reflect.TypeOf(zero))
			err, wantErr := JSON.Unmarshal(value, got.Interface()), json.Unmarshal(value, want.Interface())
			if wantErr != nil && err == nil && isInteger(want.Elem().Kind()) {
				var f float64 // 2.0 is fine with us
				if json.Unmarshal(value, &f) != nil || reflect.ValueOf(f).Convert(want.Type().Elem()).Interface() != got.Elem().Interface() {
					t.Fatalf("%q into %T: %v", value, zero, got.Elem())
				}
				continue
			}
			if (err != nil) != (wantErr != nil) && !isNull {
				t.Fatalf("%q into %T: %v, encoding/json: %v", value, zero, err, wantErr)
			}
			if err == nil && !reflect.DeepEqual(got.Elem().Interface(), want.Elem().Interface()) {
				t.Fatalf("%q into %T: %v, encoding/json: %v", value, zero, got.Elem(), want.Elem())
			}
			if err == nil {
				checkValue(t, got.Elem().Interface())
			}
		}
		text, err := JSON.AppendValue(nil, string(value))
		var back string
		if err != nil || json.Unmarshal(text, &back) != nil || back != replaceInvalid(string(value)) {
			t.Fatalf("%q is written as %q and read as %q, error %v", value, text, back, err)
		}
	})
}

// checkValue compares what AppendValue writes with what encoding/json writes.
func checkValue(t *testing.T, v any) {
	got, err := JSON.AppendValue(nil, v)
	if err != nil {
		t.Fatalf("%#v: %v", v, err)
	}
	if _, ok := v.(string); ok {
		return // encoding/json escapes more than it must
	}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil || string(got)+"\n" != want.String() {
		t.Fatalf("%#v: %s, encoding/json: %s, %v", v, got, want.Bytes(), err)
	}
}

// replaceInvalid makes each byte that is not UTF-8 a U+FFFD, as encoding/json does; strings.ToValidUTF8 joins runs.
func replaceInvalid(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func FuzzHandshake(f *testing.F) {
	for _, p := range loadPairs(f, "handshake.txt") {
		f.Add([]byte(strings.ReplaceAll(p.in, "␞", "\x1e")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req HandshakeRequest
		var n int
		var err error
		checkFrugal(t, data, func() { req, n, err = ParseHandshakeRequest(data) })
		if n < 0 || n > len(data) || (n == 0) != !bytes.ContainsRune(data, recordSeparator) {
			t.Fatalf("%d of %d bytes", n, len(data))
		}
		if err != nil {
			if _, ok := err.(*Error); !ok || err.Error() == "" || n == 0 {
				t.Fatalf("%d bytes, error %#v", n, err)
			}
			return
		}
		_, err = req.Choose([]Codec{JSON}, true)
		if (err == nil) != (n > 0 && strings.EqualFold(req.Protocol, "json") && req.Version <= 2) {
			t.Fatalf("%+v: %v", req, err)
		}
	})
}

// FuzzCluster holds that every envelope that can be read is read the same after it has been written again, and that
// what is read into a used struct is what is read into a new one.
func FuzzCluster(f *testing.F) {
	for _, v := range loadJSON[[]clusterVector](f, "cluster.json") {
		f.Add(v.bytes(f))
	}
	for _, p := range loadPairs(f, "cluster_fail.txt") {
		_, wire, _ := strings.Cut(p.in, " ")
		f.Add(unhex(f, wire))
	}
	f.Add(unhex(f, "92ddffffffff"))
	f.Add(unhex(f, "9290dfffffffff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []string{"invocation", "group", "ack", "completion", "request", "reply"} {
			var value any
			var again func() []byte
			var err error
			checkFrugal(t, data, func() { value, again, err = decodeEnvelope(kind, data) })
			if err != nil {
				if _, ok := err.(*Error); !ok {
					t.Fatalf("%s: %#v", kind, err)
				}
				continue
			}
			second, _, err := decodeEnvelope(kind, again())
			inv, _ := value.(ClusterInvocation)
			if kind == "invocation" && inv.InvocationID == "" {
				inv.ReturnChannel = "" // is not written without an id
				value = inv
			}
			if d := cmp.Diff(value, second); d != "" || err != nil {
				t.Fatalf("%s: %v (-before +after):\n%s", kind, err, d)
			}
		}
	})
}

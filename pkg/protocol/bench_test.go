package protocol

import "testing"

var (
	benchFrame  = []byte(`{"arguments":["Ada Lovelace","Hello, everybody out there"],"invocationId":"17","target":"SendMessage","type":1}`)
	benchValues = []any{"Ada Lovelace", "Hello, everybody out there"}
)

func BenchmarkJSONDecodeInvocation(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchFrame)))
	var m Message
	for b.Loop() {
		if err := JSON.Decode(benchFrame, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJSONBind adds what a hub does next: split the arguments and decode them.
func BenchmarkJSONBind(b *testing.B) {
	b.ReportAllocs()
	var m Message
	var elements [][]byte
	var user, text string
	for b.Loop() {
		err := JSON.Decode(benchFrame, &m)
		if err == nil {
			elements, err = JSON.Elements(m.Arguments, elements[:0])
		}
		if err == nil {
			err = JSON.Unmarshal(elements[0], &user)
		}
		if err == nil {
			err = JSON.Unmarshal(elements[1], &text)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONAppendInvocation(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = JSON.AppendInvocation(dst[:0], "", "ReceiveMessage", benchValues); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

// BenchmarkJSONAppendStruct is the long way, through encoding/json.
func BenchmarkJSONAppendStruct(b *testing.B) {
	b.ReportAllocs()
	args := []any{&custom}
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = JSON.AppendInvocation(dst[:0], "", "ReceiveMessage", args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClusterInvocationDecode(b *testing.B) {
	b.ReportAllocs()
	wire := AppendClusterInvocation(nil, ClusterInvocation{
		Excluded: []string{"IWgq1LyHHjeRYTQ8iZqcHg"},
		Payloads: []Payload{{"json", benchFrame}, {"messagepack", benchFrame}},
	})
	var inv ClusterInvocation
	for b.Loop() {
		if err := DecodeClusterInvocation(wire, &inv); err != nil {
			b.Fatal(err)
		}
	}
}

// TestJSONAllocations keeps what the benchmarks show: the strings of a message, and nothing else.
func TestJSONAllocations(t *testing.T) {
	var m Message
	var elements [][]byte
	var text string
	dst := make([]byte, 0, 1024)
	ping, array, value := []byte(`{"type":6}`), []byte(`["a",1]`), []byte(`"abc"`)
	tests := map[string]struct {
		most float64
		run  func() error
	}{
		"decode":    {2, func() error { return JSON.Decode(benchFrame, &m) }}, // target and id
		"ping":      {0, func() error { return JSON.Decode(ping, &m) }},
		"elements":  {0, func() (err error) { elements, err = JSON.Elements(array, elements[:0]); return err }},
		"unmarshal": {1, func() error { return JSON.Unmarshal(value, &text) }},
		"append": {0, func() (err error) {
			_, err = JSON.AppendInvocation(dst, "17", "ReceiveMessage", benchValues)
			return err
		}},
	}
	for name, tt := range tests {
		n := testing.AllocsPerRun(100, func() {
			if err := tt.run(); err != nil {
				t.Error(name, err)
			}
		})
		if n > tt.most {
			t.Errorf("%s: %v allocations, want %v", name, n, tt.most)
		}
	}
}

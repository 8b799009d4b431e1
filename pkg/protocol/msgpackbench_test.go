package protocol

import (
	"testing"
	"time"
)

var benchPack = []byte("\x96\x01\x80\xa217\xabSendMessage\x92\xacAda Lovelace\xbaHello, everybody out there\x90")

func BenchmarkMessagePackDecodeInvocation(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchPack)))
	var m Message
	for b.Loop() {
		if err := MessagePack.Decode(benchPack, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMessagePackBind adds what a hub does next: split the arguments and decode them.
func BenchmarkMessagePackBind(b *testing.B) {
	b.ReportAllocs()
	var m Message
	var elements [][]byte
	var user, text string
	for b.Loop() {
		err := MessagePack.Decode(benchPack, &m)
		if err == nil {
			elements, err = MessagePack.Elements(m.Arguments, elements[:0])
		}
		if err == nil {
			err = MessagePack.Unmarshal(elements[0], &user)
		}
		if err == nil {
			err = MessagePack.Unmarshal(elements[1], &text)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessagePackAppendInvocation(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = MessagePack.AppendInvocation(dst[:0], "", "ReceiveMessage", benchValues); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

// BenchmarkMessagePackAppendStruct is the long way, through reflection.
func BenchmarkMessagePackAppendStruct(b *testing.B) {
	b.ReportAllocs()
	args := []any{&custom}
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = MessagePack.AppendInvocation(dst[:0], "", "ReceiveMessage", args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessagePackUnmarshalStruct(b *testing.B) {
	b.ReportAllocs()
	value, err := MessagePack.AppendValue(nil, custom)
	if err != nil {
		b.Fatal(err)
	}
	var v customObject
	for b.Loop() {
		if err := MessagePack.Unmarshal(value, &v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTranscode sends a raw value that came in JSON to a client of MessagePack.
func BenchmarkTranscode(b *testing.B) {
	b.ReportAllocs()
	raw := Raw{Data: []byte(`{"stringProp":"SignalR!","doubleProp":6.2831853071,"intProp":42,"list":[1,2,3],"nullProp":null}`)}
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = MessagePack.AppendValue(dst[:0], raw); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMessagePackAllocations keeps what the benchmarks show: the strings of a message, and nothing else.
func TestMessagePackAllocations(t *testing.T) {
	var m Message
	var elements [][]byte
	var text string
	var count int
	var date time.Time
	dst := make([]byte, 0, 1024)
	common := []any{"text", true, 1, -1, int64(1 << 40), uint64(1), 1.5, float32(1.5), nil, []byte("bytes"), time.Unix(1, 0), &custom}
	ping, array, value, number := []byte("\x91\x06"), []byte("\x92\xa1a\x01"), []byte("\xa3abc"), []byte("\xcc\xc8")
	stamp := []byte("\xd6\xff\x58\xec\x1c\x80")
	tests := map[string]struct {
		most float64
		run  func() error
	}{
		"decode":    {2, func() error { return MessagePack.Decode(benchPack, &m) }}, // target and id
		"ping":      {0, func() error { return MessagePack.Decode(ping, &m) }},
		"elements":  {0, func() (err error) { elements, err = MessagePack.Elements(array, elements[:0]); return err }},
		"unmarshal": {1, func() error { return MessagePack.Unmarshal(value, &text) }},
		"integer":   {0, func() error { return MessagePack.Unmarshal(number, &count) }},
		"time":      {0, func() error { return MessagePack.Unmarshal(stamp, &date) }},
		"append": {0, func() (err error) {
			_, err = MessagePack.AppendInvocation(dst, "17", "ReceiveMessage", common)
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

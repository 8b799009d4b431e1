package protocol

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadJSON reads a file of testdata.
func loadJSON[T any](tb testing.TB, name string) T {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return v
}

// pair is an input and what comes of it.
type pair struct{ in, want string }

// loadPairs reads a file of testdata in which an input and its outcome stand under each other, with an empty line
// between two such pairs.
func loadPairs(tb testing.TB, name string) []pair {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var pairs []pair
	for _, block := range strings.Split(strings.TrimRight(string(data), "\n"), "\n\n") {
		if strings.HasPrefix(block, "#") {
			continue
		}
		in, want, ok := strings.Cut(block, "\n")
		if !ok || strings.Contains(want, "\n") {
			tb.Fatalf("%s: not two lines: %q", name, block)
		}
		pairs = append(pairs, pair{in, want})
	}
	if len(pairs) == 0 {
		tb.Fatalf("%s holds nothing", name)
	}
	return pairs
}

// jsonVector is a message and its exact bytes on the wire, without the record separator.
type jsonVector struct {
	Name    string
	Message vectorMessage
	Size    int // with the record separator; zero if the documents name none
	Wire    json.RawMessage
}

// vectorMessage is a Message as testdata spells it.
type vectorMessage struct {
	Type           Type
	Headers        map[string]string
	InvocationID   string
	Target         string
	Arguments      json.RawMessage
	StreamIDs      []string
	Item           json.RawMessage
	Result         json.RawMessage
	Error          *string
	AllowReconnect bool
	SequenceID     int64
}

func (v vectorMessage) message() Message {
	m := Message{
		Type: v.Type, Headers: v.Headers, InvocationID: v.InvocationID, Target: v.Target, Arguments: v.Arguments,
		StreamIDs: v.StreamIDs, Item: v.Item, Result: v.Result, Reconnect: v.AllowReconnect, SequenceID: v.SequenceID,
	}
	if v.Error != nil {
		m.Error, m.HasError = *v.Error, true
	}
	return m
}

func framed(wire []byte) string { return string(wire) + "\x1e" }

// clusterVector is an envelope and its exact bytes.
type clusterVector struct {
	Name, Kind, Hex, Base64 string
	Value                   json.RawMessage
}

func (v clusterVector) bytes(tb testing.TB) []byte { return unhex(tb, v.Hex) }

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// vectorPayload is a Payload or ClusterCompletion as testdata spells it: text, or hex for binary frames.
type vectorPayload struct{ Protocol, Frame, FrameHex string }

func (p vectorPayload) payload(tb testing.TB) Payload {
	if p.FrameHex != "" {
		return Payload{Protocol: p.Protocol, Frame: unhex(tb, p.FrameHex)}
	}
	return Payload{Protocol: p.Protocol, Frame: []byte(p.Frame)}
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

package protocol

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// decodeEnvelope reads an envelope of the kind named, and returns it with what writes it again.
func decodeEnvelope(kind string, b []byte) (value any, again func() []byte, err error) {
	switch kind {
	case "invocation":
		var inv ClusterInvocation
		err = DecodeClusterInvocation(b, &inv)
		return inv, func() []byte { return AppendClusterInvocation(nil, inv) }, err
	case "group":
		c, err := DecodeGroupCommand(b)
		return c, func() []byte { return AppendGroupCommand(nil, c) }, err
	case "ack":
		id, err := DecodeAck(b)
		return id, func() []byte { return AppendAck(nil, id) }, err
	case "completion":
		c, err := DecodeClusterCompletion(b)
		return c, func() []byte { return AppendClusterCompletion(nil, c) }, err
	case "request":
		q, err := DecodeFleetRequest(b)
		return q, func() []byte { return AppendFleetRequest(nil, q) }, err
	case "reply":
		p, err := DecodeFleetReply(b)
		return p, func() []byte { return AppendFleetReply(nil, p) }, err
	}
	panic("no envelope is called " + kind)
}

// envelope is the value of a vector, as decodeEnvelope gives it.
func (v clusterVector) envelope(t *testing.T) any {
	t.Helper()
	into := func(p any) {
		if err := json.Unmarshal(v.Value, p); err != nil {
			t.Fatal(err)
		}
	}
	switch v.Kind {
	case "invocation":
		var w struct {
			Excluded                    []string
			Payloads                    []vectorPayload
			InvocationID, ReturnChannel string
		}
		into(&w)
		inv := ClusterInvocation{InvocationID: w.InvocationID, ReturnChannel: w.ReturnChannel}
		inv.Excluded = append(inv.Excluded, w.Excluded...)
		for _, p := range w.Payloads {
			inv.Payloads = append(inv.Payloads, p.payload(t))
		}
		return inv
	case "group":
		var c GroupCommand
		into(&c)
		return c
	case "ack":
		var id int32
		into(&id)
		return id
	case "request":
		var q FleetRequest
		into(&q)
		return q
	case "reply":
		var p FleetReply
		into(&p)
		return p
	}
	var p vectorPayload
	into(&p)
	return ClusterCompletion(p.payload(t))
}

func TestClusterVectors(t *testing.T) {
	for _, v := range loadJSON[[]clusterVector](t, "cluster.json") {
		t.Run(v.Name, func(t *testing.T) {
			wire := v.bytes(t)
			if v.Base64 != "" {
				diff(t, "base64", v.Base64, base64.StdEncoding.EncodeToString(wire))
			}
			got, _, err := decodeEnvelope(v.Kind, wire)
			if err != nil {
				t.Fatal(err)
			}
			want := v.envelope(t)
			diff(t, "read", want, got)
			var written []byte
			switch e := want.(type) {
			case ClusterInvocation:
				written = AppendClusterInvocation([]byte{0xc1}, e)
			case GroupCommand:
				written = AppendGroupCommand([]byte{0xc1}, e)
			case int32:
				written = AppendAck([]byte{0xc1}, e)
			case ClusterCompletion:
				written = AppendClusterCompletion([]byte{0xc1}, e)
			case FleetRequest:
				written = AppendFleetRequest([]byte{0xc1}, e)
			case FleetReply:
				written = AppendFleetReply([]byte{0xc1}, e)
			}
			diff(t, "written", "c1"+v.Hex, fmt.Sprintf("%x", written))
		})
	}
}

func TestClusterRefuses(t *testing.T) {
	for _, p := range loadPairs(t, "cluster_fail.txt") {
		kind, bytes, _ := strings.Cut(p.in, " ")
		_, _, err := decodeEnvelope(kind, unhex(t, bytes))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", p.in, err)
			continue
		}
		diff(t, p.in, p.want, e.Text)
	}
}

// TestClusterRefusesHalves cuts every vector at every byte, and asks for too much of it.
func TestClusterRefusesHalves(t *testing.T) {
	for _, v := range loadJSON[[]clusterVector](t, "cluster.json") {
		wire := v.bytes(t)
		for n := range wire {
			value, _, err := decodeEnvelope(v.Kind, wire[:n])
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%s: %d of %d bytes are %+v, error %v", v.Name, n, len(wire), value, err)
			}
		}
	}
}

// TestClusterIgnoresMore adds items that a later version might.
func TestClusterIgnoresMore(t *testing.T) {
	tests := []struct{ kind, wire, same string }{
		{"ack", "932ac0c3", "912a"},
		{"group", "962aa15301a147a14300", "952aa15301a147a143"},
		{"completion", "93a170c4012a90", "92a170c4012a"},
		{"invocation", "939080a178", "929080"}, // a third item alone means nothing
		{"invocation", "959080a178a17980", "949080a178a179"},
		{"reply", "9801a16ea000a0c29196a168a163a0a07bc0c0", "9701a16ea000a0c29195a168a163a0a07b"},
	}
	for _, tt := range tests {
		got, again, err := decodeEnvelope(tt.kind, unhex(t, tt.wire))
		if err != nil {
			t.Errorf("%s: %v", tt.wire, err)
			continue
		}
		diff(t, fmt.Sprintf("%s %+v", tt.kind, got), tt.same, fmt.Sprintf("%x", again()))
	}
}

// TestClusterReadsNil takes nil for the empty string, which .NET nodes write for a null.
func TestClusterReadsNil(t *testing.T) {
	got, err := DecodeGroupCommand(unhex(t, "952ac001c0a143"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "command", GroupCommand{ID: 42, Action: GroupAdd, Connection: "C"}, got)
}

// TestClusterBelievesNoLength declares four thousand million items where there are none.
func TestClusterBelievesNoLength(t *testing.T) {
	var inv ClusterInvocation
	for _, wire := range []string{"92ddffffffff", "9290dfffffffff", "9290df7fffffffa170c4", "92ddffffffffa161", "929081a170c6ffffffff", "929081dbffffffff"} {
		b := unhex(t, wire)
		allocated := testing.AllocsPerRun(10, func() {
			if DecodeClusterInvocation(b, &inv) == nil {
				t.Errorf("%s: no error", wire)
			}
		})
		if cap(inv.Excluded) > 8 || cap(inv.Payloads) > 8 || allocated > 20 {
			t.Errorf("%s: room for %d ids and %d payloads, %v allocations", wire, cap(inv.Excluded), cap(inv.Payloads), allocated)
		}
	}
}

func TestClusterInvocationReuse(t *testing.T) {
	long := AppendClusterInvocation(nil, ClusterInvocation{
		Excluded: []string{"a", "b"}, Payloads: []Payload{{"json", []byte("x")}, {"messagepack", []byte("y")}},
		InvocationID: "i", ReturnChannel: "r",
	})
	short := AppendClusterInvocation(nil, ClusterInvocation{Payloads: []Payload{{"json", []byte("z")}}})
	var inv ClusterInvocation
	if err := DecodeClusterInvocation(long, &inv); err != nil {
		t.Fatal(err)
	}
	if err := DecodeClusterInvocation(short, &inv); err != nil {
		t.Fatal(err)
	}
	diff(t, "second", ClusterInvocation{Excluded: []string{}, Payloads: []Payload{{"json", []byte("z")}}}, inv)
	if n := testing.AllocsPerRun(100, func() { _ = DecodeClusterInvocation(short, &inv) }); n != 0 {
		t.Errorf("%v allocations when the struct is reused", n)
	}
	broken := msgp.AppendArrayHeader(nil, 2)
	broken = msgp.AppendArrayHeader(broken, 1)
	broken = msgp.AppendString(broken, "left over")
	if err := DecodeClusterInvocation(broken, &inv); err == nil || len(inv.Excluded)+len(inv.Payloads) != 0 {
		t.Errorf("%+v, error %v", inv, err)
	}
}

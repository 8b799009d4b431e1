package protocol

import (
	"runtime"
	"strings"
	"testing"
)

// TestHostileInputs holds that what is announced, opened or repeated takes no more memory than lists of what is really there, in
// 32 KiB, which is the largest message that a server takes by default.
func TestHostileInputs(t *testing.T) {
	const size = 32 << 10
	fill := func(head, body, tail string) []byte {
		return []byte(head + strings.Repeat(body, (size-len(head)-len(tail))/len(body)) + tail)
	}
	var m Message
	var inv ClusterInvocation
	var elements [][]byte
	tests := map[string]struct {
		input  []byte
		decode func(b []byte)
	}{
		"JSON, open arrays":             {fill(`{"type":1,"arguments":`, "[", ""), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, open objects":            {fill(`{"x":`, `{"x":`, ""), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, an open string":          {fill(`{"target":"`, "x", ""), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, escapes":                 {fill(`{"target":"`, `\u0000`, `","type":9}`), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, one property":            {fill(`{`, `"target":"x",`, `"type":6}`), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, stream ids":              {fill(`{"type":1,"target":"x","arguments":[],"streamIds":[`, `"",`, `""]}`), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, a number":                {fill(`{"type":`, "9", "}"), func(b []byte) { _ = JSON.Decode(b, &m) }},
		"JSON, elements":                {fill("[", "0,", "0]"), func(b []byte) { elements, _ = JSON.Elements(b, elements[:0]) }},
		"handshake, the same thing":     {fill("{", `"protocol":"x",`, "}\x1e"), func(b []byte) { _, _, _ = ParseHandshakeRequest(b) }},
		"handshake, open arrays":        {fill(`{"x":`, "[", "\x1e"), func(b []byte) { _, _, _ = ParseHandshakeRequest(b) }},
		"handshake, answered at length": {fill(`{"error":"`, `\n`, "\"}\x1e"), func(b []byte) { _, _, _ = ParseHandshakeResponse(b) }},
		"MessagePack, 2 GB announced":   {fill("\xff\xff\xff\xff\x07", "x", ""), func(b []byte) { _, _, _ = MessagePack.Next(b) }},
		"MessagePack, open arrays":      {fill("\x96\x01\x80\xc0\xa1t", "\x91", ""), func(b []byte) { _ = MessagePack.Decode(b, &m) }},
		"MessagePack, headers":          {fill("\x96\x01\xdf\xff\xff\xff\xff", "\xa1x", ""), func(b []byte) { _ = MessagePack.Decode(b, &m) }},
		"MessagePack, stream ids":       {fill("\x96\x01\x80\xc0\xa1t\x90\xdd\xff\xff\xff\xff", "\xa1x", ""), func(b []byte) { _ = MessagePack.Decode(b, &m) }},
		"MessagePack, elements":         {fill("\xdd\xff\xff\xff\xff", "\x00", ""), func(b []byte) { elements, _ = MessagePack.Elements(b, elements[:0]) }},
		"cluster, excluded ids":         {fill("\x92\xdd\xff\xff\xff\xff", "\xa0", ""), func(b []byte) { _ = DecodeClusterInvocation(b, &inv) }},
		"cluster, payloads":             {fill("\x92\x90\xdf\xff\xff\xff\xff", "\xa0\xc4\x00", ""), func(b []byte) { _ = DecodeClusterInvocation(b, &inv) }},
		"cluster, a name":               {fill("\x92\xdb\xff\xff\xff\xff", "x", ""), func(b []byte) { _, _ = DecodeClusterCompletion(b) }},
		"turned over, from JSON":        {fill("[", "0,", "0]"), func(b []byte) { _, _ = appendPackFromJSON(nil, b, 0) }},
		"turned over, open":             {fill("", "[", ""), func(b []byte) { _, _ = appendPackFromJSON(nil, b, 0) }},
		"turned over, from MessagePack": {fill("\xdd\xff\xff\xff\xff", "\x00", ""), func(b []byte) { _, _ = appendJSONFromPack(nil, b, 0) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			test.decode(test.input)
			runtime.ReadMemStats(&after)
			// A list takes 24 bytes for an element that is one byte long, and three times as much while it grows; elements without a
			// number in front are the worst.
			if n := after.TotalAlloc - before.TotalAlloc; n > 160*size {
				t.Errorf("%d bytes took %d", len(test.input), n)
			}
		})
	}
}

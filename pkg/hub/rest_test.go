package hub_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// What a client says behind a ping, in the same segment, is answered at once: the connection does not rest on it.
func TestWhatFollowsAPing(t *testing.T) {
	url := start(t, &chat{}, hub.Options{Limits: hub.Limits{KeepAlive: time.Hour}})
	frame := func(opcode byte, data string) string { return string(clientFrame(opcode, []byte(data))) }
	for _, p := range []struct{ name, ping, call, result string }{
		{
			"json",
			frame(1, "{\"type\":6}\x1e"),
			frame(1, "{\"type\":1,\"invocationId\":\"1\",\"target\":\"Add\",\"arguments\":[1,2]}\x1e"),
			"{\"type\":3,\"invocationId\":\"1\",\"result\":3}\x1e",
		},
		{
			"messagepack",
			frame(2, "\x02\x91\x06"),
			frame(2, "\x0d\x96\x01\x80\xa11\xa3Add\x92\x01\x02\x90"),
			"\x07\x95\x03\x80\xa11\x03\x03",
		},
	} {
		for name, test := range map[string]struct {
			said   string
			opcode byte // of the answer
			answer string
		}{
			"a Close":               {p.ping + frame(8, "\x03\xe8"), 8, "\x03\xe8"},
			"a Close of no status":  {p.ping + frame(8, ""), 8, ""},
			"a ping and a Close":    {p.ping + p.ping + frame(8, "\x03\xe8"), 8, "\x03\xe8"},
			"pings and a Close":     {strings.Repeat(p.ping, 4) + frame(8, "\x03\xe8"), 8, "\x03\xe8"},
			"a ping of WebSocket's": {p.ping + frame(9, "x"), 10, "x"},
			"a call":                {p.ping + p.call, p.call[0] & 15, p.result},
			"a ping and a call":     {p.ping + p.ping + p.call, p.call[0] & 15, p.result},
		} {
			t.Run(p.name+": "+name, func(t *testing.T) {
				t.Parallel()
				for split := range test.said { // into two writes; nothing before the first byte is one
					conn, r := wired(t, url, p.name)
					for _, part := range []string{test.said[:split], test.said[split:]} {
						if _, err := io.WriteString(conn, part); err != nil {
							t.Fatal(err)
						}
					}
					opcode, data, err := serverFrame(r)
					if err != nil || opcode != test.opcode || string(data) != test.answer {
						t.Fatalf("%q, split at %d, is answered with opcode %d, %q: %v", test.said, split, opcode, data, err)
					}
					conn.Close()
				}
			})
		}
	}
}

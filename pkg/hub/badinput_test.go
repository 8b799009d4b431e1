package hub_test

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

func TestBadHandshakes(t *testing.T) {
	detailed := hub.Options{Limits: hub.Limits{DetailedErrors: true}}
	url, plain := start(t, &chat{}, detailed), start(t, &chat{}, hub.Options{})
	const unexpected = `{"error":"An unexpected error occurred during connection handshake.`
	tests := []struct{ url, send, want string }{
		{url, "42\x1e", unexpected + ` InvalidDataException: Unexpected JSON Token Type 'Number'. Expected a JSON Object."}`},
		{url, "{}\x1e", unexpected + ` InvalidDataException: Missing required property 'protocol'. Message content: {}"}`},
		{plain, "{}\x1e", unexpected + `"}`},
		{plain, "GET / HTTP/1.1\r\n\r\n\x1e", unexpected + `"}`},
		{plain, `{"protocol":"carrier-pigeon","version":1}` + "\x1e", `{"error":"The protocol 'carrier-pigeon' is not supported."}`},
		{plain, `{"protocol":"json","version":3}` + "\x1e", `{"error":"The server does not support version 3 of the 'json' protocol."}`},
		{plain, strings.Repeat("x", 40_000), `{"error":"Handshake was canceled."}`},
	}
	for _, test := range tests {
		c := dial(t, test.url, rawSocket)
		if err := c.ws.Write(context.Background(), websocket.MessageText, []byte(test.send)); err != nil {
			t.Fatal(err)
		}
		if got := c.frame(); got != test.want+"\x1e" {
			t.Errorf("%.60q: got %s, want %s", test.send, got, test.want)
		}
		c.wantClosed(1000)
	}
}

func TestGoodHandshakes(t *testing.T) {
	url := start(t, &chat{}, hub.Options{})
	for _, hello := range []string{
		`{"protocol":"json","version":1}`, `{"version":2,"protocol":"JSON"}`, `{"protocol":"json","version":0,"extra":{}}`,
	} {
		c := dial(t, url, rawSocket)
		// What follows the handshake in the same frame belongs to the hub protocol.
		c.send(hello + "\x1e" + `{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}`)
		if got := c.frame(); got != "{}\x1e" {
			t.Fatalf("%s: %q", hello, got)
		}
		c.want("result: 3")
	}
}

// A handshake, and a message, may come in pieces, and as binary frames too.
func TestPieces(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}), rawSocket)
	for i, b := range []byte(`{"protocol":"json","version":1}` + "\x1e" + `{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}` + "\x1e") {
		kind := websocket.MessageText
		if i%2 == 0 {
			kind = websocket.MessageBinary
		}
		if err := c.ws.Write(context.Background(), kind, []byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.frame(); got != "{}\x1e" {
		t.Fatalf("%q", got)
	}
	c.want("result: 3")
}

func TestProtocolErrors(t *testing.T) {
	url := start(t, &chat{}, hub.Options{Limits: hub.Limits{DetailedErrors: true}})
	plain := start(t, &chat{}, hub.Options{})
	const closed = "close: Connection closed with an error."
	tests := []struct{ url, send, want string }{
		{plain, `{"type":1}`, closed + " (reconnect true)"},
		{url, `{"type":1}`, closed + " InvalidDataException: Missing required property 'target'. (reconnect true)"},
		{url, `null`, closed + " InvalidDataException: Unexpected JSON Token Type 'Null'. Expected a JSON Object. (reconnect true)"},
		{url, `{"type":1,"target":"Add","arguments":[[}]}`, closed + " InvalidDataException: Error reading JSON. (reconnect true)"},
		{url, `garbage`, closed + " InvalidDataException: Error reading JSON. (reconnect true)"},
		{plain, strings.Repeat("x", 32<<10), closed + " (reconnect true)"},
		{url, strings.Repeat("x", 32<<10), closed + " InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions. (reconnect true)"},
	}
	for _, test := range tests {
		c := dial(t, test.url)
		c.send(test.send)
		if got := c.next().String(); got != test.want {
			t.Errorf("%.60q: got %s, want %s", test.send, got, test.want)
		}
		c.wantClosed(1000)
	}
}

// A message of exactly the limit, framing included, passes.
func TestMaxMessageSize(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	const before, after = `{"type":1,"invocationId":"1","target":"Echo","arguments":["`, `"]}`
	text := strings.Repeat("x", hub.DefaultMaxMessageSize-len(before)-len(after)-1)
	c.send(before + text + after)
	c.want(`result: "` + text + `"`)
	c.send(before + text + "x" + after)
	c.want("close: Connection closed with an error. (reconnect true)")
}

// Several messages in one frame may together be larger than one may be.
func TestManyMessagesInOneFrame(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	const n = 2000
	one := `{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}` + "\x1e"
	c.send(strings.TrimSuffix(strings.Repeat(one, n), "\x1e"))
	for range n {
		c.want("result: 3")
	}
}

// Messages that mean nothing here are passed over.
func TestStrangeMessages(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	for _, m := range []string{
		`{"type":2,"invocationId":"1","item":5}`, `{"type":3,"invocationId":"1","result":5}`, `{"type":5,"invocationId":"1"}`,
		`{"type":6}`, `{"type":8,"sequenceId":1}`, `{"type":9,"sequenceId":1}`, `{"type":99,"what":"ever"}`,
	} {
		c.send(m)
	}
	c.wantCall("result: 3", "Add", 1, 2)
}

package protocol

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestHandshakeRequest(t *testing.T) {
	for _, p := range loadPairs(t, "handshake.txt") {
		t.Run(p.in, func(t *testing.T) {
			data := []byte(strings.ReplaceAll(p.in, "␞", "\x1e"))
			req, n, err := ParseHandshakeRequest(data)
			var e *Error
			var got string
			switch {
			case errors.As(err, &e):
				got = e.Text
				if n == 0 || data[n-1] != recordSeparator {
					t.Errorf("a wrong request took %d bytes", n)
				}
			case err != nil:
				t.Fatalf("not an *Error: %v", err)
			case n == 0:
				got = "incomplete"
			default:
				got = fmt.Sprintf("%s %d, %d left", req.Protocol, req.Version, len(data)-n)
			}
			diff(t, "outcome", p.want, got)
		})
	}
}

func TestHandshakeRequestQuotesInvalidText(t *testing.T) {
	_, _, err := ParseHandshakeRequest([]byte("{\"x\":\"\xff\"}\x1e"))
	diff(t, "error", "Missing required property 'protocol'. Message content: {\"x\":\"\uFFFD\"}", err.Error())
}

func TestHandshakeChoose(t *testing.T) {
	codecs := []Codec{JSON, MessagePack}
	tests := []struct {
		request HandshakeRequest
		text    bool // the transport carries nothing else
		codec   string
		err     string
	}{
		{HandshakeRequest{"json", 1}, false, "json", ""},
		{HandshakeRequest{"JSON", 2}, true, "json", ""},
		{HandshakeRequest{"json", 0}, false, "json", ""},
		{HandshakeRequest{"json", -5}, false, "json", ""},
		{HandshakeRequest{"MessagePack", 1}, false, "messagepack", ""},
		{HandshakeRequest{"json", 3}, false, "", "The server does not support version 3 of the 'json' protocol."},
		{HandshakeRequest{"Json", 3}, false, "", "The server does not support version 3 of the 'Json' protocol."},
		{HandshakeRequest{"xml", 3}, false, "", "The protocol 'xml' is not supported."},
		{HandshakeRequest{"", 1}, false, "", "The protocol '' is not supported."},
		{HandshakeRequest{"MessagePack", 1}, true, "", "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."},
	}
	for _, tt := range tests {
		codec, err := tt.request.Choose(codecs, !tt.text)
		var name, text string
		if codec != nil {
			name = codec.Name()
		}
		if err != nil {
			text = err.Error()
		}
		if name != tt.codec || text != tt.err {
			t.Errorf("%+v: codec %q, error %q", tt.request, name, text)
		}
	}
}

func TestHandshakeResponse(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "{}",
		"Handshake was canceled.":               `{"error":"Handshake was canceled."}`,
		"The protocol '\"<é' is not supported.": `{"error":"The protocol '\"<é' is not supported."}`,
	} {
		diff(t, text, "before"+framed([]byte(want)), string(AppendHandshakeResponse([]byte("before"), text)))
	}
}

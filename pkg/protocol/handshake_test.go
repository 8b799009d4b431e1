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

func TestHandshakeRequestRefusesInvalidProtocol(t *testing.T) {
	_, n, err := ParseHandshakeRequest([]byte("{\"protocol\":\"\xff\",\"version\":1}\x1e"))
	if n != 29 || err == nil || err.Error() != "Error reading JSON." {
		t.Errorf("%d bytes, error %v", n, err)
	}
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

func TestHandshakeRequestWritten(t *testing.T) {
	for _, tt := range []struct {
		request HandshakeRequest
		want    string
	}{
		{HandshakeRequest{"json", 1}, `{"protocol":"json","version":1}`},
		{HandshakeRequest{"messagepack", 2}, `{"protocol":"messagepack","version":2}`},
		{HandshakeRequest{"a\"b", -1}, `{"protocol":"a\"b","version":-1}`},
	} {
		wire := AppendHandshakeRequest([]byte("before"), tt.request)
		diff(t, "request", "before"+framed([]byte(tt.want)), string(wire))
		again, n, err := ParseHandshakeRequest(wire[len("before"):])
		if again != tt.request || n != len(wire)-len("before") || err != nil {
			t.Errorf("%s: read as %+v, %d bytes, %v", wire, again, n, err)
		}
	}
}

func TestHandshakeResponseRead(t *testing.T) {
	for _, tt := range []struct {
		in, text string
		n        int
		err      string
	}{
		{"", "", 0, ""},
		{"{}", "", 0, ""},
		{"{}\x1e", "", 3, ""},
		{"{}\x1e{\"type\":6}\x1e", "", 3, ""},
		{`{"error":"No."}` + "\x1e", "No.", 16, ""},
		{`{ "minorVersion" : 0 , "error" : "\u004eo." }` + "\x1e", "No.", 46, ""},
		{`{"error":""}` + "\x1e", "", 13, ""},
		{`{"type":6}` + "\x1e", "", 11, "Expected a handshake response from the server."},
		{`{"error":null}` + "\x1e", "", 15, "Expected 'error' to be of type String."},
		{`{"error":7}` + "\x1e", "", 12, "Expected 'error' to be of type String."},
		{"[]\x1e", "", 3, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{"{\x1e", "", 2, "Error reading JSON."},
		{"HTTP\x1e", "", 5, "Error reading JSON."},
		{"{\"error\":\"\xcc\"}\x1e", "", 14, "Error reading JSON."},
	} {
		text, n, err := ParseHandshakeResponse([]byte(tt.in))
		var failed string
		if err != nil {
			failed = err.Error()
		}
		if text != tt.text || n != tt.n || failed != tt.err {
			t.Errorf("%q: %q, %d bytes, error %q", tt.in, text, n, failed)
		}
	}
}

func FuzzHandshakeResponse(f *testing.F) {
	f.Add([]byte("{}\x1e"))
	f.Add([]byte(`{"error":"The protocol 'x' is not supported."}` + "\x1e"))
	f.Add([]byte(`{"type":6,"x":[{}]}` + "\x1e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var text string
		var n int
		var err error
		checkFrugal(t, data, func() { text, n, err = ParseHandshakeResponse(data) })
		if n == 0 || err != nil {
			return
		}
		again, _, err := ParseHandshakeResponse(AppendHandshakeResponse(nil, text))
		if err != nil || again != text {
			t.Fatalf("%q: %q, then %q, %v", data, text, again, err)
		}
	})
}

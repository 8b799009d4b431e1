package protocol

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxVersion is the highest version of the hub protocols that we speak; 2 brought Ack and Sequence. Lower ones, even
// those below 1, are accepted, as ASP.NET Core does.
const maxVersion = 2

// HandshakeRequest is what a client says first, always in JSON: how it will talk.
type HandshakeRequest struct {
	Protocol string // name of the codec, in any case
	Version  int    // of that protocol
}

// ParseHandshakeRequest reads the request that data begins with. n is how many bytes it took, its record separator
// included, and those behind it belong to the hub protocol; zero means that the request has not wholly arrived. The
// error is an *Error. How long a request may be is for the caller to say.
func ParseHandshakeRequest(data []byte) (req HandshakeRequest, n int, err error) {
	end := bytes.IndexByte(data, recordSeparator)
	if end < 0 {
		return HandshakeRequest{}, 0, nil
	}
	req, err = parseHandshake(data[:end])
	return req, end + 1, err
}

func parseHandshake(body []byte) (HandshakeRequest, error) {
	s := scanner{data: body}
	if err := s.object(); err != nil {
		return HandshakeRequest{}, err
	}
	var req HandshakeRequest
	var hasProtocol, hasVersion bool
	for first := true; ; first = false {
		more, ok := s.more(first, '}')
		if !ok {
			return HandshakeRequest{}, errJSON
		}
		if !more {
			break // what follows, up to the record separator, is dropped
		}
		name, ok := s.key()
		if !ok {
			return HandshakeRequest{}, errJSON
		}
		var err error
		switch string(name) {
		case "protocol":
			req.Protocol, err = s.text("protocol")
			hasProtocol = true
		case "version":
			var version int64
			version, hasVersion, err = s.integer("version", math.MinInt32, math.MaxInt32, "Int32")
			req.Version = int(version)
		default:
			_, err = s.encoded()
		}
		if err != nil {
			return HandshakeRequest{}, err
		}
	}
	switch {
	case !utf8.ValidString(req.Protocol):
		return HandshakeRequest{}, errJSON
	case !hasProtocol:
		return HandshakeRequest{}, missingFromHandshake("protocol", body)
	case !hasVersion:
		return HandshakeRequest{}, missingFromHandshake("version", body)
	}
	return req, nil
}

func missingFromHandshake(name string, body []byte) error {
	content := strings.ToValidUTF8(string(body), "\uFFFD")
	return &Error{Text: "Missing required property '" + name + "'. Message content: " + content}
}

// Choose picks the codec asked for. binary says whether the connection can carry binary frames, which Server-Sent
// Events cannot. The error is an *Error whose text is for the client, in the response.
func (r HandshakeRequest) Choose(codecs []Codec, binary bool) (Codec, error) {
	for _, c := range codecs {
		if !strings.EqualFold(c.Name(), r.Protocol) {
			continue
		}
		switch {
		case r.Version > maxVersion:
			return nil, &Error{Text: fmt.Sprintf("The server does not support version %d of the '%s' protocol.", r.Version, r.Protocol)}
		case c.Binary() && !binary:
			return nil, &Error{Text: fmt.Sprintf("Cannot use the '%s' protocol on the current transport. The transport does not support 'Binary' transfer format.", c.Name())}
		}
		return c, nil
	}
	return nil, &Error{Text: fmt.Sprintf("The protocol '%s' is not supported.", r.Protocol)}
}

// AppendHandshakeResponse writes the answer to a request behind dst: an acceptance if errText is empty, else a
// refusal, after which the connection ends without a Close message.
func AppendHandshakeResponse(dst []byte, errText string) []byte {
	dst = append(dst, '{')
	if errText != "" {
		dst = append(dst, `"error":`...)
		dst = appendJSONString(dst, errText)
	}
	return append(dst, '}', recordSeparator)
}

// AppendHandshakeRequest writes what a client says first behind dst.
func AppendHandshakeRequest(dst []byte, req HandshakeRequest) []byte {
	dst = append(dst, `{"protocol":`...)
	dst = appendJSONString(dst, req.Protocol)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, int64(req.Version), 10)
	return append(dst, '}', recordSeparator)
}

// ParseHandshakeResponse reads the answer that data begins with. errText is why the server refuses; empty means that it
// accepts. n is how many bytes the answer took, its record separator included, and those behind it belong to the hub
// protocol; zero means that it has not wholly arrived. The error is an *Error: what came is no answer to a handshake.
func ParseHandshakeResponse(data []byte) (errText string, n int, err error) {
	end := bytes.IndexByte(data, recordSeparator)
	if end < 0 {
		return "", 0, nil
	}
	errText, err = parseResponse(data[:end])
	return errText, end + 1, err
}

func parseResponse(body []byte) (errText string, err error) {
	s := scanner{data: body}
	if err := s.object(); err != nil {
		return "", err
	}
	for first := true; ; first = false {
		more, ok := s.more(first, '}')
		if !ok {
			return "", errJSON
		}
		if !more {
			break
		}
		name, ok := s.key()
		if !ok {
			return "", errJSON
		}
		switch string(name) {
		case "type":
			// A server that knows no handshakes, as those before ASP.NET Core 2.1, begins with a message.
			return "", &Error{Text: "Expected a handshake response from the server."}
		case "error":
			errText, err = s.text("error")
		default:
			_, err = s.encoded()
		}
		if err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(errText) {
		return "", errJSON
	}
	return errText, nil
}

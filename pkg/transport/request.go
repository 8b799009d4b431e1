package transport

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
)

// Request is what remains of the HTTP request that opened a connection. It is kept small: an http.Request keeps buffers and
// a context alive, and takes several times the room. HTTP rebuilds it.
type Request struct {
	// Identity is what Authenticate returned.
	Identity any
	// RemoteAddr is the client's network address.
	RemoteAddr string
	// Stateful says that the client may bring another WebSocket when this one breaks; see Endpoint.Resume.
	Stateful bool

	head string // the request line and the headers, as on the wire
}

func newRequest(r *http.Request, identity any) *Request {
	var head strings.Builder
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	head.Grow(512)
	head.WriteString(r.Method + " " + uri + " HTTP/1.1\r\nHost: " + r.Host + "\r\n")
	_ = r.Header.Write(&head) // a Builder has no errors; line breaks in values are replaced
	head.WriteString("\r\n")
	// Clone gives back what the builder has grown in excess.
	return &Request{Identity: identity, RemoteAddr: r.RemoteAddr, head: strings.Clone(head.String())}
}

// HTTP rebuilds the request, with its URL and query, headers, host, cookies and remote address, and without body, TLS
// state and context. Each call makes a new one. The query holds the connection token, and perhaps an access token.
func (r *Request) HTTP() *http.Request {
	h, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.head)))
	if err != nil {
		// Only a request that did not come through an http.Server can be so odd.
		h = &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	}
	h.Body = http.NoBody
	h.RemoteAddr = r.RemoteAddr
	return h
}

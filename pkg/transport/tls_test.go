package transport

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Over TLS, where the same server speaks HTTP/2 to whoever asks for it, and closing says goodbye first.
func TestTLS(t *testing.T) {
	s := newSite(t)
	server := httptest.NewUnstartedServer(s.Endpoint)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	response, err := client.Post(server.URL+"/chat/negotiate?negotiateVersion=1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.ProtoMajor != 2 || !strings.Contains(string(body), `"WebSockets"`) {
		t.Errorf("%s: %s", response.Proto, body)
	}
	http1 := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs}}}
	defer http1.CloseIdleConnections()
	dial := func() (*websocket.Conn, Conn) {
		c, _, err := websocket.Dial(t.Context(), server.URL+"/chat", &websocket.DialOptions{HTTPClient: http1})
		if err != nil {
			t.Fatal(err)
		}
		return c, s.conn(t)
	}
	c, conn := dial()
	in := messages(t, c)
	if err := conn.Write([]*Frame{text("a"), text("b")}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, in); got != "T:ab" {
		t.Errorf("got %q", got)
	}
	conn.Close(nil)
	for range in {
	}
	c, conn = dial() // one that does not read
	defer func() { _ = c.CloseNow() }()
	written := fill(conn)
	blocked(t, conn)
	conn.Abort()
	if receive(t, written) == nil {
		t.Error("Write succeeded")
	}
}

// TLS says goodbye when it closes, and waits for 5 s if nobody takes it. Abort must not.
func TestAbortWithoutGoodbye(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	ours, theirs := net.Pipe() // which has no buffer that the goodbye could go into
	server := tls.Server(ours, certificate.TLS)
	clientDone := make(chan error, 1)
	go func() {
		config := certificate.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName = "example.com"
		client := tls.Client(theirs, config)
		err := client.Handshake()
		if err == nil {
			_, err = io.ReadFull(client, make([]byte, 1)) // takes the session tickets too
		}
		clientDone <- err
	}()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, clientDone); err != nil {
		t.Fatal(err)
	}
	c := &webSocket{}
	c.socket.net, c.socket.onClose = server, func() {}
	c.ending.Store(true) // as if Close were at it
	started := time.Now()
	c.Abort()
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	_ = theirs.Close()
}

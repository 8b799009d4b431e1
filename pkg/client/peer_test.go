package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/client"
)

// peer is the server's end of a WebSocket, in a test that says itself what a server would send.
type peer struct {
	t       testing.TB
	ws      *websocket.Conn
	number  int // of this link, from 1 on
	backlog []string
}

// stage is a server over net.Pipe, for tests in a synctest bubble, where time is faked and real sockets do not work.
type stage struct {
	t        testing.TB
	conns    chan net.Conn
	closed   chan struct{}
	stateful bool
	talk     func(p *peer) // has a conversation on each WebSocket
	talks    sync.WaitGroup

	mu         sync.Mutex
	negotiated int
	opened     int
	refuse     int // status with which WebSockets are refused
}

func (s *stage) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *stage) Close() error   { return nil }
func (s *stage) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (s *stage) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.closed:
		return nil, errors.New("closed")
	}
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/negotiate") {
		s.negotiated++
		granted := ""
		if s.stateful && r.URL.Query().Get("useStatefulReconnect") == "true" {
			granted = `"useStatefulReconnect":true,`
		}
		fmt.Fprintf(w, `{%s"negotiateVersion":1,"connectionId":"id%d","connectionToken":"token%[2]d","availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]}]}`, granted, s.negotiated)
		return
	}
	if s.refuse != 0 {
		w.WriteHeader(s.refuse)
		return
	}
	if want := fmt.Sprintf("token%d", s.negotiated); r.URL.Query().Get("id") != want {
		s.t.Errorf("a socket for %q, not for %q", r.URL.RawQuery, want)
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	ws.SetReadLimit(-1)
	s.opened++
	p := &peer{t: s.t, ws: ws, number: s.opened}
	s.talks.Add(1)
	defer s.talks.Done()
	s.mu.Unlock()
	s.talk(p)
	ws.CloseNow()
	s.mu.Lock()
}

// play runs a test in a bubble, with a client that has been started, unless o says otherwise, on a server that talks as given.
func play(t *testing.T, s *stage, o client.Options, test func(t *testing.T, c *client.Client)) {
	synctest.Test(t, func(t *testing.T) {
		s.t, s.conns, s.closed = t, make(chan net.Conn), make(chan struct{})
		web := &http.Server{Handler: s}
		var serving sync.WaitGroup
		serving.Go(func() { web.Serve(s) })
		transport := &http.Transport{DialContext: s.dial}
		o.HTTPClient = &http.Client{Transport: transport}
		c, err := client.New("http://stage/hub", o)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
		transport.CloseIdleConnections()
		close(s.closed)
		web.Close()
		serving.Wait()
		s.talks.Wait()
	})
}

// started is play's test with a client that runs.
func started(test func(t *testing.T, c *client.Client)) func(*testing.T, *client.Client) {
	return func(t *testing.T, c *client.Client) {
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, c)
	}
}

// shake takes the handshake.
func (p *peer) shake() {
	if got := p.read(); !strings.HasPrefix(got, `{"protocol":"json","version":`) {
		p.t.Errorf("the client began with %s", got)
	}
	p.send(`{}`)
}

// send sends messages in one frame.
func (p *peer) send(texts ...string) {
	frame := strings.Join(texts, "\x1e") + "\x1e"
	if err := p.ws.Write(context.Background(), websocket.MessageText, []byte(frame)); err != nil {
		p.t.Logf("the peer cannot send: %v", err)
	}
}

// any returns the next message; empty when the link is over.
func (p *peer) any() string {
	for len(p.backlog) == 0 {
		_, data, err := p.ws.Read(context.Background())
		if err != nil {
			return ""
		}
		p.backlog = strings.Split(strings.TrimSuffix(string(data), "\x1e"), "\x1e")
	}
	text := p.backlog[0]
	p.backlog = p.backlog[1:]
	return text
}

// read returns the next message that is no ping.
func (p *peer) read() string {
	for {
		if text := p.any(); text != ping {
			return text
		}
	}
}

// want fails unless the next messages but pings are these.
func (p *peer) want(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		if got := p.read(); got != want {
			p.t.Errorf("the client sent %q, want %q", got, want)
		}
	}
}

// rest reads what comes until the link is over.
func (p *peer) rest() {
	for p.any() != "" {
	}
}

const ping = `{"type":6}`

func invocation(n int) string {
	return fmt.Sprintf(`{"type":1,"target":"number","arguments":[%d]}`, n)
}

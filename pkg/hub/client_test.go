package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// patience is how long a test waits for what must come. Only failing tests wait so long.
const patience = time.Minute

// serve starts an HTTP server on loopback for s, and shuts both down with the test.
func serve(t testing.TB, s *hub.Server, configure ...func(*http.Server)) string {
	t.Helper()
	web := httptest.NewUnstartedServer(s)
	for _, f := range configure {
		f(web.Config)
	}
	web.Start()
	t.Cleanup(func() {
		// Connections of a test that is over need not settle first.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		web.Close()
	})
	return web.URL
}

// message is a hub message as a client sees it.
type message struct {
	Type           int               `json:"type"`
	InvocationID   string            `json:"invocationId"`
	Target         string            `json:"target"`
	Arguments      []json.RawMessage `json:"arguments"`
	Result         json.RawMessage   `json:"result"`
	Item           json.RawMessage   `json:"item"`
	Error          *string           `json:"error"`
	AllowReconnect bool              `json:"allowReconnect"`
	SequenceID     int64             `json:"sequenceId"`
}

func (m message) String() string {
	b, _ := json.Marshal(m.Arguments)
	switch {
	case m.Type == 1:
		return m.Target + string(b)
	case m.Type == 3 && m.Error != nil:
		return "error: " + *m.Error
	case m.Type == 3:
		return "result: " + string(m.Result)
	case m.Type == 7 && m.Error != nil:
		return fmt.Sprintf("close: %s (reconnect %v)", *m.Error, m.AllowReconnect)
	case m.Type == 7:
		return fmt.Sprintf("close (reconnect %v)", m.AllowReconnect)
	}
	if m.Type == 8 || m.Type == 9 {
		return fmt.Sprintf("%s %d", map[int]string{8: "ack", 9: "sequence"}[m.Type], m.SequenceID)
	}
	return fmt.Sprintf("type %d", m.Type)
}

// client is a bare SignalR client: it shows what is on the wire, which the official ones hide.
type client struct {
	t       testing.TB
	ws      *websocket.Conn
	id      string
	base    string
	token   string
	backlog []message
	mu      sync.Mutex
	nextID  int
}

type dialOption func(*dialing)

type dialing struct {
	http      *http.Client
	header    http.Header
	query     url.Values
	skip      bool // negotiation
	noShaking bool // handshake
	stateful  bool // reconnect
	version   int  // in the handshake
}

func asUser(name string) dialOption {
	return func(d *dialing) { d.header.Set("X-User", name) }
}

func over(c *http.Client) dialOption { return func(d *dialing) { d.http = c } }

func rawSocket(d *dialing) { d.skip, d.noShaking = true, true }

// byHeader is an Authenticate that believes the X-User header.
func byHeader(r *http.Request) (hub.Identity, error) {
	return hub.Identity{UserID: r.Header.Get("X-User")}, nil
}

// dial connects a client to the hub at base, through negotiation and handshake.
func dial(t testing.TB, base string, options ...dialOption) *client {
	t.Helper()
	c, err := tryDial(t, base, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryDial(t testing.TB, base string, options ...dialOption) (*client, error) {
	t.Helper()
	d := dialing{version: 1, http: http.DefaultClient, header: http.Header{}, query: url.Values{}}
	for _, o := range options {
		o(&d)
	}
	c := &client{t: t, base: base}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !d.skip {
		token, id, err := negotiate(ctx, base, d)
		if err != nil {
			return nil, err
		}
		c.id, c.token = id, token
		d.query.Set("id", token)
	}
	ws, _, err := websocket.Dial(ctx, base+"?"+d.query.Encode(), &websocket.DialOptions{HTTPClient: d.http, HTTPHeader: d.header})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	c.ws = ws
	t.Cleanup(func() { ws.CloseNow() })
	if d.noShaking {
		return c, nil
	}
	c.send(fmt.Sprintf(`{"protocol":"json","version":%d}`, d.version))
	if got := c.frame(); got != "{}\x1e" {
		return nil, fmt.Errorf("handshake answered with %q", got)
	}
	return c, nil
}

func negotiate(ctx context.Context, base string, d dialing) (token, id string, err error) {
	query := "?negotiateVersion=1"
	if d.stateful {
		query += "&useStatefulReconnect=true"
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, base+"/negotiate"+query, nil)
	req.Header = d.header.Clone()
	resp, err := d.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	var answer struct {
		ConnectionToken, ConnectionID, Error string
		UseStatefulReconnect                 bool
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("negotiate: %s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.ConnectionToken == "" {
		return "", "", fmt.Errorf("negotiate answered %q: %v", body, err)
	}
	if answer.UseStatefulReconnect != d.stateful {
		return "", "", fmt.Errorf("negotiate answered %s", body)
	}
	return answer.ConnectionToken, answer.ConnectionID, nil
}

func stateful(d *dialing) { d.stateful, d.version = true, 2 }

// reopen opens another socket for the connection, as a stateful client does: without negotiation and handshake. The status
// is that of the answer.
func (c *client) reopen(options ...dialOption) (status int) {
	c.t.Helper()
	d := dialing{http: http.DefaultClient, header: http.Header{}}
	for _, o := range options {
		o(&d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, c.base+"?id="+c.token, &websocket.DialOptions{HTTPClient: d.http, HTTPHeader: d.header})
	if err != nil {
		if resp == nil {
			c.t.Fatal(err)
		}
		return resp.StatusCode
	}
	ws.SetReadLimit(-1)
	c.t.Cleanup(func() { ws.CloseNow() })
	c.ws, c.backlog = ws, nil
	return resp.StatusCode
}

// send sends one message, which it ends with a record separator.
func (c *client) send(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text+"\x1e")); err != nil {
		c.t.Fatalf("sending %s: %v", text, err)
	}
}

// frame returns the next WebSocket message.
func (c *client) frame() string {
	c.t.Helper()
	_, data, err := c.read()
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return string(data)
}

func (c *client) read() (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.ws.Read(ctx)
}

// tryNext returns the next message that is not a ping.
func (c *client) tryNext() (message, error) {
	for {
		if len(c.backlog) > 0 {
			m := c.backlog[0]
			c.backlog = c.backlog[1:]
			if m.Type != 6 {
				return m, nil
			}
			continue
		}
		_, data, err := c.read()
		if err != nil {
			return message{}, err
		}
		for part := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x1e"), "\x1e") {
			var m message
			if err := json.Unmarshal([]byte(part), &m); err != nil {
				return message{}, fmt.Errorf("%q: %w", part, err)
			}
			c.backlog = append(c.backlog, m)
		}
	}
}

func (c *client) next() message {
	c.t.Helper()
	m, err := c.tryNext()
	if err != nil {
		c.t.Fatalf("waiting for a message: %v", err)
	}
	return m
}

// want fails unless the next messages are these.
func (c *client) want(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		if got := c.next().String(); got != want {
			c.t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// wantClosed fails unless the connection is closed with the given status.
func (c *client) wantClosed(status websocket.StatusCode) {
	c.t.Helper()
	m, err := c.tryNext()
	if err == nil {
		c.t.Fatalf("got %v, want the connection closed", m)
	}
	if got := websocket.CloseStatus(err); got != status {
		c.t.Fatalf("closed with status %d (%v), want %d", got, err, status)
	}
}

// post starts an invocation and returns its id.
func (c *client) post(method string, args ...any) string {
	c.t.Helper()
	c.mu.Lock()
	c.nextID++
	id := fmt.Sprint(c.nextID)
	c.mu.Unlock()
	if args == nil {
		args = []any{}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{"type": 1, "target": method, "arguments": args, "invocationId": id}); err != nil {
		c.t.Fatal(err)
	}
	c.send(strings.TrimSpace(b.String()))
	return id
}

// call invokes a method and returns the completion; what comes before it is kept for next.
func (c *client) call(method string, args ...any) message {
	c.t.Helper()
	id := c.post(method, args...)
	var before []message
	for {
		m := c.next()
		if m.Type == 3 && m.InvocationID == id {
			c.backlog = append(before, c.backlog...)
			return m
		}
		before = append(before, m)
	}
}

// wantCall fails unless a call of the method ends so.
func (c *client) wantCall(want, method string, args ...any) {
	c.t.Helper()
	if got := c.call(method, args...).String(); got != want {
		c.t.Fatalf("%s%v: %s, want %s", method, args, got, want)
	}
}

// inMemory is a server over net.Pipe, for tests in a synctest bubble, where time is faked and real sockets do not work.
type inMemory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inMemory) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *inMemory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// mutable is a connection on which nothing is sent any more once it is mute, like one whose machine has gone.
type mutable struct {
	net.Conn
	mute *atomic.Bool
}

func (m mutable) Write(p []byte) (int, error) {
	if m.mute.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// serveInMemory returns a client for a server that s serves inside the bubble, and what makes it mute.
func serveInMemory(s *hub.Server) (_ *http.Client, mute *atomic.Bool, stop func()) {
	mute = new(atomic.Bool)
	l := &inMemory{conns: make(chan net.Conn), closed: make(chan struct{})}
	web := &http.Server{Handler: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		web.Serve(l)
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case l.conns <- far:
			return mutable{near, mute}, nil
		case <-l.closed:
			return nil, errors.New("closed")
		}
	}}
	return &http.Client{Transport: transport}, mute, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		web.Close()
		transport.CloseIdleConnections()
		<-done
	}
}

package transport

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

var testSecret = []byte("0123456789abcdef0123456789abcdef")

func testTokens(node string) *Tokens {
	return NewTokens(node, func() ([]byte, error) { return testSecret, nil })
}

// site is an endpoint behind a real HTTP server, and the connections that it accepted.
type site struct {
	*Endpoint
	server   *httptest.Server
	accepted chan Conn
	requests chan *Request
	results  chan string // of negotiate
	refusals chan string
}

func newSite(t testing.TB, change ...func(*Endpoint)) *site {
	t.Helper()
	return newSiteOn(t, (*httptest.Server).Start, change...)
}

// newSiteOn is a site whose server is started by start, which may change it first.
func newSiteOn(t testing.TB, start func(*httptest.Server), change ...func(*Endpoint)) *site {
	t.Helper()
	s := &site{
		accepted: make(chan Conn, 100), requests: make(chan *Request, 100),
		results: make(chan string, 100), refusals: make(chan string, 100),
	}
	s.Endpoint = &Endpoint{
		Path:   "/chat",
		Tokens: testTokens("here"),
		Accept: func(c Conn, r *Request) { s.requests <- r; s.accepted <- c },
		Hooks: Hooks{
			Negotiated: func(result string) { s.results <- result },
			Refused:    func(reason string) { s.refusals <- reason },
		},
	}
	for _, f := range change {
		f(s.Endpoint)
	}
	s.server = httptest.NewUnstartedServer(s.Endpoint)
	start(s.server)
	t.Cleanup(func() {
		for {
			select {
			case c := <-s.accepted:
				c.Abort()
				continue
			default:
			}
			break
		}
		s.server.Close()
	})
	return s
}

// conn is the connection that the endpoint accepted last.
func (s *site) conn(t testing.TB) Conn {
	t.Helper()
	c := receive(t, s.accepted)
	t.Cleanup(c.Abort)
	return c
}

func (s *site) token(t testing.TB) (token, id string) {
	t.Helper()
	token, id, err := s.Tokens.Mint(s.Path, false)
	if err != nil {
		t.Fatal(err)
	}
	return token, id
}

// dial connects a real client, with a token unless it is empty.
func (s *site) dial(t testing.TB, token string) (*websocket.Conn, Conn) {
	t.Helper()
	url := s.server.URL + s.Path
	if token != "" {
		url += "?id=" + token
	}
	client, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.CloseNow() })
	return client, s.conn(t)
}

// answer is what a test looks at in a response.
type answer struct {
	Status      int
	ContentType string
	Body        string
}

const upgradeHeaders = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"

// ask sends one request; the headers are lines.
func (s *site) ask(t testing.TB, method, target, headers string) (answer, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(headers) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if k == "Host" {
			r.Host = v
			continue
		}
		r.Header.Add(k, v)
	}
	response, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{Status: response.StatusCode, ContentType: response.Header.Get("Content-Type")}
	if a.Status != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		a.Body = string(body)
	}
	return a, response.Header
}

type negotiated struct {
	Version    int    `json:"negotiateVersion"`
	ID         string `json:"connectionId"`
	Token      string `json:"connectionToken"`
	Transports []struct {
		Kind    string   `json:"transport"`
		Formats []string `json:"transferFormats"`
	} `json:"availableTransports"`
}

func (s *site) negotiate(t testing.TB, query string) (n negotiated) {
	t.Helper()
	a, _ := s.ask(t, "POST", s.Path+"/negotiate"+query, "")
	if err := json.Unmarshal([]byte(a.Body), &n); err != nil || a.Status != http.StatusOK {
		t.Fatalf("negotiate: %v, %+v", err, a)
	}
	return n
}

// rawClient speaks bytes over TCP, after a proper upgrade. Early bytes are sent right behind the handshake.
func (s *site) rawClient(t testing.TB, early string) (*net.TCPConn, *bufio.Reader, Conn) {
	t.Helper()
	nc, br := s.upgrade(t, early)
	t.Cleanup(func() { _ = nc.Close() })
	return nc, br, s.conn(t)
}

// upgrade is rawClient for those who clean up themselves.
func (s *site) upgrade(t testing.TB, early string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	head := "GET " + s.Path + " HTTP/1.1\r\nHost: " + nc.RemoteAddr().String() + "\r\n" + strings.ReplaceAll(upgradeHeaders, "\n", "\r\n") + "\r\n"
	if _, err := io.WriteString(nc, head+early); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	br := bufio.NewReader(nc)
	response, err := http.ReadResponse(br, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", err, response)
	}
	return nc.(*net.TCPConn), br
}

// masked is a client's frame with a mask of zeroes.
func masked(first byte, payload string) string {
	if len(payload) > 125 {
		panic("short payloads only")
	}
	return string([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

func receive[T any](t testing.TB, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
	}
	return v
}

func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// text makes a Text frame.
func text(s string) *Frame {
	return NewFrame(append(make([]byte, Headroom, Headroom+len(s)), s...), false)
}

func nextText(t testing.TB, c Conn) string {
	t.Helper()
	r, err := c.Next()
	if err != nil {
		t.Fatal("Next:", err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal("Read:", err)
	}
	return string(b)
}

func isID(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(b) == 16
}

// pipes is a listener in memory, for tests with faked time. Without changes the server on it has timeouts that must do no harm.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// inBubble runs f with faked time against a site in memory, over HTTP/1 and over HTTP/2. The server's own timeouts are short:
// they must do no harm.
func inBubble(t *testing.T, f func(t *testing.T, s *site), change ...func(*Endpoint)) {
	for _, version := range []string{"HTTP/1", "HTTP/2"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				var protocols http.Protocols
				protocols.SetHTTP1(version == "HTTP/1")
				protocols.SetUnencryptedHTTP2(version == "HTTP/2")
				s := newSiteOn(t, func(server *httptest.Server) {
					_ = server.Listener.Close()
					server.Listener = memory
					server.Config.ReadTimeout, server.Config.WriteTimeout = 2*time.Second, 3*time.Second
					server.Config.Protocols = &protocols
					server.Start()
				}, change...)
				s.server.Client().Transport = &http.Transport{DialContext: memory.dial, Protocols: &protocols}
				t.Cleanup(s.server.Client().CloseIdleConnections)
				f(t, s)
			})
		})
	}
}

// future is a request under way.
type future struct {
	answer chan answer
	cancel context.CancelFunc
}

// start sends a request whose answer takes time.
func (s *site) start(t testing.TB, method, target string, body io.Reader) future {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, method, s.server.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	f := future{make(chan answer, 1), cancel}
	go func() {
		response, err := s.server.Client().Do(r)
		if err != nil {
			f.answer <- answer{Body: "failed: " + err.Error()}
			return
		}
		defer func() { _ = response.Body.Close() }()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			b = append(b, " failed: "+err.Error()...)
		}
		f.answer <- answer{response.StatusCode, response.Header.Get("Content-Type"), string(b)}
	}()
	t.Cleanup(cancel)
	return f
}

// expect waits for the answer.
func (f future) expect(t testing.TB, what string, want answer) {
	t.Helper()
	if diff := cmp.Diff(want, <-f.answer); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// post sends a body and expects it to be accepted.
func (s *site) post(t testing.TB, token, body string) {
	t.Helper()
	s.start(t, "POST", "/chat?id="+token, strings.NewReader(body)).expect(t, "POST", answer{200, "text/plain", ""})
}

// The answers to polls, and to whoever comes too late.
var (
	answerOpened  = answer{200, "application/octet-stream", ""}
	answerNothing = answer{200, "text/plain", ""}
	answerOver    = answer{204, "text/plain", ""}
	answerUnknown = answer{404, "text/plain", "No Connection with that ID"}
)

func answerData(body string) answer { return answer{200, "application/octet-stream", body} }

// polling opens a connection over long polling.
func (s *site) polling(t testing.TB) (url, token string, conn Conn) {
	t.Helper()
	token, _ = s.token(t)
	url = "/chat?id=" + token
	s.start(t, "GET", url, nil).expect(t, "the first poll", answerOpened)
	return url, token, s.conn(t)
}

// write is Write on a goroutine of its own.
func write(conn Conn, texts ...string) <-chan error {
	frames := make([]*Frame, len(texts))
	for i, s := range texts {
		frames[i] = text(s)
	}
	done := make(chan error, 1)
	go func() { done <- conn.Write(frames) }()
	return done
}

// next is Next, and the reading of all that it returns, on a goroutine of its own.
func next(conn Conn) <-chan string {
	got := make(chan string, 1)
	go func() {
		r, err := conn.Next()
		if err != nil {
			got <- "error: " + err.Error()
			return
		}
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	return got
}

// events opens a connection over Server-Sent Events, and returns what comes of it behind the first comment.
func (s *site) events(t testing.TB, token string) (*bufio.Reader, Conn) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.server.URL+s.Path+"?id="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	response, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	br := bufio.NewReader(response.Body)
	if comment, err := br.ReadString('\n'); response.StatusCode != http.StatusOK || comment != ":\r\n" {
		t.Fatalf("status %d, %q, %v", response.StatusCode, comment, err)
	}
	return br, s.conn(t)
}

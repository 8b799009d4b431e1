package transport

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

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
	s.server = httptest.NewServer(s.Endpoint)
	t.Cleanup(func() {
		s.server.Close()
		for {
			select {
			case c := <-s.accepted:
				c.Abort()
			default:
				return
			}
		}
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

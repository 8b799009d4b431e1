package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// room is the hub of these tests.
type room struct{}

func (room) Say(c *hub.Call, text string) error { return c.Clients().All().Send(c, "heard", text) }

func (room) Label(c *hub.Call, label string) error { return c.Presence().SetMetadata([]byte(label)) }

func (room) Who(c *hub.Call) (string, error) { return c.UserID(), nil }

// httpClient keeps no connections, which would be taken for leaks.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// started is a node that runs.
type started struct {
	*Node
	stop func() error // ends Run, and returns what it returned
	wait func() error // returns what Run returns
}

// start runs a node with a hub at /room until the test ends.
func start(t *testing.T, c Config) started {
	t.Helper()
	n := make1(t, c)
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	return run(t, n)
}

func make1(t *testing.T, c Config) *Node {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	if c.AdminListen == "" {
		c.AdminListen = "127.0.0.1:0"
	}
	if c.PeerListen == "" {
		c.PeerListen = "127.0.0.1:0"
	}
	if c.DrainDelay == 0 {
		c.DrainDelay = -1 // most tests do not wait for balancers
	}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run runs a node until the test ends.
func run(t *testing.T, n *Node) started {
	t.Helper()
	if err := n.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- n.Run(ctx) }()
	wait := sync.OnceValue(func() error { return <-result })
	stop := func() error {
		cancel()
		return wait()
	}
	t.Cleanup(func() {
		if n.Progress().Phase == phaseServing {
			n.config.DrainTimeout = time.Second / 2 // what clients of a test that is over may still want is no matter
		}
		_ = stop()
	})
	return started{n, stop, wait}
}

// url is an address of the node's client listener.
func (s started) url(path string) string { return "http://" + s.Addr().String() + path }

// ask sends a request and returns status and body.
func ask(t *testing.T, method, url string, headers ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := httpClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// askAdmin asks the admin listener.
func (s started) askAdmin(t *testing.T, path string) (int, string) {
	t.Helper()
	status, body, _ := ask(t, "GET", "http://"+s.AdminAddr().String()+path)
	return status, body
}

// client is a WebSocket client that did its handshake.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	in   []string // frames read but not asked for yet
}

// connect opens a WebSocket without negotiation.
func (s started) connect(t *testing.T, query string) *client {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.url("/room"+query), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{t: t, conn: conn}
	c.send(`{"protocol":"json","version":1}`)
	if got := c.next(); got != "{}" {
		t.Fatalf("handshake answered with %s", got)
	}
	return c
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(frame+"\x1e")); err != nil {
		c.t.Fatal(err)
	}
}

// read is the next frame that is no ping; the error is the connection's.
func (c *client) read() (string, error) {
	for {
		for len(c.in) > 0 {
			frame := c.in[0]
			c.in = c.in[1:]
			if frame != "" && frame != `{"type":6}` {
				return frame, nil
			}
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
		_, data, err := c.conn.Read(ctx)
		cancel()
		if err != nil {
			return "", err
		}
		c.in = strings.Split(string(data), "\x1e")
	}
}

func (c *client) next() string {
	c.t.Helper()
	frame, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return frame
}

// expectClose reads to the end, and checks the Close message and the close code.
func (c *client) expectClose() {
	c.t.Helper()
	var last struct {
		Type           int
		AllowReconnect bool
	}
	for {
		frame, err := c.read()
		if err != nil {
			var closed websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != websocket.StatusNormalClosure {
				c.t.Errorf("the WebSocket ended with %v, want 1000", err)
			}
			break
		}
		if err := json.Unmarshal([]byte(frame), &last); err != nil {
			c.t.Fatal(err)
		}
	}
	if last.Type != 7 || !last.AllowReconnect {
		c.t.Errorf("the last message is %+v, want a Close that allows to reconnect", last)
	}
}

// eventually polls for something that another process does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in time", what)
		}
	}
}

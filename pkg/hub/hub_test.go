package hub_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chat is the hub of most tests.
type chat struct {
	connected    func(c *hub.Call) error
	disconnected func(c *hub.Call, reason error)
	block        chan struct{} // Block returns when it is closed
	entered      chan string   // Block says here that it runs
}

func (h *chat) OnConnected(c *hub.Call) error {
	if h.connected == nil {
		return nil
	}
	return h.connected(c)
}

func (h *chat) OnDisconnected(c *hub.Call, reason error) {
	if h.disconnected != nil {
		h.disconnected(c, reason)
	}
}

func (h *chat) Add(c *hub.Call, a, b int) int       { return a + b }
func (h *chat) Nothing(c *hub.Call)                 {}
func (h *chat) Echo(c *hub.Call, v hub.Raw) hub.Raw { return v }
func (h *chat) Greet(c *hub.Call, p person) (person, error) {
	if p.Name == "" {
		return p, hub.Errorf("who are you?")
	}
	p.Age++
	return p, nil
}
func (h *chat) Fail(c *hub.Call, text string) error { return &hub.Error{Message: text} }
func (h *chat) Wrapped(c *hub.Call) error           { return errors.Join(errors.New("x"), hub.Errorf("told")) }
func (h *chat) Secret(c *hub.Call) error            { return errors.New("the password is 1234") }
func (h *chat) Panic(c *hub.Call)                   { panic("boom") }
func (h *chat) Unencodable(c *hub.Call) any         { return func() {} }
func (h *chat) WhoAmI(c *hub.Call) []string {
	return []string{c.ConnectionID(), c.UserID(), c.Connection().Transport(), c.Hub(), c.Method(), c.Request().Header.Get("X-User")}
}
func (h *chat) Abort(c *hub.Call) { c.Connection().Abort() }
func (h *chat) Block(c *hub.Call, name string) string {
	h.entered <- name
	<-h.block
	return name
}

func (h *chat) ToAll(c *hub.Call, m string) error { return c.Clients().All().Send(c, "M", m) }
func (h *chat) ToAllExcept(c *hub.Call, ids []string, m string) error {
	return c.Clients().AllExcept(ids...).Send(c, "M", m)
}
func (h *chat) ToCaller(c *hub.Call, m string) error { return c.Clients().Caller().Send(c, "M", m) }
func (h *chat) ToOthers(c *hub.Call, m string) error { return c.Clients().Others().Send(c, "M", m) }
func (h *chat) ToClient(c *hub.Call, id, m string) error {
	return c.Clients().Client(id).Send(c, "M", m)
}
func (h *chat) ToClients(c *hub.Call, ids []string, m string) error {
	return c.Clients().Clients(ids...).Send(c, "M", m)
}
func (h *chat) ToGroup(c *hub.Call, g, m string) error { return c.Clients().Group(g).Send(c, "M", m) }
func (h *chat) ToGroups(c *hub.Call, g []string, m string) error {
	return c.Clients().Groups(g...).Send(c, "M", m)
}
func (h *chat) ToGroupExcept(c *hub.Call, g string, ids []string, m string) error {
	return c.Clients().GroupExcept(g, ids...).Send(c, "M", m)
}
func (h *chat) ToOthersInGroup(c *hub.Call, g, m string) error {
	return c.Clients().OthersInGroup(g).Send(c, "M", m)
}
func (h *chat) ToUser(c *hub.Call, u, m string) error { return c.Clients().User(u).Send(c, "M", m) }
func (h *chat) ToUsers(c *hub.Call, u []string, m string) error {
	return c.Clients().Users(u...).Send(c, "M", m)
}
func (h *chat) Join(c *hub.Call, g string) error  { return c.Groups().Add(c, c.ConnectionID(), g) }
func (h *chat) Leave(c *hub.Call, g string) error { return c.Groups().Remove(c, c.ConnectionID(), g) }
func (h *chat) AddTo(c *hub.Call, id, g string) error {
	err := c.Groups().Add(c, id, g)
	if errors.Is(err, hub.ErrNoConnection) {
		return hub.Errorf("no such connection")
	}
	return err
}
func (h *chat) RemoveFrom(c *hub.Call, id, g string) error { return c.Groups().Remove(c, id, g) }

// NotAMethod has no *hub.Call and so is none of the hub's methods.
func (h *chat) NotAMethod(text string) string { return text }

type person struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

// newServer maps a chat hub at /chat, with users from the X-User header.
func newServer(t testing.TB, h *chat, o hub.Options) *hub.Server {
	t.Helper()
	if o.Authenticate == nil {
		o.Authenticate = byHeader
	}
	s := hub.NewServer(o)
	if err := s.Map("/chat", h, hub.HubOptions{Name: "Chat"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves a chat hub on its own and returns its URL.
func start(t testing.TB, h *chat, o hub.Options) string {
	t.Helper()
	return serve(t, newServer(t, h, o)) + "/chat"
}

func TestInvoke(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	tests := []struct {
		method string
		args   []any
		want   string
	}{
		{"Add", []any{1, 2}, "result: 3"},
		{"add", []any{1, 2}, "result: 3"},
		{"ADD", []any{-1, 1}, "result: 0"},
		{"Nothing", nil, "result: null"},
		{"Echo", []any{map[string]any{"a": []any{1, "<&>'é😀", nil}}}, `result: {"a":[1,"<&>'é😀",null]}`},
		{"Greet", []any{map[string]any{"name": "Ada", "age": 36}}, `result: {"name":"Ada","age":37}`},
		{"Greet", []any{map[string]any{"NAME": "Ada", "other": 1}}, `result: {"name":"Ada","age":1}`},

		{"Greet", []any{map[string]any{}}, "error: An unexpected error occurred invoking 'Greet' on the server. HubException: who are you?"},
		{"fail", []any{"no"}, "error: An unexpected error occurred invoking 'Fail' on the server. HubException: no"},
		{"Wrapped", nil, "error: An unexpected error occurred invoking 'Wrapped' on the server. HubException: told"},
		{"Secret", nil, "error: An unexpected error occurred invoking 'Secret' on the server."},
		{"Panic", nil, "error: An unexpected error occurred invoking 'Panic' on the server."},
		{"Unencodable", nil, "error: An unexpected error occurred invoking 'Unencodable' on the server."},
		{"nosuch", nil, "error: Failed to invoke 'nosuch' due to an error on the server. HubException: Method does not exist."},
		{"NotAMethod", []any{"x"}, "error: Failed to invoke 'NotAMethod' due to an error on the server. HubException: Method does not exist."},
		{"OnConnected", nil, "error: Failed to invoke 'OnConnected' due to an error on the server. HubException: Method does not exist."},
		{"onDisconnected", nil, "error: Failed to invoke 'onDisconnected' due to an error on the server. HubException: Method does not exist."},
		{"Add", []any{1}, "error: Failed to invoke 'Add' due to an error on the server."},
		{"Add", []any{1, 2, 3}, "error: Failed to invoke 'Add' due to an error on the server."},
		{"Add", []any{"1", 2}, "error: Failed to invoke 'Add' due to an error on the server."},
		{"Add", []any{nil, 2}, "error: Failed to invoke 'Add' due to an error on the server."},
		{"Add", []any{1, 2}, "result: 3"}, // after all that the connection still works
	}
	for _, test := range tests {
		c.wantCall(test.want, test.method, test.args...)
	}
}

func TestDetailedErrors(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{Limits: hub.Limits{DetailedErrors: true}}))
	c.wantCall("error: An unexpected error occurred invoking 'Secret' on the server. errorString: the password is 1234", "Secret")
	c.wantCall("error: Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but target expects 2.", "Add", 1)
	c.wantCall("error: Failed to invoke 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.", "Add", 1, "x")
}

// What wants no answer gets none, not even for its errors.
func TestInvokeWithoutID(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	for _, target := range []string{"Add", "Secret", "Panic", "nosuch", "Nothing"} {
		c.send(`{"type":1,"target":"` + target + `","arguments":[]}`)
	}
	c.wantCall("result: 5", "Add", 2, 3)
	if len(c.backlog) > 0 {
		t.Errorf("unasked-for answers: %v", c.backlog)
	}
}

// One connection's invocations run one after the other, in order; what is no invocation is dealt with meanwhile.
func TestInvocationsInOrder(t *testing.T) {
	h := &chat{block: make(chan struct{}), entered: make(chan string, 3)}
	c := dial(t, start(t, h, hub.Options{}))
	c.post("Block", "a")
	c.send(`{"type":6}`)
	c.post("Block", "b")
	c.post("Add", 1, 1)
	if got := <-h.entered; got != "a" {
		t.Fatalf("%s ran first", got)
	}
	select {
	case got := <-h.entered:
		t.Fatalf("%s began before a had ended", got)
	default:
	}
	close(h.block)
	c.want(`result: "a"`, `result: "b"`, "result: 2")
}

func TestWhoAmI(t *testing.T) {
	url := start(t, &chat{}, hub.Options{})
	c := dial(t, url, asUser("ada"))
	c.wantCall(`result: ["`+c.id+`","ada","WebSockets","Chat","WhoAmI","ada"]`, "WhoAmI")
}

func TestLifecycle(t *testing.T) {
	reasons := make(chan error, 1)
	h := &chat{
		connected: func(c *hub.Call) error { return c.Clients().Caller().Send(c, "M", "welcome") },
		disconnected: func(c *hub.Call, reason error) {
			select {
			case <-c.Connection().Done():
			default:
				t.Error("Done is not closed in OnDisconnected")
			}
			if err := c.Err(); err != nil {
				t.Errorf("the context has ended in OnDisconnected: %v", err)
			}
			if err := c.Clients().Group("g").Send(c, "M", "left"); err != nil {
				t.Error(err)
			}
			reasons <- reason
		},
	}
	url := start(t, h, hub.Options{})
	stays := dial(t, url)
	stays.want(`M["welcome"]`)
	stays.call("Join", "g")
	goes := dial(t, url)
	goes.want(`M["welcome"]`)
	goes.call("Join", "g")
	goes.send(`{"type":7}`)
	if reason := <-reasons; reason != nil {
		t.Errorf("a client that says goodbye left with reason %v", reason)
	}
	stays.want(`M["left"]`)

	broken := dial(t, url)
	broken.want(`M["welcome"]`)
	broken.ws.CloseNow()
	if reason := <-reasons; reason == nil {
		t.Error("a connection that broke left without a reason")
	}
}

func TestOnConnectedRefuses(t *testing.T) {
	h := &chat{
		connected:    func(c *hub.Call) error { return hub.Errorf("full") },
		disconnected: func(c *hub.Call, reason error) { t.Error("OnDisconnected called though OnConnected failed") },
	}
	c := dial(t, start(t, h, hub.Options{}))
	c.want("close: Connection closed with an error. HubException: full (reconnect false)")
	c.wantClosed(1000)
}

func TestOnConnectedPanics(t *testing.T) {
	h := &chat{connected: func(c *hub.Call) error { panic("boom") }}
	c := dial(t, start(t, h, hub.Options{}))
	c.want("close: Connection closed with an error. (reconnect false)")
	c.wantClosed(1000)
}

func TestAbort(t *testing.T) {
	c := dial(t, start(t, &chat{}, hub.Options{}))
	c.post("Abort")
	for {
		m, err := c.tryNext()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == 7 {
			if m.String() != "close (reconnect false)" {
				t.Errorf("got %v", m)
			}
			break
		}
	}
	c.wantClosed(1000)
}

func TestShutdown(t *testing.T) {
	s := newServer(t, &chat{}, hub.Options{})
	c := dial(t, serve(t, s)+"/chat")
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	c.want("close (reconnect true)")
	c.wantClosed(1000)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOff(t *testing.T) {
	h := &chat{block: make(chan struct{}), entered: make(chan string, 1)}
	s := newServer(t, h, hub.Options{})
	c := dial(t, serve(t, s)+"/chat")
	defer close(h.block)
	c.post("Block", "a")
	<-h.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want one that wraps %v", err, context.Canceled)
	}
	c.want("close (reconnect true)")
}

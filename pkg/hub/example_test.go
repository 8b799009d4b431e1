package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// exampleTB lets examples use the client of the tests.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper()                      {}
func (exampleTB) Cleanup(func())               {}
func (exampleTB) Fatal(args ...any)            { log.Panic(args...) }
func (exampleTB) Fatalf(f string, args ...any) { log.Panicf(f, args...) }

// connect connects a client as a user.
func connect(base, path, user string) *client {
	return dial(exampleTB{}, base+path, asUser(user))
}

// listen serves s on loopback; stop ends both.
func listen(s *hub.Server) (base string, stop func()) {
	web := httptest.NewServer(s)
	return web.URL, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // clients of an example need no time to settle
		s.Shutdown(ctx)
		web.Close()
	}
}

type Chat struct{}

func (Chat) SendMessage(c *hub.Call, user, message string) error {
	return c.Clients().All().Send(c, "ReceiveMessage", user, message)
}

// A whole program is the type above and
//
//	func main() {
//		srv := hub.NewServer(hub.Options{})
//		srv.Map("/chat", Chat{})
//		log.Fatal(http.ListenAndServe(":8080", srv))
//	}
func Example() {
	srv := hub.NewServer(hub.Options{})
	srv.Map("/chat", Chat{})
	base, stop := listen(srv)
	defer stop()

	ada, bob := connect(base, "/chat", "ada"), connect(base, "/chat", "bob")
	ada.call("SendMessage", "ada", "hello")
	fmt.Println(ada.next())
	fmt.Println(bob.next())
	// Output:
	// ReceiveMessage["ada","hello"]
	// ReceiveMessage["ada","hello"]
}

// Calc shows what hub methods may take and return.
type Calc struct{}

type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

func (Calc) Scale(c *hub.Call, p Point, by float64) Point { return Point{p.X * by, p.Y * by} }

func (Calc) Divide(c *hub.Call, a, b int) (int, error) {
	switch {
	case b == 0:
		return 0, hub.Errorf("cannot divide %d by zero", a) // the client reads this
	case a < 0:
		return 0, errors.New("connection to 10.0.0.7 refused") // but not this
	}
	return a / b, nil
}

// The text of an error reaches the client only if it is a hub.Error; any other is logged, and answered with a sentence that
// says nothing. A panic ends the call, not the node.
func ExampleError() {
	srv := hub.NewServer(hub.Options{})
	srv.Map("/calc", Calc{})
	base, stop := listen(srv)
	defer stop()

	c := connect(base, "/calc", "")
	fmt.Println(c.call("Scale", Point{1, 2}, 3))
	fmt.Println(c.call("Divide", 7, 2))
	fmt.Println(c.call("Divide", 1, 0))
	fmt.Println(c.call("Divide", -1, 1))
	// Output:
	// result: {"x":3,"y":6}
	// result: 3
	// error: An unexpected error occurred invoking 'Divide' on the server. HubException: cannot divide 1 by zero
	// error: An unexpected error occurred invoking 'Divide' on the server.
}

// Lobby tells everyone who comes and goes.
type Lobby struct{ gone chan struct{} }

func (Lobby) OnConnected(c *hub.Call) error {
	if c.UserID() == "" {
		return hub.Errorf("only with a name")
	}
	return c.Clients().Others().Send(c, "Came", c.UserID())
}

func (l Lobby) OnDisconnected(c *hub.Call, reason error) {
	c.Clients().All().Send(c, "Left", c.UserID())
	close(l.gone)
}

// OnConnected may refuse a client; OnDisconnected may still send, since its Call is live.
func ExampleCall_lifecycle() {
	lobby := Lobby{gone: make(chan struct{})}
	srv := hub.NewServer(hub.Options{Authenticate: byHeader})
	srv.Map("/lobby", lobby)
	base, stop := listen(srv)
	defer stop()

	ada := connect(base, "/lobby", "ada")
	bob := connect(base, "/lobby", "bob")
	fmt.Println(ada.next())
	bob.send(`{"type":7}`) // what a client sends when it stops
	fmt.Println(ada.next())
	<-lobby.gone
	nobody := connect(base, "/lobby", "")
	fmt.Println(nobody.next())
	// Output:
	// Came["bob"]
	// Left["bob"]
	// close: Connection closed with an error. HubException: only with a name (reconnect false)
}

// Targets sends the same message to whom the client names.
type Targets struct{}

func (Targets) To(c *hub.Call, whom string) error {
	clients := c.Clients()
	targets := map[string]hub.Target{
		"all":             clients.All(),
		"all but me":      clients.AllExcept(c.ConnectionID()),
		"caller":          clients.Caller(),
		"others":          clients.Others(),
		"client":          clients.Client(c.ConnectionID()),
		"clients":         clients.Clients(c.ConnectionID()),
		"group":           clients.Group("room"),
		"groups":          clients.Groups("room", "hall"),
		"group but me":    clients.GroupExcept("room", c.ConnectionID()),
		"others in group": clients.OthersInGroup("room"),
		"user":            clients.User("ada"),
		"users":           clients.Users("ada", "bob"),
	}
	return targets[whom].Send(c, "For", whom)
}

func (Targets) Enter(c *hub.Call) error { return c.Groups().Add(c, c.ConnectionID(), "room") }

func ExampleClients() {
	srv := hub.NewServer(hub.Options{Authenticate: byHeader})
	srv.Map("/targets", Targets{})
	base, stop := listen(srv)
	defer stop()

	ada, bob := connect(base, "/targets", "ada"), connect(base, "/targets", "bob")
	ada.call("Enter")
	bob.call("Enter")
	for _, whom := range []string{"others", "caller", "group", "others in group", "user"} {
		ada.call("To", whom)
	}
	fmt.Println("ada:", ada.next(), ada.next(), ada.next())
	fmt.Println("bob:", bob.next(), bob.next(), bob.next())
	// Output:
	// ada: For["caller"] For["group"] For["user"]
	// bob: For["others"] For["group"] For["others in group"]
}

// Rooms puts its clients into groups.
type Rooms struct{}

func (Rooms) Enter(c *hub.Call, room string) error {
	if err := c.Groups().Add(c, c.ConnectionID(), room); err != nil {
		return err
	}
	// From here on, what anyone sends to the room reaches this client.
	return c.Clients().Group(room).Send(c, "Entered", c.UserID())
}

func (Rooms) Leave(c *hub.Call, room string) error {
	return c.Groups().Remove(c, c.ConnectionID(), room)
}

func ExampleGroups() {
	srv := hub.NewServer(hub.Options{Authenticate: byHeader})
	srv.Map("/rooms", Rooms{})
	base, stop := listen(srv)
	defer stop()

	ada, bob := connect(base, "/rooms", "ada"), connect(base, "/rooms", "bob")
	ada.call("Enter", "red")
	bob.call("Enter", "red")
	ada.call("Leave", "red")
	bob.call("Enter", "red")
	fmt.Println("ada:", ada.next(), ada.next())
	fmt.Println("bob:", bob.next(), bob.next())
	// Output:
	// ada: Entered["ada"] Entered["bob"]
	// bob: Entered["bob"] Entered["bob"]
}

// HTTP handlers and jobs send through the hub's Context.
func ExampleServer_Hub() {
	srv := hub.NewServer(hub.Options{})
	srv.Map("/chat", Chat{})
	base, stop := listen(srv)
	defer stop()

	publish := func(w http.ResponseWriter, r *http.Request) {
		chat := srv.Hub("/chat")
		if err := chat.Clients().All().Send(r.Context(), "News", r.FormValue("text")); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}

	c := connect(base, "/chat", "")
	w := httptest.NewRecorder()
	publish(w, httptest.NewRequest("POST", "/news?text=hello", nil))
	fmt.Println(w.Code, c.next())
	// Output: 200 News["hello"]
}

// Account tells clients what the server knows of them.
type Account struct{}

func (Account) Me(c *hub.Call) string { return fmt.Sprint(c.UserID(), ", ", c.Claims()["plan"]) }

// Authenticate sees each request, and says who sends it. pkg/auth has one for bearer tokens.
func ExampleOptions_authenticate() {
	srv := hub.NewServer(hub.Options{
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			switch user := r.Header.Get("X-User"); user {
			case "":
				return hub.Identity{}, errors.New("who is it?") // 401
			case "mallory":
				return hub.Identity{}, fmt.Errorf("%s is banned: %w", user, hub.ErrForbidden) // 403
			default:
				return hub.Identity{UserID: user, Claims: map[string]any{"plan": "free"}}, nil
			}
		},
	})
	srv.Map("/account", Account{})
	base, stop := listen(srv)
	defer stop()

	fmt.Println(connect(base, "/account", "ada").call("Me"))
	for _, user := range []string{"", "mallory"} {
		_, err := tryDial(exampleTB{}, base+"/account", asUser(user))
		fmt.Println(strings.TrimSpace(err.Error()))
	}
	// Output:
	// result: "ada, free"
	// negotiate: 401 Unauthorized:
	// negotiate: 403 Forbidden:
}

// Servers that share a backplane share their hubs: here two in one process, as tests and embedding programs do it. Between
// processes it is the same with backplane.NewRedis; pkg/node puts all of it together.
func ExampleBackplane() {
	memory := backplane.NewMemory()
	var clients []*client
	for range 2 {
		srv := hub.NewServer(hub.Options{Backplane: memory.Node()})
		srv.Map("/chat", Chat{})
		base, stop := listen(srv)
		defer stop()
		clients = append(clients, connect(base, "/chat", ""))
	}
	clients[0].call("SendMessage", "ada", "hello, other node")
	fmt.Println(clients[1].next())
	// Output: ReceiveMessage["ada","hello, other node"]
}

// Audited logs what is done.
type Audited struct{}

func (Audited) Delete(c *hub.Call, what string) {
	c.Logger().Info("deleted", "what", what)
}

// A Call's logger says by itself who called what.
func ExampleCall_Logger() {
	quiet := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "connection" {
			return slog.Attr{} // they differ each time
		}
		return a
	}
	srv := hub.NewServer(hub.Options{
		Authenticate: byHeader,
		Logger:       slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: quiet})),
	})
	srv.Map("/audited", Audited{})
	base, stop := listen(srv)
	defer stop()

	connect(base, "/audited", "ada").call("Delete", "everything")
	// Output: level=INFO msg=deleted hub=Audited user=ada method=Delete what=everything
}

// Shutdown tells clients to come back, which those with automatic reconnect do, on another node.
func ExampleServer_Shutdown() {
	srv := hub.NewServer(hub.Options{})
	srv.Map("/chat", Chat{})
	web := httptest.NewServer(srv)
	defer web.Close()

	c := connect(web.URL, "/chat", "")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error)
	go func() { done <- srv.Shutdown(ctx) }()
	fmt.Println(c.next())
	c.ws.CloseNow()
	fmt.Println(<-done)
	// Output:
	// close (reconnect true)
	// <nil>
}

package hub_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

type variadic struct{}

func (variadic) M(c *hub.Call, a ...string) {}

type channel struct{}

func (channel) M(c *hub.Call, f func()) {}

type results struct{}

func (results) M(c *hub.Call) (int, int, error) { return 0, 0, nil }

type noError struct{}

func (noError) M(c *hub.Call) (int, string) { return 0, "" }

type twins struct{}

func (twins) Send(c *hub.Call) {}
func (twins) SEND(c *hub.Call) {}

type badConnected struct{}

func (badConnected) OnConnected(c *hub.Call) {}

type badDisconnected struct{}

func (badDisconnected) OnDisconnected(c *hub.Call) {}

type face struct{}

func (face) M(c *hub.Call, r io.Reader) {}

func TestMapRefuses(t *testing.T) {
	tests := []struct {
		hub  any
		path string
		want string
	}{
		{variadic{}, "/x", "hub_test.variadic.M: takes a variable number of arguments"},
		{channel{}, "/x", "hub_test.channel.M: parameter 1: no client can send or receive a func()"},
		{results{}, "/x", "hub_test.results.M: returns too much"},
		{noError{}, "/x", "hub_test.noError.M: returns too much"},
		{twins{}, "/x", "differs from SEND only in case"},
		{badConnected{}, "/x", "hub_test.badConnected.OnConnected: must be func(*hub.Call) error"},
		{badDisconnected{}, "/x", "hub_test.badDisconnected.OnDisconnected: must be func(c *hub.Call, reason error)"},
		{face{}, "/x", "a client's value cannot become a io.Reader"},
		{nil, "/x", "the hub is nil"},
		{&chat{}, "x", `"x" cannot be a hub's path`},
		{&chat{}, "/x/", `"/x/" cannot be a hub's path`},
	}
	for _, test := range tests {
		s := hub.NewServer(hub.Options{})
		err := s.Map(test.path, test.hub)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%T at %q: got %v, want …%s…", test.hub, test.path, err, test.want)
		}
	}
}

func TestMapConflicts(t *testing.T) {
	s := hub.NewServer(hub.Options{})
	if err := s.Map("/a", &chat{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/a": `path "/a" has a hub already`, "/b": `named "chat" is mapped already, at "/a"`} {
		if err := s.Map(path, &chat{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", path, err, want)
		}
	}
	if err := s.Map("/c", &chat{}, hub.HubOptions{Name: "a:b"}); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("a name with a colon: %v", err)
	}
	if err := hub.NewServer(hub.Options{Limits: hub.Limits{MaxQueue: -1}}).Map("/x", &chat{}); err == nil || !strings.Contains(err.Error(), "MaxQueue") {
		t.Errorf("a negative MaxQueue: %v", err)
	}
}

// An error of Map that nobody looked at is not lost: the path says it.
func TestBrokenHubSaysSo(t *testing.T) {
	s := hub.NewServer(hub.Options{})
	s.Map("/x", variadic{})
	for path, want := range map[string]int{"/x": 500, "/x/negotiate": 500, "/y": 404, "/": 404} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		if want == 500 && !strings.Contains(w.Body.String(), "variable number") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

type base struct{}

func (base) Inherited(c *hub.Call) string   { return "inherited" }
func (base) Overridden(c *hub.Call) string  { return "base" }
func (*base) ByPointer(c *hub.Call) string  { return "by pointer" }
func (base) OnConnected(c *hub.Call) error  { return hub.Errorf("must not run") }
func (base) Overridden2(c *hub.Call) string { return "base" }

type middle struct{ base }

type derived struct {
	middle
	Reader
}

// Reader is an interface that a hub may embed.
type Reader interface{ Read(c *hub.Call) string }

func (derived) Own(c *hub.Call) string          { return "own" }
func (derived) Overridden(c *hub.Call) string   { return "derived" }
func (*derived) Overridden2(c *hub.Call) string { return "derived" }

// Embedding a type does not open its methods to clients; methods that hide promoted ones are the hub's own.
func TestPromotedMethodsAreNotInvocable(t *testing.T) {
	tests := map[string]struct {
		hub any
		own []string
	}{
		"value":   {derived{}, []string{"Own", "Overridden"}},
		"pointer": {&derived{}, []string{"Own", "Overridden", "Overridden2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := hub.NewServer(hub.Options{})
			if err := s.Map("/chat", test.hub); err != nil {
				t.Fatal(err)
			}
			c := dial(t, serve(t, s)+"/chat")
			for _, m := range []string{"Inherited", "ByPointer", "Read", "OnConnected"} {
				c.wantCall("error: Failed to invoke '"+m+"' due to an error on the server. HubException: Method does not exist.", m)
			}
			for _, m := range test.own {
				want := `result: "derived"`
				if m == "Own" {
					want = `result: "own"`
				}
				c.wantCall(want, m)
			}
		})
	}
}

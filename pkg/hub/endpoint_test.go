package hub_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// post negotiates and returns the answer.
func post(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

func TestTransportsOfAHub(t *testing.T) {
	for _, test := range []struct {
		transports []transport.Kind
		want       string
	}{
		{nil, `[{"transport":"WebSockets","transferFormats":["Text","Binary"]},{"transport":"ServerSentEvents","transferFormats":["Text"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]`},
		{[]transport.Kind{transport.LongPolling, transport.WebSockets}, `[{"transport":"WebSockets","transferFormats":["Text","Binary"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]`},
	} {
		s := hub.NewServer(hub.Options{})
		if err := s.Map("/chat", &chat{}, hub.HubOptions{Transports: test.transports}); err != nil {
			t.Fatal(err)
		}
		answer := post(t, serve(t, s)+"/chat/negotiate?negotiateVersion=1")
		if _, got, _ := strings.Cut(answer, `"availableTransports":`); got != test.want+"}" {
			t.Errorf("%v: got %s, want %s", test.transports, got, test.want)
		}
	}
}

func TestRedirect(t *testing.T) {
	s := hub.NewServer(hub.Options{})
	err := s.Map("/chat", &chat{}, hub.HubOptions{Redirect: func(r *http.Request) (string, string) {
		if r.URL.Query().Get("region") == "" {
			return "", ""
		}
		return "https://eu.example/chat", "token"
	}})
	if err != nil {
		t.Fatal(err)
	}
	base := serve(t, s) + "/chat/negotiate?negotiateVersion=1"
	const want = `{"negotiateVersion":1,"url":"https://eu.example/chat","accessToken":"token","availableTransports":[]}`
	if got := post(t, base+"&region=eu"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := post(t, base); !strings.Contains(got, "connectionToken") {
		t.Errorf("who stays got %s", got)
	}
}

// Knowing the token of another user's connection is not enough to take it over.
func TestResumeByAnother(t *testing.T) {
	s := hub.NewServer(hub.Options{Authenticate: func(r *http.Request) (hub.Identity, error) {
		return hub.Identity{UserID: r.URL.Query().Get("user")}, nil
	}})
	if err := s.Map("/chat", &chat{}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serve(t, s)+"/chat", stateful)
	own := c.token
	c.token += "&user=mallory"
	if status := c.reopen(); status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	c.token = own
	if status := c.reopen(); status != http.StatusSwitchingProtocols {
		t.Errorf("status %d", status)
	}
}

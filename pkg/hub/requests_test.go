package hub_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// requests is a client over one of the transports that are made of HTTP requests.
type requests struct {
	t    *testing.T
	http *http.Client
	url  string
}

// negotiated is a client with a token, and nothing more.
func negotiated(t *testing.T, client *http.Client) *requests {
	t.Helper()
	return negotiatedAt(t, client, there)
}

func negotiatedAt(t *testing.T, client *http.Client, url string) *requests {
	t.Helper()
	c := &requests{t, client, url}
	var answer struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(c.do("POST", url+"/negotiate?negotiateVersion=1", "")), &answer); err != nil {
		t.Fatal(err)
	}
	c.url += "?id=" + answer.ConnectionToken
	return c
}

// do sends a request, which must succeed, and returns the body of the answer.
func (c *requests) do(method, url, body string) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		c.t.Fatalf("%s: %s %s %v", method, response.Status, b, err)
	}
	return string(b)
}

// status sends a request and returns the status of the answer.
func (c *requests) status(method string) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, c.url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

func (c *requests) post(body string) { c.t.Helper(); c.do("POST", c.url, body) }
func (c *requests) wantPoll(what, want string) {
	c.t.Helper()
	if got := c.do("GET", c.url, ""); got != want {
		c.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

const shake = "{\"protocol\":\"json\",\"version\":1}\x1e"

// Polls are what keeps such a client: it is neither pinged nor asked, and may be silent for as long as it polls.
func TestPollingClientIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, stop := serveInMemory(newServer(t, &chat{}, hub.Options{}))
		defer stop()
		c := negotiated(t, client)
		c.wantPoll("the first poll", "")
		c.post(shake)
		c.wantPoll("the handshake", "{}\x1e")
		for range 10 {
			began := time.Now()
			c.wantPoll("silence", "")
			if took := time.Since(began); took != 90*time.Second {
				t.Errorf("a poll took %v", took)
			}
		}
		c.post("{\"type\":1,\"invocationId\":\"1\",\"target\":\"Add\",\"arguments\":[1,2]}\x1e")
		c.wantPoll("a call", "{\"type\":3,\"invocationId\":\"1\",\"result\":3}\x1e")
		c.do("DELETE", c.url, "")
	})
}

// Nothing answers a ping of the transport here, so only a client that pings can be silent for too long.
func TestEventsArePinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, stop := serveInMemory(newServer(t, &chat{}, hub.Options{}))
		defer stop()
		c := negotiated(t, client)
		r, err := http.NewRequestWithContext(t.Context(), "GET", c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		events := bufio.NewReader(response.Body)
		event := func() string {
			var text string
			for {
				line, err := events.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if text += line; line == "\r\n" || line == ":\r\n" {
					return text
				}
			}
		}
		if got := event(); got != ":\r\n" {
			t.Errorf("got %q", got)
		}
		c.post(shake)
		if got := event(); got != "data: {}\x1e\r\n\r\n" {
			t.Errorf("got %q", got)
		}
		last := time.Now()
		for range 20 {
			if got := event(); got != "data: {\"type\":6}\x1e\r\n\r\n" {
				t.Fatalf("got %q", got)
			}
			if gap := time.Since(last); gap < 15*time.Second || gap > 16*time.Second {
				t.Errorf("a ping after %v", gap)
			}
			last = time.Now()
		}
	})
}

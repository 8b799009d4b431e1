package transport

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// byQuery lets everybody in who says who they are.
func byQuery(e *Endpoint) {
	e.Authenticate = func(r *http.Request) (any, error) {
		if user := r.URL.Query().Get("user"); user != "" {
			return user, nil
		}
		return nil, errors.New("nobody")
	}
	e.SameUser = func(a, b any) bool { return a == b }
}

// All requests of a connection must be one user's.
func TestSameUser(t *testing.T) {
	s := newSite(t, byQuery)
	polling, _ := s.token(t)
	events, _ := s.token(t)
	early, _ := s.token(t)
	s.ask(t, "GET", "/chat?user=ann&id="+polling, "")
	conn := s.conn(t)
	if r := receive(t, s.requests); r.Identity != "ann" {
		t.Errorf("identity %v", r.Identity)
	}
	s.events(t, events+"&user=ann")
	s.ask(t, "POST", "/chat?user=ann&id="+early, "")
	for _, request := range []struct{ method, id, headers string }{
		{"GET", polling, ""}, {"POST", polling, ""}, {"DELETE", polling, ""},
		{"POST", events, ""}, {"GET", events, "Accept: text/event-stream"},
		{"POST", early, ""}, {"GET", early, ""}, {"GET", early, "Accept: text/event-stream"},
	} {
		got, _ := s.ask(t, request.method, "/chat?user=bob&id="+request.id, request.headers)
		if diff := cmp.Diff(answer{403, "text/plain", ""}, got); diff != "" {
			t.Error(request, diff)
		}
		if r := receive(t, s.refusals); r != ResultForbidden {
			t.Errorf("reason %q", r)
		}
		if got, _ = s.ask(t, request.method, "/chat?id="+request.id, request.headers); got.Status != 401 {
			t.Errorf("anonymous: %+v", got)
		}
		receive(t, s.refusals)
	}
	written := write(conn, "hello")
	if got, _ := s.ask(t, "GET", "/chat?user=ann&id="+polling, ""); got != answerData("hello") {
		t.Errorf("%+v", got)
	}
	if err := receive(t, written); err != nil {
		t.Error(err)
	}

	s = newSite(t, byQuery, func(e *Endpoint) { e.SameUser = nil })
	polling, _ = s.token(t)
	s.ask(t, "GET", "/chat?user=ann&id="+polling, "")
	s.conn(t)
	if got, _ := s.ask(t, "POST", "/chat?user=bob&id="+polling, ""); got.Status != 200 {
		t.Errorf("who is asked for nothing but the token: %+v", got)
	}
}

func TestForward(t *testing.T) {
	type asked struct{ Method, ID, Node string }
	var calls []asked
	handled := true
	s := newSite(t, byQuery, func(e *Endpoint) {
		e.Forward = func(w http.ResponseWriter, r *http.Request, node string) bool {
			calls = append(calls, asked{r.Method, r.URL.Query().Get("id"), node})
			if handled {
				w.Header().Set("Content-Type", "text/x")
				w.WriteHeader(299)
			}
			return handled
		}
	})
	theirs, _, err := testTokens("there").Mint("/chat", false)
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := s.token(t)
	const evil, sse = "Origin: https://evil.example\n", "Accept: text/event-stream\n"
	for name, test := range map[string]struct {
		method, target, headers string
		unhandled               bool
		want                    int
		calls                   []asked
	}{
		// Neither the origin nor who asks is looked at: the other node does that.
		"poll":                {"GET", "/chat?id=" + theirs, evil, false, 299, []asked{{"GET", theirs, "there"}}},
		"events":              {"GET", "/chat?id=" + theirs, evil + sse, false, 299, []asked{{"GET", theirs, "there"}}},
		"events, upgradable":  {"GET", "/chat?id=" + theirs, upgradeHeaders + sse, false, 299, []asked{{"GET", theirs, "there"}}},
		"POST":                {"POST", "/chat?id=" + theirs, "", false, 299, []asked{{"POST", theirs, "there"}}},
		"DELETE":              {"DELETE", "/chat?id=" + theirs, "", false, 299, []asked{{"DELETE", theirs, "there"}}},
		"WebSocket":           {"GET", "/chat?user=ann&id=" + theirs, upgradeHeaders, false, 101, nil},
		"PUT":                 {"PUT", "/chat?user=ann&id=" + theirs, "", false, 405, nil},
		"negotiate":           {"POST", "/chat/negotiate?user=ann&id=" + theirs, "", false, 200, nil},
		"our own":             {"GET", "/chat?user=ann&id=" + ours, "", false, 200, nil},
		"forged":              {"GET", "/chat?user=ann&id=" + theirs[:40], "", false, 404, nil},
		"without a token":     {"GET", "/chat?user=ann", "", false, 400, nil},
		"unhandled":           {"GET", "/chat?user=ann&id=" + theirs, "", true, 404, []asked{{"GET", theirs, "there"}}},
		"unhandled, evil":     {"GET", "/chat?user=ann&id=" + theirs, evil, true, 403, []asked{{"GET", theirs, "there"}}},
		"unhandled, unproven": {"POST", "/chat?id=" + theirs, "", true, 401, []asked{{"POST", theirs, "there"}}},
	} {
		t.Run(name, func(t *testing.T) {
			calls, handled = nil, !test.unhandled
			got, _ := s.ask(t, test.method, test.target, test.headers)
			if got.Status != test.want {
				t.Errorf("%+v, want %d", got, test.want)
			}
			if diff := cmp.Diff(test.calls, calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Who has a stateful connection is asked only when its token was used before, or is too old to be used for the first time.
func TestHolderIsAskedWhenNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		age         time.Duration
		first       bool // by the cluster's word
		holder      string
		unforwarded bool
		want        int
		calls       string
	}{
		"a first use":                    {0, true, "", false, 101, "claim "},
		"used, elsewhere":                {0, false, "there", false, 299, "claim holder forward "},
		"used, and its node has gone":    {0, false, "there", true, 404, "claim holder forward "},
		"used, nobody knows where":       {0, false, "", false, 409, "claim holder "},
		"old, elsewhere":                 {time.Minute, false, "there", false, 299, "holder forward "},
		"old, and its node has gone":     {time.Minute, false, "there", true, 404, "holder forward "},
		"neither young nor old":          {10 * time.Second, true, "", false, 101, "holder claim "},
		"old, by nobody's knowledge":     {time.Minute, false, "", false, 404, "holder holder "},
		"from a clock that is far ahead": {-time.Minute, false, "", false, 404, "holder "},
	} {
		t.Run(name, func(t *testing.T) {
			var calls string
			s := newSite(t, func(e *Endpoint) {
				e.Claim = func(context.Context, string) (bool, error) { calls += "claim "; return test.first, nil }
				e.Resume = func(string) (func(Conn), any, bool) { return nil, nil, false }
				e.Holder = func(context.Context, string) (string, error) { calls += "holder "; return test.holder, nil }
				e.Forward = func(w http.ResponseWriter, _ *http.Request, node string) bool {
					calls += "forward "
					if node != "there" || test.unforwarded {
						return false
					}
					w.WriteHeader(299)
					return true
				}
			})
			token, err := s.Tokens.mint("/chat", newConnectionKey(), flagStateful, time.Now().Add(-test.age))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := s.ask(t, "GET", "/chat?id="+token, upgradeHeaders); got.Status != test.want {
				t.Errorf("%+v, want %d", got, test.want)
			}
			if calls != test.calls {
				t.Errorf("calls: %s, want %s", calls, test.calls)
			}
		})
	}
}

// The first use of a token is claimed in the cluster, whichever request it is, and only once.
func TestSessionClaims(t *testing.T) {
	away := errors.New("redis is away")
	for name, test := range map[string]struct {
		first bool
		err   error
		get   answer
		post  answer
	}{
		"first":         {true, nil, answerOpened, answer{200, "text/plain", ""}},
		"used":          {false, nil, answer{409, "text/plain", ""}, answerUnknown},
		"away, our own": {false, away, answerOpened, answer{200, "text/plain", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 10)
			s := newSite(t, func(e *Endpoint) {
				e.Claim = func(_ context.Context, id string) (bool, error) { asked <- id; return test.first, test.err }
			})
			get, id := s.token(t)
			if got, _ := s.ask(t, "GET", "/chat?id="+get, ""); got != test.get {
				t.Errorf("GET: %+v", got)
			}
			if got := receive(t, asked); got != id {
				t.Errorf("asked for %q, want %q", got, id)
			}
			post, _ := s.token(t)
			if got, _ := s.ask(t, "POST", "/chat?id="+post, ""); got != test.post {
				t.Errorf("POST: %+v", got)
			}
			receive(t, asked)
			if test.get == answerOpened {
				s.ask(t, "POST", "/chat?id="+get, "")
				s.ask(t, "GET", "/chat?id="+post, "")
			}
			if n := len(asked); n != 0 {
				t.Errorf("asked %d times too often", n)
			}
			if n := len(s.claims.inUse); (n != 0) != (test.get == answerOpened) {
				t.Errorf("%d ids are taken", n)
			}
		})
	}
}

// Those who come while the cluster is being asked wait for its answer.
func TestRequestsDuringAClaim(t *testing.T) {
	for name, first := range map[string]bool{"admitted": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				token, _ := s.token(t)
				url := "/chat?id=" + token
				poll := s.start(t, "GET", url, nil)
				synctest.Wait()
				post := s.start(t, "POST", url, strings.NewReader("hello"))
				later := s.start(t, "GET", url, nil)
				synctest.Wait()
				time.Sleep(time.Second)
				if first {
					later.cancel()
					poll.expect(t, "the first poll", answerOpened)
					post.expect(t, "POST", answer{200, "text/plain", ""})
					if got := nextText(t, s.conn(t)); got != "hello" {
						t.Errorf("got %q", got)
					}
					return
				}
				poll.expect(t, "the first poll", answer{409, "text/plain", ""})
				post.expect(t, "POST", answer{404, "text/plain", ""})
				later.expect(t, "the second poll", answer{404, "text/plain", ""})
			}, func(e *Endpoint) {
				e.Claim = func(context.Context, string) (bool, error) { time.Sleep(time.Second); return first, nil }
			})
		})
	}
}

// While something waits for its connection to be opened, a WebSocket cannot take it over.
func TestWebSocketBehindAPost(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	s.ask(t, "POST", "/chat?id="+token, "")
	if got, _ := s.ask(t, "GET", "/chat?id="+token, upgradeHeaders); got != (answer{409, "text/plain", ""}) {
		t.Errorf("%+v", got)
	}
}

// Of two that open the same events at once, one does.
func TestEventsOnce(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	answers := make(chan int, 8)
	for range cap(answers) {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/chat?id="+token, nil)
			r.Header.Set("Accept", "text/event-stream")
			response, err := s.server.Client().Do(r)
			if err != nil {
				answers <- 0
				return
			}
			answers <- response.StatusCode
			_ = response.Body.Close()
		}()
	}
	got := map[int]int{}
	for range cap(answers) {
		got[receive(t, answers)]++
	}
	// Who came after the winner had left again is told that there is no such connection.
	if got[200] != 1 || got[200]+got[409]+got[404] != cap(answers) {
		t.Errorf("statuses and how often: %v; want one 200, and 409 for the rest", got)
	}
}

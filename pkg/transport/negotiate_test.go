package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNegotiate(t *testing.T) {
	s := newSite(t)
	const transports = `"availableTransports":\[{"transport":"WebSockets","transferFormats":\["Text","Binary"\]},` +
		`{"transport":"ServerSentEvents","transferFormats":\["Text"\]},{"transport":"LongPolling","transferFormats":\["Text","Binary"\]}\]}`
	v1 := `^{"negotiateVersion":1,"connectionId":"[-\w]{22}","connectionToken":"[-\w]{60,}",` + transports + `$`
	v0 := `^{"negotiateVersion":0,"connectionId":"[-\w]{60,}",` + transports + `$`
	notInteger := `^{"error":"The client requested a non-integer protocol version."}$`
	tests := map[string]string{
		"?negotiateVersion=1":                           v1,
		"?NEGOTIATEVERSION=1":                           v1,
		"?negotiateVersion=7":                           v1,
		"?negotiateVersion=1&useStatefulReconnect=true": v1, // not granted
		"?negotiateVersion=%201+":                       v1, // integers may have spaces around them
		"?negotiateVersion=%2B1":                        v1,
		"":                                              v0,
		"?negotiateVersion=0":                           v0,
		"?negotiateVersion=":                            notInteger,
		"?negotiateVersion=x":                           notInteger,
		"?negotiateVersion=1.0":                         notInteger,
		"?negotiateVersion=1&negotiateVersion=1":        notInteger,
		"?negotiateVersion=99999999999":                 notInteger,
		"?negotiateVersion=-1":                          `^{"error":"The client requested version '-1', but the server does not support this version."}$`,
	}
	for query, want := range tests {
		t.Run(query, func(t *testing.T) {
			got, h := s.ask(t, "POST", "/chat/negotiate"+query, "")
			if got.Status != 200 || got.ContentType != "application/json" || h.Get("Content-Length") != strconv.Itoa(len(got.Body)) {
				t.Errorf("%+v %v", got, h)
			}
			if !regexp.MustCompile(want).MatchString(got.Body) {
				t.Errorf("%s does not match %s", got.Body, want)
			}
			result := ResultOK
			if got.Body[2] == 'e' {
				result = ResultBadRequest
			}
			if r := receive(t, s.results); r != result {
				t.Errorf("result %q, want %q", r, result)
			}
		})
	}
}

func TestNegotiatedTokens(t *testing.T) {
	s := newSite(t)
	n := s.negotiate(t, "?negotiateVersion=1")
	if token, err := s.Tokens.Parse("/chat", n.Token); err != nil || token.ID != n.ID || token.Node != "here" || token.Stateful {
		t.Errorf("%+v, %v", token, err)
	}
	n = s.negotiate(t, "")
	if token, err := s.Tokens.Parse("/chat", n.ID); err != nil || token.ID != n.ID {
		t.Errorf("%+v, %v", token, err)
	}
	client, conn := s.dial(t, n.ID)
	if conn.ID() != n.ID {
		t.Errorf("the connection is called %q, want what version 0 was told, %q", conn.ID(), n.ID)
	}
	_ = client.CloseNow()
}

func TestNegotiateRefused(t *testing.T) {
	notReady := func(e *Endpoint) { e.Ready = func() error { return errors.New("redis at 10.0.0.7 is away") } }
	auth := func(err error) func(e *Endpoint) {
		return func(e *Endpoint) { e.Authenticate = func(*http.Request) (any, error) { return nil, err } }
	}
	noSecret := func(e *Endpoint) {
		e.Tokens = NewTokens("n", func() ([]byte, error) { return nil, errors.New("not yet") })
	}
	const later = "This node cannot take on clients at the moment. Try again soon."
	tests := map[string]struct {
		method string
		change func(*Endpoint)
		want   answer
		header string
		value  string
		result string
	}{
		"GET":          {"GET", nil, answer{405, "text/plain", ""}, "Allow", "POST", ResultBadRequest},
		"DELETE":       {"DELETE", nil, answer{405, "text/plain", ""}, "Allow", "POST", ResultBadRequest},
		"OPTIONS":      {"OPTIONS", nil, answer{405, "text/plain", ""}, "Allow", "POST", ResultBadRequest},
		"not ready":    {"POST", notReady, answer{503, "text/plain", later}, "Retry-After", "1", ResultUnavailable},
		"no secret":    {"POST", noSecret, answer{503, "text/plain", later}, "Retry-After", "1", ResultUnavailable},
		"unauthorized": {"POST", auth(errors.New("who?")), answer{401, "", ""}, "Www-Authenticate", "Bearer", ResultUnauthorized},
		"forbidden":    {"POST", auth(errors.Join(ErrForbidden)), answer{403, "", ""}, "Www-Authenticate", "", ResultForbidden},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var change []func(*Endpoint)
			if test.change != nil {
				change = append(change, test.change)
			}
			s := newSite(t, change...)
			got, h := s.ask(t, test.method, "/chat/negotiate?negotiateVersion=1", "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if h.Get(test.header) != test.value {
				t.Errorf("%s: %q, want %q", test.header, h.Get(test.header), test.value)
			}
			if r := receive(t, s.results); r != test.result {
				t.Errorf("result %q, want %q", r, test.result)
			}
		})
	}
}

// bare is a ResponseWriter that can nothing but what it must.
type bare struct{ http.ResponseWriter }

func TestNegotiateOffersOnlyWhatItCan(t *testing.T) {
	tests := map[string]struct {
		transports []Kind
		major      int
		bare       bool
		want       string
	}{
		"a response that cannot be hijacked": {nil, 1, false, "[ServerSentEvents LongPolling]"},
		"nor flushed":                        {nil, 1, true, "[LongPolling]"},
		"HTTP/2, beside which a WebSocket has a connection of its own": {nil, 2, false, "[WebSockets ServerSentEvents LongPolling]"},
		"the order is ours":     {[]Kind{LongPolling, WebSockets}, 2, false, "[WebSockets LongPolling]"},
		"one":                   {[]Kind{ServerSentEvents}, 2, false, "[ServerSentEvents]"},
		"none that is possible": {[]Kind{WebSockets}, 1, false, "[]"},
	}
	for name, test := range tests {
		e := &Endpoint{Path: "/", Tokens: testTokens("n"), Transports: test.transports}
		recorder, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/negotiate?negotiateVersion=1", nil)
		r.ProtoMajor = test.major
		var w http.ResponseWriter = recorder
		if test.bare {
			w = bare{w}
		}
		e.ServeHTTP(w, r)
		var n negotiated
		if err := json.Unmarshal(recorder.Body.Bytes(), &n); err != nil {
			t.Fatal(err)
		}
		kinds := []string{}
		for _, offered := range n.Transports {
			kinds = append(kinds, offered.Kind)
		}
		if got := fmt.Sprint(kinds); got != test.want {
			t.Errorf("%s: offered %s, want %s", name, got, test.want)
		}
		if !regexp.MustCompile(`"availableTransports":\[`).MatchString(recorder.Body.String()) {
			t.Errorf("%s: %s has no list of transports", name, recorder.Body)
		}
	}
}

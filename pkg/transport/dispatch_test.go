package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

func TestStatuses(t *testing.T) {
	s := newSite(t)
	none := newSite(t, func(e *Endpoint) { e.Transports = []Kind{WebSockets} })
	one := newSite(t, func(e *Endpoint) { e.Transports = []Kind{LongPolling} })
	elsewhere, _, err := testTokens("there").Mint("/chat", false)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := s.Tokens.mint("/chat", newConnectionKey(), 0, time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	socket, _ := s.token(t)
	s.dial(t, socket)
	polling, _ := s.token(t)
	s.ask(t, "GET", "/chat?id="+polling, "")
	s.conn(t)
	events, _ := s.token(t)
	s.events(t, events)
	over, _ := s.token(t)
	s.ask(t, "GET", "/chat?id="+over, "")
	s.conn(t)
	s.ask(t, "DELETE", "/chat?id="+over, "")
	const sse = "Accept: text/event-stream"
	plain := func(status int, body string) answer { return answer{status, "text/plain", body} }
	for _, path := range []string{"/chat?id=", "/chat/?x=1&ID="} { // names of parameters have no case, and a slash may follow
		fresh, _ := s.token(t)
		tests := map[string]struct {
			at                  *site
			method, id, headers string
			want                answer
			reason              string
		}{
			"poll without id":              {s, "GET", "", "", plain(400, "Connection ID required"), ResultBadRequest},
			"events without id":            {s, "GET", "", sse, plain(400, "Connection ID required"), ResultBadRequest},
			"POST without id":              {s, "POST", "", "", plain(400, "Connection ID required"), ResultBadRequest},
			"DELETE without id":            {s, "DELETE", "", "", plain(400, "Connection ID required"), ResultBadRequest},
			"poll unknown":                 {s, "GET", "nobody", "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"events unknown":               {s, "GET", "nobody", sse, plain(404, "No Connection with that ID"), RefusedUnknown},
			"POST unknown":                 {s, "POST", "nobody", "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"DELETE unknown":               {s, "DELETE", "nobody", "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"poll of another node's":       {s, "GET", elsewhere, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"events of another node's":     {s, "GET", elsewhere, sse, plain(404, "No Connection with that ID"), RefusedUnknown},
			"POST to another node's":       {s, "POST", elsewhere, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"DELETE of another node's":     {s, "DELETE", elsewhere, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"poll stale":                   {s, "GET", stale, "", plain(404, "No Connection with that ID"), RefusedStale},
			"events stale":                 {s, "GET", stale, sse, plain(404, "No Connection with that ID"), RefusedStale},
			"POST stale":                   {s, "POST", stale, "", plain(404, "No Connection with that ID"), RefusedStale},
			"DELETE stale":                 {s, "DELETE", stale, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"poll over":                    {s, "GET", over, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"events over":                  {s, "GET", over, sse, plain(404, "No Connection with that ID"), RefusedUnknown},
			"POST over":                    {s, "POST", over, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"DELETE over":                  {s, "DELETE", over, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"WebSocket over":               {s, "GET", over, upgradeHeaders, answer{404, "", "No Connection with that ID"}, RefusedUnknown},
			"DELETE before the connection": {s, "DELETE", fresh, "", plain(400, "Cannot terminate this connection using the DELETE endpoint."), ResultBadRequest},
			"poll not offered":             {none, "GET", fresh, "", plain(404, "LongPolling transport not supported by this end point type"), RefusedNoTransport},
			"any Accept but the exact":     {none, "GET", fresh, sse + ";q=1", plain(404, "LongPolling transport not supported by this end point type"), RefusedNoTransport},
			"events not offered":           {none, "GET", fresh, "Accept: text/html, text/event-stream", plain(404, "ServerSentEvents transport not supported by this end point type"), RefusedNoTransport},
			"events before a WebSocket":    {none, "GET", fresh, upgradeHeaders + sse, plain(404, "ServerSentEvents transport not supported by this end point type"), RefusedNoTransport},
			"POST not offered":             {none, "POST", fresh, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"one of them not offered":      {one, "GET", fresh, sse, plain(404, "ServerSentEvents transport not supported by this end point type"), RefusedNoTransport},
			"WebSocket not offered":        {one, "GET", fresh, upgradeHeaders, plain(404, "WebSockets transport not supported by this end point type"), RefusedNoTransport},
			"WebSocket neither, nor known": {one, "GET", "nobody", upgradeHeaders, answer{404, "", "No Connection with that ID"}, RefusedUnknown},
			"WebSocket neither, nor young": {one, "GET", stale, upgradeHeaders, answer{404, "", "No Connection with that ID"}, RefusedUnknown},
			"WebSocket without an id":      {one, "GET", "", upgradeHeaders, plain(404, "WebSockets transport not supported by this end point type"), RefusedNoTransport},
			"poll neither, nor known":      {none, "GET", "nobody", "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"poll neither, nor young":      {none, "GET", stale, "", plain(404, "No Connection with that ID"), RefusedUnknown},
			"events neither, nor young":    {one, "GET", stale, sse, plain(404, "No Connection with that ID"), RefusedUnknown},
			"poll on a WebSocket":          {s, "GET", socket, "", plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"events on a WebSocket":        {s, "GET", socket, sse, plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"poll on events":               {s, "GET", events, "", plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"events on polls":              {s, "GET", polling, sse, plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"WebSocket on events":          {s, "GET", events, upgradeHeaders, plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"WebSocket on polls":           {s, "GET", polling, upgradeHeaders, plain(400, "Cannot change transports mid-connection"), ResultBadRequest},
			"events on events":             {s, "GET", events, sse, plain(409, ""), RefusedUsed},
			"WebSocket on a WebSocket":     {s, "GET", socket, upgradeHeaders, plain(409, ""), RefusedUsed},
			"POST on a WebSocket":          {s, "POST", socket, "", plain(405, "POST requests are not allowed for WebSocket connections."), ResultBadRequest},
			"DELETE on a WebSocket":        {s, "DELETE", socket, "", plain(400, "Cannot terminate this connection using the DELETE endpoint."), ResultBadRequest},
			"DELETE on events":             {s, "DELETE", events, "", plain(400, "Cannot terminate this connection using the DELETE endpoint."), ResultBadRequest},
			"PUT":                          {s, "PUT", fresh, "", plain(405, ""), ResultBadRequest},
			"HEAD":                         {s, "HEAD", fresh, "", plain(405, ""), ResultBadRequest},
			"OPTIONS":                      {s, "OPTIONS", fresh, "", plain(405, ""), ResultBadRequest},
			"WebSocket unknown":            {s, "GET", "nobody", upgradeHeaders, answer{404, "", "No Connection with that ID"}, RefusedUnknown},
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				got, h := test.at.ask(t, test.method, path+test.id, test.headers)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				if _, ok := h["Content-Type"]; ok != (test.want.ContentType != "") {
					t.Errorf("Content-Type: %q", h["Content-Type"])
				}
				if r := receive(t, test.at.refusals); r != test.reason {
					t.Errorf("reason %q, want %q", r, test.reason)
				}
				if strings.HasPrefix(name, "poll") && (h.Get("Cache-Control") != "no-cache, no-store" || h.Get("Pragma") != "no-cache" || h.Get("Expires") != "Thu, 01 Jan 1970 00:00:00 GMT") {
					t.Errorf("a poll's answer may be cached: %v", h)
				}
			})
		}
	}
	if got, _ := s.ask(t, "GET", "/chat/elsewhere", ""); got.Status != 404 {
		t.Errorf("another path: %+v", got)
	}
}

func TestUpgradeFaults(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	tests := map[string]struct {
		from, to string
		status   int
		says     string
	}{
		"old version": {"Version: 13", "Version: 8", 426, "must be 13"},
		"no version":  {"Sec-WebSocket-Version: 13\n", "", 426, "must be 13"},
		"no key":      {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", "", 400, "Sec-WebSocket-Key"},
		"short key":   {"dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 400, "Sec-WebSocket-Key"},
		"two keys":    {"Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Key:", 400, "once"},
		"a proxy":     {"Connection: Upgrade\n", "", 400, "proxy"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			headers := strings.Replace(upgradeHeaders, test.from, test.to, 1)
			got, h := s.ask(t, "GET", "/chat?id="+token, headers)
			if got.Status != test.status || got.ContentType != "text/plain" || !strings.Contains(got.Body, test.says) || h.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("%+v", got)
			}
			if r := receive(t, s.refusals); r != ResultBadRequest {
				t.Errorf("reason %q", r)
			}
		})
	}
	s.dial(t, token) // none of them used the token up

	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/chat", nil)
	for line := range strings.Lines(upgradeHeaders) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(k, v)
	}
	s.ServeHTTP(w, r)
	if w.Code != 404 || w.Body.String() != "WebSockets transport not supported by this end point type" {
		t.Errorf("a response that cannot be hijacked: %d %s", w.Code, w.Body)
	}
}

func TestFirstUse(t *testing.T) {
	away := errors.New("redis is away")
	mint := func(node string, age time.Duration) string {
		token, err := testTokens(node).mint("/chat", newConnectionKey(), 0, time.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	unknown := answer{404, "", "No Connection with that ID"}
	tests := map[string]struct {
		token  string
		claim  func(context.Context, string) (bool, error)
		want   answer
		reason string
	}{
		"alone":                    {mint("here", 0), nil, answer{Status: 101}, ""},
		"the cluster says first":   {mint("there", 0), func(context.Context, string) (bool, error) { return true, nil }, answer{Status: 101}, ""},
		"the cluster says used":    {mint("here", 0), func(context.Context, string) (bool, error) { return false, nil }, answer{409, "text/plain", ""}, RefusedUsed},
		"away, our own":            {mint("here", 0), func(context.Context, string) (bool, error) { return false, away }, answer{Status: 101}, ""},
		"away, another's":          {mint("there", 0), func(context.Context, string) (bool, error) { return false, away }, unknown, ResultUnavailable},
		"nearly stale":             {mint("here", tokenLife-2*time.Second), nil, answer{Status: 101}, ""},
		"stale":                    {mint("here", tokenLife+time.Second), nil, unknown, RefusedStale},
		"by a clock that is ahead": {mint("there", -clockSkew+2*time.Second), nil, answer{Status: 101}, ""},
		"from the future":          {mint("there", -clockSkew-2*time.Second), nil, unknown, RefusedStale},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(e *Endpoint) { e.Claim = test.claim })
			got, _ := s.ask(t, "GET", "/chat?id="+test.token, upgradeHeaders)
			got.ContentType = strings.TrimSpace(got.ContentType)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if test.reason != "" {
				if r := receive(t, s.refusals); r != test.reason {
					t.Errorf("reason %q, want %q", r, test.reason)
				}
				if n := len(s.claims.inUse); n != 0 {
					t.Errorf("%d ids are still taken", n)
				}
			}
		})
	}
}

// What the cluster is asked for is the id, not the secret token, even where the client's id is the token.
func TestClaimedIDs(t *testing.T) {
	asked := make(chan string, 2)
	s := newSite(t, func(e *Endpoint) {
		e.Claim = func(_ context.Context, id string) (bool, error) { asked <- id; return true, nil }
	})
	n := s.negotiate(t, "?negotiateVersion=1")
	s.dial(t, n.Token)
	if id := receive(t, asked); id != n.ID {
		t.Errorf("asked for %q, want %q", id, n.ID)
	}
	s.dial(t, s.negotiate(t, "").ID)
	if id := receive(t, asked); !isID(id) {
		t.Errorf("asked for %q, want an id", id)
	}
}

func TestTokenIsUsedOnce(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	const clients = 20
	statuses := make(chan int, clients)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			client, response, err := websocket.Dial(t.Context(), s.server.URL+"/chat?id="+token, nil)
			if err == nil {
				defer func() { _ = client.CloseNow() }()
			}
			statuses <- response.StatusCode
		})
	}
	all.Wait()
	close(statuses)
	got := map[int]int{}
	for status := range statuses {
		got[status]++
	}
	// Who came after the winner had left again may be told that there is no such connection.
	if got[101] != 1 || got[101]+got[409]+got[404] != clients {
		t.Errorf("statuses and how often: %v; want one 101, and 409 for the rest", got)
	}
}

func TestTokenOfAnEndedConnection(t *testing.T) {
	s := newSite(t)
	for name, end := range map[string]func(client *websocket.Conn, conn Conn){
		"Abort": func(_ *websocket.Conn, conn Conn) { conn.Abort() },
		"Close": func(client *websocket.Conn, conn Conn) {
			go func() { _, _, _ = client.Read(t.Context()) }()
			conn.Close(nil)
		},
		"the client closes": func(client *websocket.Conn, conn Conn) {
			read := make(chan error)
			go func() { _, err := conn.Next(); read <- err }()
			_ = client.Close(websocket.StatusNormalClosure, "")
			if err := receive(t, read); err != io.EOF {
				t.Errorf("Next: %v, want EOF", err)
			}
			conn.Close(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			token, _ := s.token(t)
			client, conn := s.dial(t, token)
			end(client, conn)
			got, _ := s.ask(t, "GET", "/chat?id="+token, upgradeHeaders)
			if diff := cmp.Diff(answer{404, "", "No Connection with that ID"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithoutNegotiation(t *testing.T) {
	s := newSite(t)
	_, a := s.dial(t, "")
	_, b := s.dial(t, "")
	if !isID(a.ID()) || a.ID() == b.ID() || a.Kind() != WebSockets {
		t.Errorf("ids %q and %q, transport %s", a.ID(), b.ID(), a.Kind())
	}
}

func TestNotReady(t *testing.T) {
	s := newSite(t, func(e *Endpoint) { e.Ready = func() error { return errors.New("draining") } })
	got, h := s.ask(t, "GET", "/chat", upgradeHeaders)
	if got.Status != 503 || h.Get("Retry-After") != "1" {
		t.Errorf("without a token: %+v", got)
	}
	token, _ := s.token(t)
	s.dial(t, token) // a token is a promise
}

func TestTransportAuthentication(t *testing.T) {
	s := newSite(t, func(e *Endpoint) {
		e.Authenticate = func(r *http.Request) (any, error) {
			switch user := r.URL.Query().Get("user"); user {
			case "":
				return nil, errors.New("nobody")
			case "mallory":
				return nil, ErrForbidden
			default:
				return user, nil
			}
		}
	})
	token, _ := s.token(t)
	for _, test := range []struct {
		user   string
		status int
		bearer string
		reason string
	}{{"", 401, "Bearer", ResultUnauthorized}, {"mallory", 403, "", ResultForbidden}} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			got, h := s.ask(t, method, "/chat?id="+token+"&user="+test.user, upgradeHeaders)
			if diff := cmp.Diff(answer{Status: test.status}, got); diff != "" || h.Get("WWW-Authenticate") != test.bearer {
				t.Error(diff, h)
			}
			if r := receive(t, s.refusals); r != test.reason {
				t.Errorf("reason %q, want %q", r, test.reason)
			}
		}
	}
	s.dial(t, token+"&user=ann")
	if r := receive(t, s.requests); r.Identity != "ann" {
		t.Errorf("identity %v, want ann", r.Identity)
	}
}

func TestRequestHTTP(t *testing.T) {
	s := newSite(t)
	s.ask(t, "GET", "/chat?x=%20y&access_token=z", upgradeHeaders+"Cookie: a=b; c=d\nX-Thing: one\nX-Thing: two\nHost: chat.example")
	r := receive(t, s.requests)
	h := r.HTTP()
	cookie, _ := h.Cookie("c")
	if h.Method != "GET" || h.Host != "chat.example" || h.URL.Path != "/chat" || h.URL.Query().Get("x") != " y" || cookie == nil || cookie.Value != "d" ||
		!cmp.Equal(h.Header.Values("X-Thing"), []string{"one", "two"}) || h.RemoteAddr != r.RemoteAddr || h.RemoteAddr == "" {
		t.Errorf("%+v", h)
	}
	if b, err := io.ReadAll(h.Body); len(b) != 0 || err != nil {
		t.Errorf("body %q, %v", b, err)
	}
	if h == r.HTTP() {
		t.Error("two callers share one request")
	}
	odd := (&Request{head: "\x00"}).HTTP()
	if odd == nil || odd.URL == nil || odd.Header == nil {
		t.Errorf("%+v", odd)
	}
}

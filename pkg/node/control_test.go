package node

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// byQuery is an Authenticate that believes ?user=.
func byQuery(r *http.Request) (hub.Identity, error) {
	return hub.Identity{UserID: r.URL.Query().Get("user")}, nil
}

// getJSON asks the admin listener and returns the status and the fields of the answer.
func (s started) getJSON(t *testing.T, path string) (int, map[string]any) {
	t.Helper()
	status, body, _ := ask(t, "GET", "http://"+s.AdminAddr().String()+path)
	return status, fieldsOf(t, body)
}

// order sends a control request.
func (s started) order(t *testing.T, path, body string) (int, map[string]any) {
	t.Helper()
	resp, err := httpClient.Post("http://"+s.AdminAddr().String()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, fieldsOf(t, string(text))
}

func fieldsOf(t *testing.T, body string) map[string]any {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return fields
}

// text is a field as JSON.
func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// TestControlOverRedis gives orders and asks questions at nodes that do not have the connections.
func TestControlOverRedis(t *testing.T) {
	t.Parallel()
	_, a, b, c := fleet(t, func(c *Config) { c.Authenticate = byQuery; c.PresenceGrace = 50 * time.Millisecond })
	status, fields := c.getJSON(t, "/nodes")
	if nodes, _ := fields["nodes"].([]any); status != 200 || len(nodes) != 3 {
		t.Errorf("/nodes: %d %v", status, fields)
	}
	one, two, bob := a.connect(t, "?user=ada"), b.connect(t, "?user=ada"), c.connect(t, "?user=bob")

	status, fields = c.getJSON(t, "/presence/online?users=ada,nobody&users=bob")
	if want := `[{"online":true,"user":"ada"},{"online":false,"user":"nobody"},{"online":true,"user":"bob"}]`; status != 200 || text(fields["online"]) != want {
		t.Errorf("online: %d %s", status, text(fields))
	}
	status, fields = c.getJSON(t, "/presence/users?limit=1")
	if status != 200 || text(fields) != `{"next":"ada","users":["ada"]}` {
		t.Errorf("users: %d %s", status, text(fields))
	}
	status, fields = c.getJSON(t, "/presence/users?after=ada")
	if status != 200 || text(fields) != `{"users":["bob"]}` {
		t.Errorf("users: %d %s", status, text(fields))
	}
	status, fields = c.getJSON(t, "/presence/user/ada")
	connections, _ := fields["connections"].([]any)
	if status != 200 || fields["online"] != true || len(connections) != 2 {
		t.Fatalf("user: %d %s", status, text(fields))
	}
	for _, c := range []*client{one, two} {
		c.send(`{"type":1,"invocationId":"1","target":"Label","arguments":["a label"]}`)
		if got := c.next(); got != `{"type":3,"invocationId":"1","result":null}` {
			t.Errorf("got %s", got)
		}
	}
	first := connections[0].(map[string]any)
	id := first["connection"].(string)
	if status, fields = c.getJSON(t, "/connections/"+id); status != 200 || fields["user"] != "ada" || fields["node"] != first["node"] || fields["hub"] != "room" ||
		fields["metadata"] != "a label" {
		t.Errorf("connection: %d %s", status, text(fields))
	}
	for _, order := range []string{"disconnect", "groups/clear"} {
		if status, fields = c.order(t, "/control/"+order, `{"connection":"nobody"}`); status != 404 || fields["connections"] != 0.0 || fields["nodes"] != 3.0 {
			t.Errorf("%s of nobody: %d %s", order, status, text(fields))
		}
	}

	done := func(what string, status int, fields map[string]any, want string) {
		t.Helper()
		if status != 200 || text(fields) != want {
			t.Errorf("%s: %d %s, want %s", what, status, text(fields), want)
		}
	}
	status, fields = c.order(t, "/control/groups/add", `{"user":"ada","group":"g"}`)
	done("add", status, fields, `{"complete":true,"connections":2,"missing":[],"nodes":3}`)
	if err := c.Hub("/room").Clients().Group("g").Send(t.Context(), "heard", "to g"); err != nil {
		t.Fatal(err)
	}
	for _, member := range []*client{one, two} {
		if got := member.next(); got != `{"type":1,"target":"heard","arguments":["to g"]}` {
			t.Errorf("got %s", got)
		}
	}
	status, fields = c.getJSON(t, "/groups/count?hub=room&group=g")
	done("count", status, fields, `{"complete":true,"connections":2,"missing":[],"nodes":3}`)
	status, fields = c.order(t, "/control/groups/clear", `{"hub":"room","connection":"`+id+`"}`)
	done("clear", status, fields, text(map[string]any{"complete": true, "connections": 1, "missing": []string{}, "nodes": fields["nodes"]}))
	status, fields = c.getJSON(t, "/groups/members?group=g")
	if members, _ := fields["members"].([]any); status != 200 || len(members) != 1 || fields["complete"] != true {
		t.Errorf("members: %d %s", status, text(fields))
	}
	status, fields = c.order(t, "/control/groups/add", `{"connection":"`+id+`","group":"h"}`)
	done("add", status, fields, `{"complete":true,"connections":1,"missing":[],"nodes":1}`)
	status, fields = c.order(t, "/control/groups/remove", `{"user":"ada","group":"g"}`)
	done("remove", status, fields, `{"complete":true,"connections":2,"missing":[],"nodes":3}`)
	status, fields = c.order(t, "/control/disconnect", `{"user":"ada"}`)
	done("disconnect", status, fields, `{"complete":true,"connections":2,"missing":[],"nodes":3}`)
	for _, gone := range []*client{one, two} {
		if got := gone.next(); got != `{"type":7}` {
			t.Errorf("got %s, want to be told not to come back", got)
		}
	}
	eventually(t, "ada offline", func() bool {
		_, fields := b.getJSON(t, "/presence/online?users=ada")
		return text(fields) == `{"online":[{"online":false,"user":"ada"}]}`
	})
	bob.send(`{"type":1,"invocationId":"1","target":"Who","arguments":[]}`)
	if got := bob.next(); got != `{"type":3,"invocationId":"1","result":"bob"}` {
		t.Errorf("got %s", got)
	}
}

// TestOrderToSilentNode: who gives an order about a connection whose node says nothing is told so, and not that there is no such connection.
func TestOrderToSilentNode(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := make1(t, Config{Redis: server.URL(), RedisPrefix: "x:", ClusterSecret: secret})
	n.orderTimeout = time.Second / 5
	if err := n.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	a := run(t, n)
	eventually(t, "ready", func() bool { status, _ := a.askAdmin(t, "/readyz"); return status == 200 })
	mute := server.Client(t, nil).Subscribe(t.Context(), "x:room:connection:there")
	defer mute.Close()
	if _, err := mute.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/control/groups/add", "/control/groups/remove"} {
		status, fields := a.order(t, path, `{"connection":"there","group":"g"}`)
		if status != 504 || fields["complete"] != false || text(fields["missing"]) != `["unknown"]` {
			t.Errorf("%s: %d %s", path, status, text(fields))
		}
		if status, fields = a.order(t, path, `{"connection":"nobody","group":"g"}`); status != 404 {
			t.Errorf("%s of nobody: %d %s", path, status, text(fields))
		}
	}
}

// TestAdminRefuses: what is wrong with a question or an order, and what to do instead.
func TestAdminRefuses(t *testing.T) {
	s := start(t, Config{})
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/presence/online":               {400, "ask /presence/online?users="},
		"/presence/online?users=%zz":     {400, "ask /presence/online?users="},
		"/presence/users?limit=0":        {400, "from 1 to 1000"},
		"/presence/users?limit=x":        {400, "from 1 to 1000"},
		"/groups/count":                  {400, "add group=NAME"},
		"/groups/count?hub=none&group=g": {404, "name one of room"},
		"/connections/none":              {404, "no such connection"},
		"/presence/online?users=" + url.QueryEscape(strings.Repeat("u,", 10)): {200, ""},
	} {
		status, fields := s.getJSON(t, path)
		if problem, _ := fields["error"].(string); status != want.status || !strings.Contains(problem, want.text) {
			t.Errorf("%s: %d %s", path, status, text(fields))
		}
	}
	for body, want := range map[string]string{
		``:                            "send a JSON object",
		`[]`:                          "send a JSON object",
		`{"user":"ada"} trailing`:     "send a JSON object",
		`{"user":"ada"}{}`:            "send a JSON object",
		`{"connection":"none"}`:       "no such connection",
		`{"usr":"ada"}`:               "unknown field",
		`{}`:                          "say whom to disconnect",
		`{"user":"ada","group":"g"}`:  "say whom to disconnect",
		`{"hub":"none","user":"ada"}`: "name one of room",
	} {
		status, fields := s.order(t, "/control/disconnect", body)
		if problem, _ := fields["error"].(string); status/100 != 4 || !strings.Contains(problem, want) {
			t.Errorf("%s: %d %s", body, status, text(fields))
		}
	}
	if status, fields := s.order(t, "/control/groups/add", `{"user":"ada"}`); status != 400 {
		t.Errorf("add without a group: %d %s", status, text(fields))
	}
	if status, fields := s.order(t, "/control/groups/clear", `{"connection":"none"}`); status != 404 {
		t.Errorf("clear of nobody: %d %s", status, text(fields))
	}
}

// TestControlGuard: orders need the token where one is asked for, and never come from a web page.
func TestControlGuard(t *testing.T) {
	const token = "a token for the operator"
	send := func(n *Node, change func(r *http.Request)) int {
		r := httptest.NewRequest("POST", "/control/disconnect", strings.NewReader(`{"user":"ada"}`))
		r.Host = "127.0.0.1:9090"
		r.Header.Set("Content-Type", "application/json")
		change(r)
		w := httptest.NewRecorder()
		n.adminHandler().ServeHTTP(w, r)
		return w.Code
	}
	listening := func(token string) *Node {
		n := make1(t, Config{AdminToken: token})
		if err := n.Map("/room", room{}); err != nil {
			t.Fatal(err)
		}
		if err := n.Listen(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.unlisten)
		return n
	}
	local, far := listening(""), listening(token)
	far.admin = elsewhere{far.admin}
	for name, tt := range map[string]struct {
		node   *Node
		want   int
		change func(r *http.Request)
	}{
		"loopback":                  {local, 200, func(*http.Request) {}},
		"localhost":                 {local, 200, func(r *http.Request) { r.Host = "localhost" }},
		"a name that points here":   {local, 403, func(r *http.Request) { r.Host = "evil.example:9090" }},
		"a page of another origin":  {local, 403, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		"a page, as browsers say":   {local, 403, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		"a form":                    {local, 415, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		"elsewhere without a token": {far, 401, func(*http.Request) {}},
		"elsewhere with it":         {far, 200, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }},
	} {
		if got := send(tt.node, tt.change); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	without := listening("")
	without.admin = elsewhere{without.admin}
	if got := send(without, func(*http.Request) {}); got != 404 {
		t.Errorf("elsewhere, and there is no token: %d, want 404", got)
	}
}

// TestPresenceOfRedis: what a client can know of who is online when it knows that it is connected.
func TestPresenceOfRedis(t *testing.T) {
	server, a, b, _ := fleet(t, func(c *Config) { c.Authenticate = byQuery })
	for range 20 {
		c := a.connect(t, "?user=ada")
		online, err := b.Hub("/room").Presence().Online(t.Context(), "ada")
		if err != nil || !online[0] {
			t.Fatalf("connected, and not online elsewhere: %v, %v", online, err)
		}
		_ = c.conn.CloseNow()
	}
	server.Stop()
	eventually(t, "away", func() bool { return !b.cluster.State().Up && !b.presence.State().Up })
	began := time.Now()
	if status, fields := b.getJSON(t, "/presence/online?users=ada"); status != 503 {
		t.Errorf("online without Redis: %d %s", status, text(fields))
	}
	if status, fields := b.order(t, "/control/disconnect", `{"user":"ada"}`); status != 503 {
		t.Errorf("disconnect without Redis: %d %s", status, text(fields))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// Bounds of one answer to the operator.
const (
	maxAskedUsers = 1000
	maxListed     = 1000
)

// handleQueries answers the operator's questions about the whole cluster, in JSON.
func (n *Node) handleQueries(mux *http.ServeMux, guard func(http.Handler) http.Handler) {
	for pattern, answer := range map[string]func(r *http.Request) (any, error){
		"GET /nodes":              n.listNodes,
		"GET /presence/online":    n.askOnline,
		"GET /presence/users":     n.listUsers,
		"GET /presence/user/{id}": n.describeUser,
		"GET /connections/{id}":   n.findConnection,
		"GET /groups/members":     n.listMembers,
		"GET /groups/count":       n.countMembers,
	} {
		mux.Handle(pattern, guard(answerJSON(answer)))
	}
}

// problem is an answer that is an error; its text says what to do.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func bad(format string, a ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, a...)}
}

// answerJSON writes what answer returns. An answer that comes with an error is written with the error in it.
func answerJSON(answer func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		if err == nil {
			_ = out.Encode(v) // a client that left needs no answer
			return
		}
		w.WriteHeader(statusOf(err))
		fields := map[string]any{}
		if v != nil {
			text, _ := json.Marshal(v) // structs of texts and numbers
			_ = json.Unmarshal(text, &fields)
		}
		fields["error"] = err.Error()
		_ = out.Encode(fields)
	})
}

// statusOf is the status for an error.
func statusOf(err error) int {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p.status
	case errors.Is(err, hub.ErrNoConnection):
		return http.StatusNotFound
	case errors.Is(err, hub.ErrIncomplete):
		return http.StatusGatewayTimeout
	case errors.Is(err, hub.ErrUnavailable), errors.Is(err, cluster.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// nodeAnswer is one node in the answer to GET /nodes.
type nodeAnswer struct {
	ID          string    `json:"id"`
	Address     string    `json:"address,omitempty"`
	Version     string    `json:"version,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	Connections int       `json:"connections"`
	Leaving     bool      `json:"leaving,omitempty"` // it drains
	Self        bool      `json:"self,omitempty"`    // it is the one that answers
}

func (n *Node) listNodes(r *http.Request) (any, error) {
	var nodes []nodeAnswer
	if n.cluster == nil {
		nodes = append(nodes, nodeAnswer{ID: n.name, Version: n.config.Version, Connections: n.hubs.Connections(), Leaving: n.stopping.Load(), Self: true})
	} else {
		infos, err := n.cluster.Nodes(r.Context())
		if err != nil {
			return nil, err
		}
		for _, i := range infos {
			nodes = append(nodes, nodeAnswer{i.ID, i.Address, i.Version, i.Started, i.Connections, i.Leaving, i.ID == n.cluster.NodeID()})
		}
	}
	return map[string]any{"nodes": nodes}, nil
}

// anyHub asks about presence, which is that of all hubs.
func (n *Node) anyHub() (hub.Presence, error) {
	names := n.hubs.Names()
	if len(names) == 0 {
		return hub.Presence{}, &problem{http.StatusNotFound, "this node serves no hub"}
	}
	return n.hubs.Named(names[0]).Presence(), nil
}

type onlineAnswer struct {
	User   string `json:"user"`
	Online bool   `json:"online"`
}

// askOnline takes ?users=a,b, also several times; a comma within an id is written %2C.
func (n *Node) askOnline(r *http.Request) (any, error) {
	users, err := listed(r.URL.RawQuery, "users")
	switch {
	case err != nil:
		return nil, bad("the query cannot be read (%v): ask /presence/online?users=ada,bob", err)
	case len(users) == 0:
		return nil, bad("nobody is asked for: ask /presence/online?users=ada,bob")
	case len(users) > maxAskedUsers:
		return nil, bad("%d users are asked for: ask for at most %d at a time", len(users), maxAskedUsers)
	}
	p, err := n.anyHub()
	if err != nil {
		return nil, err
	}
	online, err := p.Online(r.Context(), users...)
	if err != nil {
		return nil, err
	}
	answers := make([]onlineAnswer, len(users))
	for i, user := range users {
		answers[i] = onlineAnswer{user, online[i]}
	}
	return map[string]any{"online": answers}, nil
}

// listed are the values of a query parameter, parted at the commas that are not escaped.
func listed(query, name string) (values []string, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		key, list, _ := strings.Cut(pair, "=")
		if key != name {
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			value, err := url.QueryUnescape(text)
			if err != nil {
				return nil, err
			}
			if value != "" {
				values = append(values, value)
			}
		}
	}
	return values, nil
}

// limit reads ?limit=.
func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return maxListed, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxListed {
		return 0, bad("limit is %q: use a number from 1 to %d", text, maxListed)
	}
	return n, nil
}

func (n *Node) listUsers(r *http.Request) (any, error) {
	limit, err := limit(r)
	if err != nil {
		return nil, err
	}
	p, err := n.anyHub()
	if err != nil {
		return nil, err
	}
	users, err := p.Users(r.Context(), r.URL.Query().Get("after"), limit)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Users []string `json:"users"`
		Next  string   `json:"next,omitempty"`
	}{Users: append([]string{}, users...)}
	if len(users) == limit {
		answer.Next = users[limit-1]
	}
	return answer, nil
}

// presentAnswer is one connection of a user.
type presentAnswer struct {
	Connection string    `json:"connection"`
	Hub        string    `json:"hub"`
	Node       string    `json:"node"`
	Transport  string    `json:"transport"`
	Since      time.Time `json:"since"`
	metadata
}

// metadata is what a hub has attached to a connection.
type metadata struct {
	Text   string `json:"metadata,omitempty"`       // when it is text
	Binary []byte `json:"metadataBase64,omitempty"` // when it is not
}

func metadataOf(value []byte) metadata {
	if utf8.Valid(value) {
		return metadata{Text: string(value)}
	}
	return metadata{Binary: value}
}

func (n *Node) describeUser(r *http.Request) (any, error) {
	p, err := n.anyHub()
	if err != nil {
		return nil, err
	}
	user := r.PathValue("id")
	online, err := p.Online(r.Context(), user)
	if err != nil {
		return nil, err
	}
	connections, err := p.Connections(r.Context(), user)
	if err != nil {
		return nil, err
	}
	answers := make([]presentAnswer, len(connections))
	for i, c := range connections {
		answers[i] = presentAnswer{c.ID, c.Hub, c.Node, c.Transport, c.Since.UTC(), metadataOf(c.Metadata)}
	}
	return map[string]any{"user": user, "online": online[0], "connections": answers}, nil
}

// memberAnswer is one connection.
type memberAnswer struct {
	Connection string    `json:"connection"`
	User       string    `json:"user,omitempty"` // none: anonymous
	Hub        string    `json:"hub"`
	Node       string    `json:"node"`
	Transport  string    `json:"transport"`
	Since      time.Time `json:"since"`
}

func memberAnswerOf(m hub.Member) memberAnswer {
	return memberAnswer{m.ConnectionID, m.UserID, m.Hub, m.NodeID, m.Transport, m.Since}
}

func (n *Node) findConnection(r *http.Request) (any, error) {
	m, err := n.hubs.Find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	answer := struct {
		memberAnswer
		metadata
	}{memberAnswer: memberAnswerOf(m)}
	if m.UserID == "" {
		return answer, nil // presence knows users by what is theirs, and nobody else
	}
	p, err := n.anyHub()
	if err != nil {
		return answer, err
	}
	connections, err := p.Connections(r.Context(), m.UserID)
	for _, c := range connections {
		if c.ID == m.ConnectionID {
			answer.metadata = metadataOf(c.Metadata)
		}
	}
	return answer, err
}

// answered says from how many nodes an answer comes, and from which it does not.
type answered struct {
	Complete bool     `json:"complete"`
	Nodes    int      `json:"nodes"`
	Missing  []string `json:"missing"`
}

func answeredOf(a hub.Answered) answered {
	return answered{a.Complete(), a.Nodes, append([]string{}, a.Missing...)}
}

func (n *Node) listMembers(r *http.Request) (any, error) {
	limit, err := limit(r)
	if err != nil {
		return nil, err
	}
	h, group, err := n.group(r)
	if err != nil {
		return nil, err
	}
	page, err := h.Groups().Members(r.Context(), group, r.URL.Query().Get("after"), limit)
	members := make([]memberAnswer, len(page.List))
	for i, m := range page.List {
		members[i] = memberAnswerOf(m)
	}
	return struct {
		Members []memberAnswer `json:"members"`
		Next    string         `json:"next,omitempty"`
		answered
	}{members, page.Next, answeredOf(page.Answered)}, err
}

func (n *Node) countMembers(r *http.Request) (any, error) {
	h, group, err := n.group(r)
	if err != nil {
		return nil, err
	}
	count, from, err := h.Groups().Count(r.Context(), group)
	return struct {
		Connections int `json:"connections"`
		answered
	}{count, answeredOf(from)}, err
}

// group reads ?hub= and ?group=.
func (n *Node) group(r *http.Request) (*hub.Context, string, error) {
	h, err := n.hubNamed(r.URL.Query().Get("hub"))
	if err != nil {
		return nil, "", err
	}
	group := r.URL.Query().Get("group")
	if group == "" {
		return nil, "", bad("no group is named: add group=NAME")
	}
	return h, group, nil
}

// hubNamed finds a hub. The name may be left out when there is only one.
func (n *Node) hubNamed(name string) (*hub.Context, error) {
	names := n.hubs.Names()
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	switch h := n.hubs.Named(name); {
	case h != nil:
		return h, nil
	case name == "":
		return nil, bad("no hub is named: name one of %s", strings.Join(names, ", "))
	default:
		return nil, &problem{http.StatusNotFound, fmt.Sprintf("this node serves no hub %q: name one of %s", name, strings.Join(names, ", "))}
	}
}

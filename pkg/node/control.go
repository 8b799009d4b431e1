package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// maxOrder bounds the body of a control request, in bytes.
const maxOrder = 64 << 10

// orderTimeout is how long the nodes have to carry an order out.
const orderTimeout = 10 * time.Second

var errSlowOrder = fmt.Errorf("%w: an order must be confirmed within %v", hub.ErrIncomplete, orderTimeout)

// handleControl takes the operator's orders, each of which is for the whole cluster.
func (n *Node) handleControl(mux *http.ServeMux, guard func(http.Handler) http.Handler) {
	for pattern, obey := range map[string]func(context.Context, *hub.Context, order) (hub.Changed, error){
		"POST /control/disconnect":    disconnect,
		"POST /control/groups/add":    addToGroup,
		"POST /control/groups/remove": removeFromGroup,
		"POST /control/groups/clear":  clearGroups,
	} {
		mux.Handle(pattern, guard(n.fromNoPage(answerJSON(func(r *http.Request) (any, error) {
			h, o, err := n.readOrder(r)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeoutCause(r.Context(), n.orderTimeout, errSlowOrder)
			defer cancel()
			changed, err := obey(ctx, h, o)
			var p *problem
			if errors.As(err, &p) {
				return nil, err
			}
			n.config.Logger.Info("control", "request", r.URL.Path, "order", o, "connections", changed.Connections, "error", err)
			return struct {
				Connections int `json:"connections"`
				answered
			}{changed.Connections, answeredOf(changed.Answered)}, err
		}))))
	}
}

// order is the body of a control request.
type order struct {
	Hub        string `json:"hub"` // may be left out when the node serves only one
	Connection string `json:"connection"`
	User       string `json:"user"`
	Group      string `json:"group"`
}

// fromNoPage refuses what a web page may have sent from the operator's browser. Without a token, it is all that protects a listener
// on loopback from the pages that are open on the same machine.
func (n *Node) fromNoPage(next http.Handler) http.Handler {
	pages := http.NewCrossOriginProtection()
	return pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		// A page whose name was made to point here would be of the same origin; it has that name, though.
		if isLoopback(n.admin.Addr()) && host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "address this listener by its IP address, or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func (n *Node) readOrder(r *http.Request) (*hub.Context, order, error) {
	var o order
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, o, &problem{http.StatusUnsupportedMediaType, "send JSON, with Content-Type: application/json"}
	}
	in := json.NewDecoder(io.LimitReader(r.Body, maxOrder))
	in.DisallowUnknownFields()
	err := in.Decode(&o)
	if err == nil {
		if _, more := in.Token(); more != io.EOF { // an order that is half understood is none
			err = errors.New("there is something behind the object, or it is too long")
		}
	}
	if err != nil {
		return nil, o, bad(`the body cannot be read (%v): send a JSON object with some of the texts "hub", "connection", "user" and "group"`, err)
	}
	h, err := n.hubNamed(o.Hub)
	if err == nil {
		o.Hub = h.Name()
	}
	return h, o, err
}

// one says whether exactly one of the texts is given.
func one(texts ...string) bool {
	given := 0
	for _, t := range texts {
		if t != "" {
			given++
		}
	}
	return given == 1
}

func disconnect(ctx context.Context, h *hub.Context, o order) (hub.Changed, error) {
	switch {
	case !one(o.Connection, o.User, o.Group):
		return hub.Changed{}, bad(`say whom to disconnect with one of "connection", "user" and "group"`)
	case o.Connection != "":
		changed, err := h.Clients().Client(o.Connection).Disconnect(ctx)
		if err == nil && changed.Connections == 0 {
			err = fmt.Errorf("%w: %q", hub.ErrNoConnection, o.Connection)
		}
		return changed, err
	case o.User != "":
		return h.Clients().User(o.User).Disconnect(ctx)
	}
	return h.Clients().Group(o.Group).Disconnect(ctx)
}

func addToGroup(ctx context.Context, h *hub.Context, o order) (hub.Changed, error) {
	switch {
	case o.Group == "" || !one(o.Connection, o.User):
		return hub.Changed{}, errRegroup
	case o.User != "":
		return h.Groups().AddUser(ctx, o.User, o.Group)
	}
	return oneConnection(h.Groups().Add(ctx, o.Connection, o.Group))
}

func removeFromGroup(ctx context.Context, h *hub.Context, o order) (hub.Changed, error) {
	switch {
	case o.Group == "" || !one(o.Connection, o.User):
		return hub.Changed{}, errRegroup
	case o.User != "":
		return h.Groups().RemoveUser(ctx, o.User, o.Group)
	}
	return oneConnection(h.Groups().Remove(ctx, o.Connection, o.Group))
}

var errRegroup = bad(`name a "group", and whom it concerns with one of "connection" and "user"`)

// oneConnection is the outcome of a change to a single connection, which its node must confirm.
func oneConnection(err error) (hub.Changed, error) {
	switch {
	case err == nil:
		return hub.Changed{Answered: hub.Answered{Nodes: 1}, Connections: 1}, nil
	case errors.Is(err, hub.ErrIncomplete), errors.Is(err, hub.ErrUnavailable):
		return hub.Changed{Answered: hub.Answered{Missing: []string{"unknown"}}}, err
	}
	return hub.Changed{}, err
}

func clearGroups(ctx context.Context, h *hub.Context, o order) (hub.Changed, error) {
	if o.Connection == "" || o.User != "" || o.Group != "" {
		return hub.Changed{}, bad(`name the "connection" to take out of all its groups, and nothing else`)
	}
	return h.Groups().RemoveFromAll(ctx, o.Connection)
}

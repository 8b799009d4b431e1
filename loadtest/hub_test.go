package main

import (
	"iter"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// room is a hub with the methods that loads call.
type room struct{}

func hubUser(r *http.Request) (hub.Identity, error) {
	return hub.Identity{UserID: r.URL.Query().Get("user")}, nil
}

func (room) SendMessage(c *hub.Call, user, message string) error {
	return c.Clients().All().Send(c, "ReceiveMessage", user, message)
}

func (room) SendToRoom(c *hub.Call, room, user, message string) error {
	return c.Clients().Group(room).Send(c, "ReceiveMessage", user, message)
}

func (room) SendToUser(c *hub.Call, id, user, message string) error {
	return c.Clients().User(id).Send(c, "ReceiveMessage", user, message)
}

func (room) JoinRoom(c *hub.Call, room string) error {
	return c.Groups().Add(c, c.ConnectionID(), room)
}

func (room) Echo(_ *hub.Call, value hub.Raw) (hub.Raw, error) { return value, nil }

func (room) Counter(_ *hub.Call, count, _ int) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := 0; i < count && yield(i, nil); i++ {
		}
	}, nil
}

var outside = regexp.MustCompile(`(?i)(src|href|url)\s*[=(]\s*["']?(https?:)?//`)

// checkPage looks at a report: it must stand alone and have its charts.
func checkPage(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
		return
	}
	page := string(b)
	if m := outside.FindString(page); m != "" || strings.Contains(page, "<script src") {
		t.Errorf("the report needs the network: %q", m)
	}
	for _, want := range []string{"<svg", "</html>", "bare, joining", "prefers-color-scheme: dark"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report has no %q", want)
		}
	}
}

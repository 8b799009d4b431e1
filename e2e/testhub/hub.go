package main

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
)

// TestHub is the hub at /test. Its clients have the methods ReceiveMessage(from, text), as those of the sample hub, and
// Answer(question), which returns something.
type TestHub struct {
	node string

	mu    sync.Mutex
	notes map[string][]int // by connection
}

func newTestHub(node string) *TestHub { return &TestHub{node: node, notes: map[string][]int{}} }

// Node is the name of the node that the caller is connected to.
func (h *TestHub) Node(_ *hub.Call) string { return h.node }

// OnDisconnected forgets what the connection has noted, and tells the group "end of ID".
func (h *TestHub) OnDisconnected(c *hub.Call, _ error) {
	h.mu.Lock()
	delete(h.notes, c.ConnectionID())
	h.mu.Unlock()
	if err := c.Clients().Group("end of "+c.ConnectionID()).Send(c, "ReceiveMessage", "TestHub", "OnDisconnected"); err != nil {
		c.Logger().Warn("nobody was told of the end", "error", err)
	}
}

// Echo returns the value as it came.
func (h *TestHub) Echo(_ *hub.Call, value hub.Raw) hub.Raw { return value }

// Join makes the caller a member of a group.
func (h *TestHub) Join(c *hub.Call, group string) error {
	return c.Groups().Add(c, c.ConnectionID(), group)
}

// Leave ends the caller's membership.
func (h *TestHub) Leave(c *hub.Call, group string) error {
	return c.Groups().Remove(c, c.ConnectionID(), group)
}

// Send sends a text to the target of that name. The names are those that it takes: ids, groups or users.
func (h *TestHub) Send(c *hub.Call, target string, names []string, text string) error {
	one := ""
	if len(names) > 0 {
		one = names[0]
	}
	all := c.Clients()
	targets := map[string]func() hub.Target{
		"All":           func() hub.Target { return all.All() },
		"AllExcept":     func() hub.Target { return all.AllExcept(names...) },
		"Caller":        func() hub.Target { return all.Caller() },
		"Others":        func() hub.Target { return all.Others() },
		"Client":        func() hub.Target { return all.Client(one) },
		"Clients":       func() hub.Target { return all.Clients(names...) },
		"Group":         func() hub.Target { return all.Group(one) },
		"Groups":        func() hub.Target { return all.Groups(names...) },
		"GroupExcept":   func() hub.Target { return all.GroupExcept(one, names[1:]...) },
		"OthersInGroup": func() hub.Target { return all.OthersInGroup(one) },
		"User":          func() hub.Target { return all.User(one) },
		"Users":         func() hub.Target { return all.Users(names...) },
	}
	choose := targets[target]
	if choose == nil {
		return hub.Errorf("There is no target %s.", target)
	}
	return choose().Send(c, "ReceiveMessage", target, text)
}

// Ask asks a connection and returns its answer. A wait of 0 ms is one without end.
func (h *TestHub) Ask(c *hub.Call, connectionID, question string, waitMs int) (string, error) {
	ctx := context.Context(c)
	if waitMs > 0 {
		timed, cancel := context.WithTimeout(c, time.Duration(waitMs)*time.Millisecond)
		defer cancel()
		ctx = timed
	}
	var answer string
	err := c.Clients().Client(connectionID).Invoke(ctx, &answer, "Answer", question)
	var said *hub.Error
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &said):
		return "", err
	default:
		return "", hub.Errorf("%v", err)
	}
}

// Large returns a text of that many characters.
func (h *TestHub) Large(_ *hub.Call, size int) string { return strings.Repeat("x", size) }

// Ticks streams numbers until it is cancelled. Then it tells the caller.
func (h *TestHub) Ticks(c *hub.Call, name string) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			if !yield(i, nil) {
				break
			}
			select {
			case <-tick.C:
				continue
			case <-c.Done():
			}
			break
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c), 5*time.Second)
		defer cancel()
		_ = c.Clients().Caller().Send(ctx, "ReceiveMessage", "Ticks", name+" has ended") // the test waits for it
	}
}

// Break streams so many numbers and then fails; the client may read why only if it is told to.
func (h *TestHub) Break(_ *hub.Call, count int, tell bool) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range count {
			if !yield(i, nil) {
				return
			}
		}
		if tell {
			yield(0, hub.Errorf("It broke after %d.", count))
			return
		}
		yield(0, errors.New("nobody's business"))
	}
}

// Zip joins the items of two streams from the client, in turn, and streams the result back while they come. The parameter between
// them is there because version 10 of the TypeScript client loses the second of two streams side by side.
func (h *TestHub) Zip(_ *hub.Call, left <-chan string, between string, right <-chan string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for l := range left {
			if !yield(l+between+<-right, nil) {
				return
			}
		}
	}
}

// Note writes a number down.
func (h *TestHub) Note(c *hub.Call, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes[c.ConnectionID()] = append(h.notes[c.ConnectionID()], n)
}

// Noted returns all numbers that the caller has had written down.
func (h *TestHub) Noted(c *hub.Call) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int{}, h.notes[c.ConnectionID()]...)
}

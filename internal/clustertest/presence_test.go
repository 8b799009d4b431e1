package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
)

const (
	// presenceTimeout is how long presence may take to agree with the model when all is at rest: longer than the grace period, a
	// lease, and the 15 s for which a connection over requests is kept whose client has gone without a word.
	presenceTimeout = 45 * time.Second
	// staleness is how old news of a user's absence may be: it may have come back since.
	staleness = 10 * time.Second
	// samples is how many rooms and users are looked at in each round.
	samples = 20
)

// A watcher is a client that is told who comes online and goes.
type watcher struct {
	w      *world
	name   string
	client *client.Client

	mu       sync.Mutex
	watching bool // it has its snapshot
	online   map[string]bool
	early    []change // came before the snapshot
	told     []change
}

type change struct {
	at     moment
	user   string
	online bool
}

func newWatcher(w *world, name string) *watcher {
	v := &watcher{w: w, name: name}
	d := &door{fleet: w.fleet, open: map[net.Conn]bool{}}
	var err error
	v.client, err = client.New("http://cluster.test/chat", client.Options{
		Transports: []client.Transport{client.WebSockets}, ServerTimeout: time.Minute,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: d.dial}},
		Reconnect:  client.ReconnectForever(200*time.Millisecond, 2*time.Second),
		Hooks:      client.Hooks{Reconnecting: v.forget},
	})
	if err != nil {
		panic(err) // the options are ours
	}
	v.client.On("PresenceChanged", v.changed)
	v.client.On("ReceiveMessage", func(_, _ string) {})
	return v
}

// forget begins anew: the next connection watches for itself.
func (v *watcher) forget(error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watching, v.early = false, nil
}

func (v *watcher) changed(user string, online bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := change{v.w.model.now(), user, online}
	if v.watching {
		v.apply(c)
	} else {
		v.early = append(v.early, c)
	}
}

// apply takes note of a change. v.mu is held.
func (v *watcher) apply(c change) {
	v.told = append(v.told, c)
	if v.online[c.user] == c.online {
		v.w.model.problem("%s was told at %s that %s is online: %v, which it knew. Before: %s", v.name, seconds(c.at), c.user, c.online, v.history(c.user))
	}
	if c.online {
		v.online[c.user] = true
		return
	}
	delete(v.online, c.user)
	if by := v.w.certainlyThere(c.user, c.at); len(by) > 0 {
		s := suspicion{lease: true}
		for _, c := range by {
			s.nodes = append(s.nodes, c.at())
		}
		v.w.suspect(s, "%s was told at %s that %s is offline, which is connected since %s by %v. Before: %s",
			v.name, seconds(c.at), c.user, seconds(by[0].born), by[0], v.history(c.user))
	}
}

// history is what was said of a user. v.mu is held.
func (v *watcher) history(user string) string {
	var b strings.Builder
	for _, c := range v.told {
		if c.user == user {
			fmt.Fprintf(&b, "%v at %s, ", c.online, seconds(c.at))
		}
	}
	return b.String()
}

// certainlyThere returns the connections of a user that were there for some time before a moment, and to which nothing was done. Those of
// a node that was paused beyond its lease are not there for the others.
func (w *world) certainlyThere(user string, at moment) (certain []*conn) {
	struck := w.struck.Load()
	for _, c := range w.model.living() {
		c.mu.Lock()
		there := c.user == user && c.born < at-staleness && c.doomed == "" && c.cuts == 0 && c.node != ""
		c.mu.Unlock()
		if there && (struck == nil || !c.dependsOn(struck)) {
			certain = append(certain, c)
		}
	}
	return certain
}

// at is the process that has the connection.
func (c *conn) at() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}

// watch makes sure that the watcher watches.
func (v *watcher) watch(ctx context.Context) error {
	if v.client.State() == client.Disconnected {
		if err := v.client.Start(ctx); err != nil {
			return err
		}
	}
	v.mu.Lock()
	watching := v.watching
	v.mu.Unlock()
	if watching {
		return nil
	}
	id := v.client.ConnectionID()
	users, err := client.Invoke[[]string](ctx, v.client, "WatchPresence")
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client.ConnectionID() != id {
		return fmt.Errorf("%s has lost the connection that watched", v.name)
	}
	v.online, v.watching = map[string]bool{}, true
	for _, user := range users {
		v.online[user] = true
	}
	for _, c := range v.early {
		v.apply(c)
	}
	v.early = nil
	return nil
}

func (v *watcher) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_ = v.client.Stop(ctx) // it has nothing to lose
}

// checkPresence holds what the cluster says of users and rooms against the model, when all is at rest, and waits until they agree.
func (w *world) checkPresence() {
	ctx, cancel := context.WithTimeout(context.Background(), presenceTimeout)
	defer cancel()
	rooms, users := map[string]bool{}, map[string]bool{}
	for range samples {
		rooms[w.room(w.rng)] = true
		users[fmt.Sprintf("u%d", w.rng.IntN(w.users))] = true
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		err := w.comparePresence(ctx, slices.Sorted(maps.Keys(rooms)), slices.Sorted(maps.Keys(users)))
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			w.model.problem("presence does not agree with the truth after %s at rest: %v", presenceTimeout, err)
			return
		}
	}
}

// comparePresence says what does not agree.
func (w *world) comparePresence(ctx context.Context, rooms, users []string) error {
	connections := map[string]map[string]string{} // by user: connection id: transport
	for _, c := range w.model.living() {
		c.mu.Lock()
		if c.user != "" {
			if connections[c.user] == nil {
				connections[c.user] = map[string]string{}
			}
			connections[c.user][c.id] = strings.TrimPrefix(c.transport, "stateful ")
		}
		c.mu.Unlock()
	}
	online := slices.Sorted(maps.Keys(connections))
	everybody := make([]string, w.users)
	for i := range everybody {
		everybody[i] = fmt.Sprintf("u%d", i)
	}
	for _, v := range w.watchers {
		if err := v.watch(ctx); err != nil {
			return err
		}
		asked, err := client.Invoke[[]string](ctx, v.client, "Online", everybody)
		if err != nil {
			return fmt.Errorf("Online: %w", err)
		}
		slices.Sort(asked)
		if d := difference(asked, online); d != "" {
			return fmt.Errorf("Online, as %s got it: %s", v.name, d)
		}
		v.mu.Lock()
		d := difference(slices.Sorted(maps.Keys(v.online)), online)
		v.mu.Unlock()
		if d != "" {
			return fmt.Errorf("what %s was told: %s", v.name, d)
		}
	}
	for i, room := range rooms {
		type member struct {
			ConnectionID string  `json:"connectionId"`
			UserID       *string `json:"userId"`
		}
		list, err := client.Invoke[[]member](ctx, w.watchers[i%len(w.watchers)].client, "RoomMembers", room)
		if err != nil {
			return fmt.Errorf("RoomMembers of %s: %w", room, err)
		}
		var got []string
		for _, m := range list {
			if m.UserID == nil {
				m.UserID = new(string)
			}
			got = append(got, m.ConnectionID+" of "+*m.UserID)
		}
		slices.Sort(got)
		if d := difference(got, w.model.members(room)); d != "" {
			return fmt.Errorf("RoomMembers of %s: %s", room, d)
		}
	}
	for _, n := range w.fleet.nodes {
		var page struct{ Users []string }
		if err := n.askJSON("/presence/users?limit=1000", &page); err != nil {
			return err
		}
		slices.Sort(page.Users)
		if d := difference(page.Users, online); d != "" {
			return fmt.Errorf("/presence/users of %s: %s", n.name, d)
		}
		for _, user := range users {
			var answer struct {
				Online      bool
				Connections []struct{ Connection, Transport string }
			}
			if err := n.askJSON("/presence/user/"+url.PathEscape(user), &answer); err != nil {
				return err
			}
			var got, want []string
			for _, c := range answer.Connections {
				got = append(got, c.Connection+" over "+c.Transport)
			}
			for id, transport := range connections[user] {
				want = append(want, id+" over "+transport)
			}
			slices.Sort(got)
			slices.Sort(want)
			if d := difference(got, want); d != "" || answer.Online != (len(want) > 0) {
				return fmt.Errorf("/presence/user/%s of %s: online %v, %s", user, n.name, answer.Online, d)
			}
		}
	}
	return nil
}

// askJSON gets an answer from the admin port.
func (n *node) askJSON(path string, into any) error {
	status, body, err := n.ask(path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), into)
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", path, n.name, err)
	}
	return nil
}

// difference says how two sorted lists differ; empty if they do not.
func difference(got, want []string) string {
	var more, less []string
	for _, s := range got {
		if _, ok := slices.BinarySearch(want, s); !ok {
			more = append(more, s)
		}
	}
	for _, s := range want {
		if _, ok := slices.BinarySearch(got, s); !ok {
			less = append(less, s)
		}
	}
	switch {
	case len(more)+len(less) > 0:
		return fmt.Sprintf("%d too many (%s), %d missing (%s)", len(more), some(more), len(less), some(less))
	case len(got) != len(want):
		return fmt.Sprintf("%d entries instead of %d: some are there twice", len(got), len(want))
	}
	return ""
}

func some(list []string) string {
	if len(list) > 5 {
		return strings.Join(list[:5], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

package presencetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/presence"
)

// Patience is how long the suite waits for what must happen. It is long: a busy machine is no failure.
const Patience = 20 * time.Second

// Recorder watches, and keeps what it is told. It fails the test when changes of a user do not alternate.
type Recorder struct {
	t    testing.TB
	stop func()

	mu      sync.Mutex
	online  map[string]bool
	changes []presence.Change
	resyncs []presence.Update
}

// NewRecorder begins to watch. It ends with the test, or with Stop.
func NewRecorder(t testing.TB, tracker presence.Tracker) *Recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	snapshot, updates, err := tracker.Watch(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	r := &Recorder{t: t, online: make(map[string]bool)}
	for _, user := range snapshot {
		if r.online[user] {
			t.Errorf("the snapshot has %q twice", user)
		}
		r.online[user] = true
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for u := range updates {
			r.note(u)
		}
	})
	r.stop = func() {
		cancel()
		reading.Wait()
	}
	t.Cleanup(r.stop)
	return r
}

// Stop ends the watch; it returns when the sequence has ended.
func (r *Recorder) Stop() { r.stop() }

func (r *Recorder) note(u presence.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(u.Changes) == 0 {
		r.t.Error("an update without changes")
	}
	if u.Resync {
		r.resyncs = append(r.resyncs, u)
	}
	for _, c := range u.Changes {
		if r.online[c.User] == c.Online {
			r.t.Errorf("%q was told twice to be online: %v (resync: %v)", c.User, c.Online, u.Resync)
		}
		if c.Online {
			r.online[c.User] = true
		} else {
			delete(r.online, c.User)
		}
		r.changes = append(r.changes, c)
	}
}

// Online are the users who are online as far as the watcher was told, in order.
func (r *Recorder) Online() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.online))
}

// Of are the changes of one user so far, such as "+-+".
func (r *Recorder) Of(user string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := ""
	for _, c := range r.changes {
		switch {
		case c.User != user:
		case c.Online:
			text += "+"
		default:
			text += "-"
		}
	}
	return text
}

// Resyncs are the resyncs so far.
func (r *Recorder) Resyncs() []presence.Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.resyncs)
}

// Want waits until the changes of a user are these.
func (r *Recorder) Want(user, changes string) {
	r.t.Helper()
	Eventually(r.t, fmt.Sprintf("the changes of %q are %q", user, changes), func() bool { return r.Of(user) == changes })
}

// Eventually polls for something that happens in its own time.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so after %v: %s", Patience, what)
		}
	}
}

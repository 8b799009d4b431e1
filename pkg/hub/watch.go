package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// rewatch is how long after a watch has failed it is tried again.
const rewatch = time.Second

var (
	errStreamNotify = errors.New("hub: Notify has no place in a method that streams: its changes follow the method's one answer; use Watch")
	errWatchEnded   = errors.New("the watch has ended")
	errHeldTooMuch  = errors.New("the changes of presence that a hub method has kept waiting are more than its client's queue holds")
)

// watching are the connections that are told who comes and goes. They share one watch of the tracker, which exists while there are
// any, and what it has said: that is what newcomers are told, so that what follows fits, without asking anyone.
type watching struct {
	server *Server

	mu       sync.Mutex
	watchers map[*Connection]*watcher
	stop     context.CancelFunc  // ends the watch; nil when there is none
	started  *attempt            // how the watch began
	online   map[string]struct{} // what the watchers know
	page     page
}

// watcher is one connection that is told.
type watcher struct {
	method string
	calls  int      // hub methods whose answer must come first
	held   []*frame // what waits for that
	bytes  int
}

// attempt is the beginning of a watch, which those who need it wait for.
type attempt struct {
	done chan struct{}
	err  error
}

// page is the first online users in lexical order, kept between those who ask for it.
type page struct {
	limit int
	users []string
	valid bool
}

// add makes the caller a watcher, and returns the first online users.
func (t *watching) add(ctx context.Context, call *Call, method string, limit int) ([]string, error) {
	if call.streams {
		return nil, errStreamNotify
	}
	c := call.conn
	if err := t.ensure(ctx, c); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil || t.started.err != nil {
		return nil, fmt.Errorf("%w: the watch has ended meanwhile", ErrUnavailable)
	}
	w := t.watchers[c]
	if w == nil {
		return nil, fmt.Errorf("%w: %q has ended", ErrNoConnection, c.id)
	}
	w.method = method
	if call.hold(w) {
		w.calls++
	}
	return t.first(limit), nil
}

// ensure enters c as a watcher, and waits until the watch has begun.
func (t *watching) ensure(ctx context.Context, c *Connection) error {
	t.mu.Lock()
	if !c.mayWatch() {
		t.mu.Unlock()
		return fmt.Errorf("%w: %q has ended", ErrNoConnection, c.id)
	}
	if t.watchers[c] == nil {
		if t.watchers == nil {
			t.watchers = map[*Connection]*watcher{}
		}
		t.watchers[c] = &watcher{}
	}
	if t.stop == nil {
		watch, stop := context.WithCancel(t.server.hard)
		t.stop, t.started = stop, &attempt{done: make(chan struct{})}
		t.server.work.Add(1) // never the first: the connection itself is at work
		go t.run(watch, t.started)
	}
	started := t.started
	t.mu.Unlock()
	select {
	case <-started.done:
		return started.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mayWatch says whether c has not begun to leave its hub. Whoever calls it and then enters c under the lock of watching can be sure
// that c is removed afterwards.
func (c *Connection) mayWatch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.left
}

// first returns a copy of the first online users. t.mu must be held.
func (t *watching) first(limit int) []string {
	if p := &t.page; !p.valid || p.limit < limit {
		p.limit = max(limit, p.limit)
		p.users, _ = lowest(maps.Keys(t.online), "", p.limit)
		p.valid = true
	}
	users := t.page.users[:min(max(limit, 0), len(t.page.users))]
	return append(make([]string, 0, len(users)), users...)
}

// remove ends the notifications of a connection, and with the last one the watch.
func (t *watching) remove(c *Connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers[c] == nil {
		return
	}
	delete(t.watchers, c)
	if len(t.watchers) == 0 {
		t.end()
	}
}

// end lets the watch go. t.mu must be held.
func (t *watching) end() {
	if t.stop != nil {
		t.stop()
	}
	t.stop, t.online, t.page = nil, nil, page{}
}

// run watches until ctx ends.
func (t *watching) run(ctx context.Context, started *attempt) {
	defer t.server.leave()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for first := true; ; first = false {
		online, changes, err := t.server.options.Presence.Watch(ctx)
		if first {
			if err != nil {
				t.fail(started, err)
				return
			}
			t.begin(ctx, started, online)
		} else if err == nil {
			t.catchUp(ctx, online)
		}
		if err == nil {
			for batch := range changes {
				t.tell(ctx, batch)
			}
			err = errWatchEnded
		}
		if ctx.Err() != nil {
			return
		}
		t.server.log.Warn("the watch of who is online broke; it is begun again, and what was missed is made up for", "error", err)
		pause.Reset(rewatch)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// fail ends a watch that could not begin: those who wait are told why, and watch nothing.
func (t *watching) fail(started *attempt, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	started.err = err
	close(started.done)
	if t.started == started {
		clear(t.watchers)
		t.end()
	}
}

// begin makes what is online now what the watchers know.
func (t *watching) begin(ctx context.Context, started *attempt, online []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(started.done)
	if ctx.Err() != nil {
		return // the last watcher has left, and there may be another watch by now
	}
	t.online = make(map[string]struct{}, len(online))
	for _, user := range online {
		t.online[user] = struct{}{}
	}
}

// catchUp tells the watchers how what is online now differs from what they know.
func (t *watching) catchUp(ctx context.Context, online []string) {
	now := make(map[string]struct{}, len(online))
	var batch []PresenceChange
	for _, user := range online {
		now[user] = struct{}{}
		batch = append(batch, PresenceChange{user, true}) // tell passes over what they know
	}
	t.mu.Lock()
	for user := range t.online {
		if _, there := now[user]; !there {
			batch = append(batch, PresenceChange{user, false})
		}
	}
	t.mu.Unlock()
	t.tell(ctx, batch)
}

// tell passes changes on to all watchers. One that tells them nothing new is passed over.
func (t *watching) tell(ctx context.Context, batch []PresenceChange) {
	w := newWakeList()
	defer t.server.starter.start(w) // they may be all that this node has
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for _, change := range batch {
		if _, known := t.online[change.User]; known == change.Online {
			continue
		}
		if change.Online {
			t.online[change.User] = struct{}{}
		} else {
			delete(t.online, change.User)
		}
		t.page.changed(change.User)
		t.tellOne(change, w)
	}
}

// changed notes that a user has come or gone. Beyond the page's end, that does not concern it.
func (p *page) changed(user string) {
	if n := len(p.users); n < p.limit || user <= p.users[n-1] {
		p.valid = false
	}
}

// tellOne passes one change on. t.mu must be held.
func (t *watching) tellOne(change PresenceChange, w *wakeList) {
	type kind struct {
		host   *host
		method string
	}
	messages := map[kind]*outgoing{} // hardly ever more than one
	reached := map[*host]int{}
	for c, watcher := range t.watchers {
		if watcher.method == "" {
			continue // it has not been told what is online yet
		}
		k := kind{c.host, watcher.method}
		m := messages[k]
		if m == nil {
			m = c.host.outgoing(watcher.method, []any{change.User, change.Online})
			messages[k] = m
		}
		if !m.made[c.codec] {
			if err := m.make(c.codec); err != nil {
				continue // a text and a truth can be encoded
			}
		}
		reached[c.host]++
		if watcher.calls == 0 {
			w.push(c, m)
			continue
		}
		f := m.frames[c.codec]
		if watcher.bytes += f.Len(); watcher.bytes > c.host.limits.MaxQueue {
			c.end(endSlow, errHeldTooMuch)
			continue
		}
		watcher.held = append(watcher.held, f)
	}
	for h, n := range reached {
		call2(h.hooks.FannedOut, ScopePresence, n)
	}
}

// answered lets what waited for the answer of a hub method follow it. After an error the client knows of no watch.
func (t *watching) answered(c *Connection, w *watcher, err error) {
	list := newWakeList()
	defer list.flush() // one writer at most
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers[c] != w {
		return // it has left, or stopped meanwhile
	}
	if w.calls--; err != nil {
		delete(t.watchers, c)
		if len(t.watchers) == 0 {
			t.end()
		}
		return
	}
	if w.calls > 0 {
		return
	}
	for _, f := range w.held {
		m := &outgoing{}
		m.frames[c.codec], m.made[c.codec] = f, true
		list.push(c, m)
	}
	w.held, w.bytes = nil, 0
}

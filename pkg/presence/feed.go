package presence

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
)

// maxUnread is how many changes may wait for one watcher; then it is told the differences instead.
const maxUnread = 1024

// feed tells watchers on this node of changes. The zero value is ready, and knows nobody who is online.
type feed struct {
	hooks *Hooks // may be nil

	mu       sync.Mutex // guards what follows, together: a watcher's snapshot and what comes behind it must fit
	online   map[string]struct{}
	watchers map[*watcher]struct{}
	closed   bool
}

// watcher is what waits for one watcher.
type watcher struct {
	unread []Update
	count  int             // changes in unread
	behind map[string]bool // instead of unread, once that was too much: how users differ from what the watcher was told
	wake   chan struct{}   // holds a token while something waits
}

// put queues a change. Changes of a user alternate.
func (w *watcher) put(c Change, resync bool) (overflow bool) {
	if w.behind != nil {
		w.toggle(c)
		return false
	}
	if w.count == maxUnread {
		w.behind = make(map[string]bool)
		for _, u := range w.unread {
			for _, c := range u.Changes {
				w.toggle(c)
			}
		}
		w.unread, w.count = nil, 0
		w.toggle(c)
		return true
	}
	if last := len(w.unread) - 1; last < 0 || w.unread[last].Resync != resync {
		w.unread = append(w.unread, Update{Resync: resync})
	}
	last := &w.unread[len(w.unread)-1]
	last.Changes = append(last.Changes, c)
	w.count++
	return false
}

// toggle notes a change of a user, or that an earlier one no longer matters. There are never more notes than users who are online
// and users whom the watcher takes to be.
func (w *watcher) toggle(c Change) {
	if _, differs := w.behind[c.User]; differs {
		delete(w.behind, c.User)
	} else {
		w.behind[c.User] = c.Online
	}
}

// take empties what waits.
func (w *watcher) take() []Update {
	updates := w.unread
	if w.behind != nil {
		u := Update{Resync: true}
		for user, online := range w.behind {
			u.Changes = append(u.Changes, Change{user, online})
		}
		slices.SortFunc(u.Changes, func(a, b Change) int { return cmp.Compare(a.User, b.User) })
		updates = []Update{u}
	}
	w.unread, w.count, w.behind = nil, 0, nil
	return updates
}

// tell applies changes and queues them for all watchers. Those that change nothing are left out, which makes repetitions harmless.
func (f *feed) tell(changes []Change, resync bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.online == nil {
		f.online = make(map[string]struct{})
	}
	news := false
	for _, c := range changes {
		if _, online := f.online[c.User]; online == c.Online {
			continue
		}
		if c.Online {
			f.online[c.User] = struct{}{}
		} else {
			delete(f.online, c.User)
		}
		news = true
		for w := range f.watchers {
			if w.put(c, resync) && f.hooks != nil {
				f.hooks.resynced(Overflow)
			}
		}
	}
	if news {
		f.wakeAll()
	}
}

// replace makes these users those who are online, among those who belong, and queues the differences.
func (f *feed) replace(users map[string]struct{}, belongs func(user string) bool, resync bool) {
	f.mu.Lock()
	var changes []Change
	for user := range f.online {
		if _, online := users[user]; !online && belongs(user) {
			changes = append(changes, Change{user, false})
		}
	}
	for user := range users {
		if _, online := f.online[user]; !online {
			changes = append(changes, Change{user, true})
		}
	}
	f.mu.Unlock()
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.User, b.User) })
	f.tell(changes, resync)
}

// forget empties the feed. Nobody may be watching.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.online = nil
}

// wakeAll makes all watchers look. f.mu must be held.
func (f *feed) wakeAll() {
	for w := range f.watchers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// watch begins a watcher that lasts until ctx ends.
func (f *feed) watch(ctx context.Context, ended func()) ([]string, iter.Seq[Update]) {
	w := &watcher{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	snapshot := slices.Collect(maps.Keys(f.online))
	if f.closed {
		w.wake <- struct{}{}
	} else {
		if f.watchers == nil {
			f.watchers = make(map[*watcher]struct{})
		}
		f.watchers[w] = struct{}{}
	}
	f.mu.Unlock()
	// Whether somebody ranges over the updates or not: nothing is kept beyond ctx.
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		_, known := f.watchers[w]
		delete(f.watchers, w)
		f.mu.Unlock()
		if known && ended != nil {
			ended()
		}
	})
	return snapshot, func(yield func(Update) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			f.mu.Lock()
			updates, closed := w.take(), f.closed
			f.mu.Unlock()
			for _, u := range updates {
				if len(u.Changes) > 0 && (ctx.Err() != nil || !yield(u)) {
					return
				}
			}
			if closed {
				return
			}
		}
	}
}

// close ends all watchers, once they have what waits for them.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wakeAll()
}

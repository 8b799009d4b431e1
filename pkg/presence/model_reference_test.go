package presence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// reference is what a partition must look like, by the rules and not by the scripts.
type reference struct {
	inc    map[string]refIncarnation
	gone   map[string]int64
	u      map[string]map[string]string // user → connection → incarnation; anonymous ones under ""
	due    map[string]int64
	on     map[string]bool
	log    []Change
	since  int64
	last   int64
	server int
	epoch  bool
}

type refIncarnation struct {
	applied uint64
	done    bool
	swept   bool
}

func newReference() *reference {
	return &reference{inc: make(map[string]refIncarnation), gone: make(map[string]int64), u: make(map[string]map[string]string),
		due: make(map[string]int64), on: make(map[string]bool)}
}

func (r *reference) clone() *reference {
	c := *r
	c.inc, c.gone, c.due, c.on, c.log = maps.Clone(r.inc), maps.Clone(r.gone), maps.Clone(r.due), maps.Clone(r.on), slices.Clone(r.log)
	c.u = make(map[string]map[string]string)
	for user, connections := range r.u {
		c.u[user] = maps.Clone(connections)
	}
	return &c
}

func (r *reference) add(user, id, inc string) {
	if r.u[user] == nil {
		r.u[user] = make(map[string]string)
	}
	r.u[user][id] = inc
	if user == "" {
		return
	}
	delete(r.due, user)
	if !r.on[user] {
		r.on[user] = true
		r.log = append(r.log, Change{user, true})
	}
}

func (r *reference) remove(user, id, inc string, now, after int64) {
	if r.u[user][id] != inc {
		return
	}
	delete(r.u[user], id)
	if len(r.u[user]) > 0 {
		return
	}
	delete(r.u, user)
	if user == "" {
		return
	}
	if after > 0 {
		r.due[user] = now + after
		return
	}
	r.offline(user)
}

func (r *reference) offline(user string) {
	delete(r.due, user)
	delete(r.on, user)
	r.log = append(r.log, Change{user, false})
}

// apply says what apply must answer, and does what it must do.
func (r *reference) apply(now int64, args []any) status {
	inc, seq := args[0].(string), args[1].(uint64)
	held, known := r.inc[inc]
	switch {
	case held.swept:
		return statusGone
	case known && seq <= held.applied:
		return statusRepeated
	case !known && (seq != 1 || r.gone[inc] != 0 || now-args[2].(int64) > 30_000):
		return statusGone
	case seq != held.applied+1:
		return statusGap
	}
	if seq == 1 {
		for other := range r.inc {
			if nodeOf(other) == nodeOf(inc) && numberOf(other) > numberOf(inc) {
				return statusGone
			}
		}
		for other := range r.inc {
			if nodeOf(other) == nodeOf(inc) && !r.inc[other].swept {
				r.fence(now, other)
			}
		}
	}
	for i := 6; i < len(args); i += 3 {
		id, user, what := args[i].(string), args[i+1].(string), args[i+2].(string)
		if strings.HasPrefix(what, "+") {
			r.add(user, id, inc)
		} else {
			r.remove(user, id, inc, now, args[4].(int64))
		}
	}
	r.inc[inc] = refIncarnation{applied: seq, done: held.done || args[3] == 1}
	return statusApplied
}

func (r *reference) fence(now int64, inc string) {
	r.inc[inc] = refIncarnation{swept: true}
	for g, at := range r.gone {
		if at <= now-60_000 {
			delete(r.gone, g)
		}
	}
	if r.gone[inc] == 0 {
		r.gone[inc] = now
	}
}

func (r *reference) tick(now int64, server int, gap, hold int64) {
	switch {
	case !r.epoch:
		r.epoch, r.since = true, now
	case now-r.last > gap || r.server != server:
		r.since = now
	}
	r.last, r.server = now, server
	if now-r.since < hold {
		return
	}
	users := slices.SortedFunc(maps.Keys(r.due), func(a, b string) int {
		if r.due[a] != r.due[b] {
			return int(r.due[a] - r.due[b])
		}
		return strings.Compare(a, b)
	})
	for _, user := range users {
		if r.due[user] <= now {
			r.offline(user)
		}
	}
}

func (r *reference) sweep(now int64, args []any) bool {
	inc, remain, gap, hold := args[0].(string), args[1].(int64), args[2].(int64), args[3].(int64)
	if hold > 0 && (!r.epoch || now-r.last > gap || now-r.since < hold) {
		return false
	}
	for other, held := range r.inc {
		if nodeOf(other) == nodeOf(inc) && numberOf(other) > numberOf(inc) && !held.done && !held.swept {
			return false
		}
	}
	r.fence(now, inc)
	for i := 4; i < len(args); i += 2 {
		r.remove(args[i+1].(string), args[i].(string), inc, now, remain)
	}
	for _, connections := range r.u {
		for _, other := range connections {
			if other == inc {
				return true
			}
		}
	}
	delete(r.inc, inc)
	return true
}

// exec runs a call on Redis and on the model, and checks every invariant.
func (w *world) exec(c simCall) []any {
	w.t.Helper()
	w.steps++
	w.kinds[c.kind]++
	w.now += 7
	w.note("%s %s %v", c.node.id, c.kind, c.args)
	before := len(w.ref.log)
	var want any
	fenced := false
	state := ""
	switch c.kind {
	case "apply":
		held, known := w.ref.inc[c.args[0].(string)]
		if fenced = held.swept || !known && w.ref.gone[c.args[0].(string)] != 0; fenced {
			state = w.state
		}
		want = int64(w.ref.apply(w.ms(), c.args))
	case "tick":
		w.ref.tick(w.ms(), w.server, simGap, simLife)
	case "sweep":
		want = int64(0)
		if w.ref.sweep(w.ms(), c.args) {
			want = int64(1)
		}
	}
	reply := w.ask(c.script, c.keys, c.args)
	if reply == nil {
		return nil
	}
	if want != nil && reply[0] != want {
		w.fail("%s answered %v, want %v", c.kind, reply, want)
	}
	// 4: what a swept incarnation sends changes nothing.
	if fenced && state != w.state {
		w.fail("a batch of an incarnation that was swept had an effect")
	}
	w.check()
	// 6: nobody goes offline who is connected to a node that holds its lease.
	for _, change := range w.ref.log[before:] {
		w.kinds[fmt.Sprint("online ", change.Online)]++
		if !change.Online {
			w.checkOffline(change.User, c.kind)
		}
	}
	// What was rightly swept counts again when it has been announced again.
	if c.kind == "sweep" {
		for i := 4; i < len(c.args); i += 2 {
			id, user := c.args[i].(string), c.args[i+1].(string)
			if _, there := w.ref.u[user][id]; !there {
				for _, n := range w.nodes {
					delete(n.claimed, id)
				}
			}
		}
	}
	return reply
}

func (w *world) checkOffline(user, why string) {
	w.t.Helper()
	for _, n := range w.nodes {
		if !n.healthy() || !n.joined || n.number == 0 || w.ms() >= n.until {
			continue
		}
		for id, m := range n.members {
			if m.User == user && n.claimed[id] {
				w.fail("%s: %q went offline, and %s of %s is connected", why, user, id, n.ledger.incarnation)
			}
		}
	}
}

// ask runs a script at the present time, and gets all that Redis holds then, as text.
func (w *world) ask(s script, keys []string, args []any) []any {
	ctx := context.Background()
	pipe := w.client.Pipeline()
	pipe.MSet(ctx, "clock", w.now, "server", fmt.Sprintf("%x", w.server))
	reply := pipe.EvalSha(ctx, s.sha, keys, args...)
	state := pipe.EvalSha(ctx, w.dumper, []string{"m:*"})
	if _, err := pipe.Exec(ctx); err != nil {
		w.fail("%v", err)
		return nil
	}
	w.state = state.Val().(string)
	return reply.Val().([]any)
}

const dumpScript = `
local names = redis.call('KEYS', KEYS[1])
table.sort(names)
local out = {}
for _, name in ipairs(names) do
	local kind = redis.call('TYPE', name).ok
	local list
	if kind == 'hash' then list = redis.call('HGETALL', name)
	elseif kind == 'zset' then list = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
	elseif kind == 'stream' then
		list = {}
		for _, e in ipairs(redis.call('XRANGE', name, '-', '+')) do
			list[#list + 1] = e[1]
			list[#list + 1] = e[2][2] .. '\30' .. e[2][4] .. '\30' .. e[2][6]
		end
	else list = {redis.call('GET', name)} end
	out[#out + 1] = name .. '\31' .. table.concat(list, '\31')
end
return table.concat(out, '\29')`

// check compares Redis with the model, and checks the invariants that are about Redis alone.
func (w *world) check() {
	w.t.Helper()
	got := newReference()
	n := make(map[string]map[string]string) // incarnation → connection → user
	var log []string
	end := noEntry
	for _, part := range strings.Split(w.state, "\x1d") {
		fields := strings.Split(part, "\x1f")
		name := strings.TrimPrefix(fields[0], w.keys.prefix)
		values := fields[1:]
		switch {
		case strings.HasPrefix(name, "u:"):
			user := name[2:]
			got.u[user] = make(map[string]string)
			for i := 0; i < len(values); i += 2 {
				got.u[user][values[i]], _, _ = strings.Cut(values[i+1], "\n")
			}
		case strings.HasPrefix(name, "n:"):
			n[name[2:]] = make(map[string]string)
			for i := 0; i < len(values); i += 2 {
				n[name[2:]][values[i]] = userOf(values[i+1])
			}
		case name == "inc":
			for i := 0; i < len(values); i += 2 {
				applied, done, known := parseHeld(values[i+1])
				got.inc[values[i]] = refIncarnation{applied, done, !known}
			}
		case name == "due":
			for i := 0; i < len(values); i += 2 {
				got.due[values[i]], _ = strconv.ParseInt(values[i+1], 10, 64)
			}
		case name == "on":
			for i := 0; i < len(values); i += 2 {
				got.on[values[i]] = true
			}
		case name == "log":
			log = values
		case name == "ver":
			end = values[0]
		}
	}
	// 2: a connection is in u with an incarnation exactly if it is in that one's n, and it is in no other.
	for inc, connections := range n {
		for id, user := range connections {
			if user == "" {
				if got.u[""] == nil {
					got.u[""] = make(map[string]string)
				}
				if other, twice := got.u[""][id]; twice {
					w.fail("%s is of %s and of %s", id, inc, other)
				}
				got.u[""][id] = inc
			} else if got.u[user][id] != inc {
				w.fail("%s of %q is in n:%s; u says %q", id, user, inc, got.u[user][id])
			}
		}
	}
	for user, connections := range got.u {
		for id, inc := range connections {
			if there, found := n[inc][id]; !found || there != user {
				w.fail("%s of %q is in u with %s, and not in its n", id, user, inc)
			}
		}
		// 1, one half
		if user != "" && !got.on[user] {
			w.fail("%q has connections and is not online", user)
		}
	}
	// 1, the other
	for user := range got.on {
		if _, leaving := got.due[user]; leaving == (len(got.u[user]) > 0) {
			w.fail("%q is online; leaving: %v; connections: %v", user, leaving, got.u[user])
		}
	}
	for user := range got.due {
		if !got.on[user] {
			w.fail("%q is leaving and is not online", user)
		}
	}
	// 3: the log is without gaps, and the changes of a user alternate.
	previous, online := noEntry, make(map[string]bool)
	for i := 0; i+1 < len(log); i += 2 {
		id, f := log[i], strings.Split(log[i+1], "\x1e")
		if versionOf(id) != uint64(i/2+1) || f[2] != previous {
			w.fail("entry %d of the log is %s after %s", i/2, id, f[2])
		}
		previous = id
		c := Change{f[0], f[1] == "1"}
		if online[c.User] == c.Online {
			w.fail("the log says twice of %q: %v", c.User, c.Online)
		}
		online[c.User] = c.Online
		got.log = append(got.log, c)
	}
	if end != previous {
		w.fail("ver is %s, and the log ends with %s", end, previous)
	}
	// 5: and all of it is as if each call had come once, and in order.
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"inc", got.inc, w.ref.inc}, {"u", got.u, w.ref.u}, {"due", got.due, w.ref.due}, {"on", got.on, w.ref.on}, {"log", got.log, w.ref.log},
	} {
		if a, b := fmt.Sprint(c.got), fmt.Sprint(c.want); a != b {
			w.fail("%s is\n%s; want\n%s", c.what, a, b)
		}
	}
}

// simWatcher follows the log as a tail does.
type simWatcher struct {
	follower
	online map[string]bool
	begun  bool
	wait   int64 // µs: no snapshot before
}

// look takes a look at the log, and at the end of it; when it cannot be followed, later a snapshot.
func (s *simWatcher) look(w *world) {
	ctx := context.Background()
	if !s.begun {
		s.begun, s.online = true, make(map[string]bool)
	}
	look := func() ticked {
		t, err := parseTicked(w.ask(w.scripts.tick, w.keys.common, []any{"", 0, simGap, simLife}))
		w.redis(err)
		return t
	}
	if s.last == "" {
		if w.now < s.wait {
			return
		}
		users, err := w.client.ZRange(ctx, w.keys.on(), 0, -1).Result()
		w.redis(err)
		t := look()
		if t.now-t.since < 2*simLife {
			return // what is there may not be all
		}
		for _, user := range slices.Sorted(maps.Keys(s.online)) {
			if !slices.Contains(users, user) {
				delete(s.online, user)
				w.checkOffline(user, "resync")
			}
		}
		for _, user := range users {
			s.online[user] = true
		}
		s.last = t.ver
		return
	}
	fault := s.check(s.last, look().ver)
	if fault == sound {
		entries, err := w.client.XRange(ctx, w.keys.log(), "("+s.last, "+").Result()
		w.redis(err)
		for _, x := range entries {
			e, ok := readEntry(x.ID, x.Values)
			if !ok {
				w.fail("entry %v", x)
			}
			if fault = s.next(e); fault != sound {
				break
			}
			if s.online[e.User] == e.Online {
				w.fail("the watcher is told twice of %q: %v", e.User, e.Online)
			}
			if e.Online {
				s.online[e.User] = true
			} else {
				delete(s.online, e.User)
			}
		}
	}
	if fault != sound {
		w.kinds["resyncs"]++
		w.note("the watcher cannot follow the log")
		s.last, s.wait = "", w.now+2*simLife*1000
	}
}

package presence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// holds says whether the node holds its lease, as far as it knows.
func (w *world) holds(n *simNode) bool {
	if n.number != 0 && w.ms() >= n.until {
		w.begin(n, 0)
		w.prune(n)
	}
	return n.number != 0
}

// prune takes the claims of a node whose lease has run out from those connections that Redis does not know: nobody has to wait for it.
func (w *world) prune(n *simNode) {
	for id, m := range n.members {
		if _, there := w.ref.u[m.User][id]; !there {
			delete(n.claimed, id)
		}
	}
}

// begin starts a new incarnation of a node, or with number 0 ends the present one.
func (w *world) begin(n *simNode, number uint64) {
	n.number, n.joined = number, false
	if number == 0 {
		w.note("%s holds no lease", n.id)
		n.ledger.end()
		return
	}
	var there []*member
	for _, id := range slices.Sorted(maps.Keys(n.members)) {
		there = append(there, n.members[id])
	}
	n.ledger.begin(fmt.Sprintf("%s#%d", n.id, number), there)
	w.note("%s is %s", n.id, n.ledger.incarnation)
}

// renew does what cluster's lease.lua does.
func (w *world) renew(n *simNode) {
	if !n.healthy() {
		return
	}
	l := w.leases[n.id]
	if l.until <= w.ms() {
		l = simLease{}
	}
	if w.holds(n) && l.number == n.number {
		w.leases[n.id] = simLease{l.number, w.ms() + simLife}
		n.until = w.ms() + simLife
		return
	}
	next := max(l.number, n.last()) + 1
	w.leases[n.id] = simLease{next, w.ms() + simLife}
	n.until = w.ms() + simLife
	w.begin(n, next)
}

// last is the number of the last lease that the node has held.
func (n *simNode) last() uint64 {
	last := n.number
	for _, f := range n.ledger.formers {
		last = max(last, numberOf(f))
	}
	return last
}

func (w *world) live(incarnation string) bool {
	l := w.leases[nodeOf(incarnation)]
	return l.until > w.ms() && l.number == numberOf(incarnation)
}

// send sends what a node has to tell next.
func (w *world) send(n *simNode) {
	if n.crashed || n.paused || !w.holds(n) {
		return
	}
	b := n.ledger.next(simGrace)
	if b == nil {
		return
	}
	c := simCall{kind: "apply", script: w.scripts.apply, keys: b.keys, args: b.args, node: n, batch: b}
	if n.cut {
		w.delay(c)
		return
	}
	w.deliver(c)
}

// deliver lets a call meet one of the fates of the network.
func (w *world) deliver(c simCall) {
	switch p := w.chance.IntN(10); {
	case p == 0:
		w.delay(c)
	case p == 1:
		w.note("the reply to this is lost:")
		w.exec(c)
	case p == 2:
		w.answer(c, w.exec(c))
		w.delay(c) // a duplicate that comes later
	default:
		w.answer(c, w.exec(c))
	}
}

func (w *world) delay(c simCall) {
	w.kinds["delayed"]++
	w.late = append(w.late, c)
	if len(w.late) > 20 {
		w.late = w.late[1:]
	}
}

// runLate lets a delayed call arrive. Nobody waits for its reply any more.
func (w *world) runLate() {
	if len(w.late) == 0 {
		return
	}
	i := w.chance.IntN(len(w.late))
	c := w.late[i]
	if w.chance.IntN(3) > 0 {
		w.late = slices.Delete(w.late, i, i+1)
	}
	w.note("late:")
	w.exec(c)
}

func (w *world) answer(c simCall, reply []any) {
	n := c.node
	switch c.kind {
	case "apply":
		s, _ := reply[0].(int64)
		cause := n.ledger.answered(c.batch, status(s))
		if cause != "" {
			w.renounce(n, cause)
			return
		}
		n.joined = true
		for i := 6; i < len(c.args); i += 3 {
			if strings.HasPrefix(c.args[i+2].(string), "+") {
				n.claimed[c.args[i].(string)] = true
			}
		}
	case "tick":
		t, err := parseTicked(reply)
		w.redis(err)
		if n.ledger.incarnation != "" && n.ledger.begun == 0 {
			n.ledger.begun = t.now
		}
		if cause := n.ledger.check(c.m, t.held[c.m.incarnation]); cause != "" {
			w.renounce(n, cause)
			return
		}
		w.suspect(n, t.held)
	}
}

func (w *world) renounce(n *simNode, cause Cause) {
	w.note("%s gives up %s: %s", n.id, n.ledger.incarnation, cause)
	w.kinds[string(cause)]++
	w.begin(n, 0)
	w.renew(n)
}

// suspect plans sweeps of incarnations that hold no lease.
func (w *world) suspect(n *simNode, held map[string]string) {
	for inc := range n.dead {
		if _, there := held[inc]; !there {
			delete(n.dead, inc)
		}
	}
	for _, inc := range slices.Sorted(maps.Keys(held)) {
		own := nodeOf(inc) == n.id
		if inc == n.ledger.incarnation || w.live(inc) {
			continue
		}
		if n.dead[inc] == 0 {
			n.dead[inc] = w.ms()
		}
		if own && n.ledger.done || !own && w.ms()-n.dead[inc] >= 1000 {
			if !slices.ContainsFunc(n.sweeps, func(s *simSweep) bool { return s.incarnation == inc }) {
				n.sweeps = append(n.sweeps, &simSweep{incarnation: inc, own: own})
			}
		}
	}
	slices.SortFunc(n.sweeps, func(a, b *simSweep) int { return int(numberOf(b.incarnation)) - int(numberOf(a.incarnation)) })
}

func (w *world) tick(n *simNode) {
	if !n.healthy() || !w.holds(n) {
		return
	}
	n.ticked = w.ms()
	w.deliver(simCall{kind: "tick", script: w.scripts.tick, keys: w.keys.common,
		args: []any{n.ledger.incarnation, 100, simGap, simLife}, node: n, m: n.ledger.mark()})
}

// sweep does one step of a sweep that the node has planned.
func (w *world) sweep(n *simNode) {
	if !n.healthy() || !w.holds(n) || len(n.sweeps) == 0 {
		return
	}
	i := w.chance.IntN(len(n.sweeps))
	s := n.sweeps[i]
	hold, remain := 2*simLife, max(0, simGrace-simLife)
	if s.own {
		hold, remain = 0, simGrace
	}
	key := w.keys.node(s.incarnation)
	c := simCall{kind: "sweep", script: w.scripts.sweep, keys: append(slices.Clone(w.keys.common), key), args: []any{s.incarnation, remain, simGap, hold}, node: n}
	for i := 0; i < len(s.pairs); i += 2 {
		user := userOf(s.pairs[i+1])
		c.args = append(c.args, s.pairs[i], user)
		if user == "" {
			c.keys = append(c.keys, key)
		} else {
			c.keys = append(c.keys, w.keys.user(user))
		}
	}
	if w.chance.IntN(5) == 0 {
		w.delay(c)
	}
	reply, err := numbers(w.exec(c), 5)
	w.redis(err)
	if reply[0] == 0 || reply[4] == 0 {
		n.sweeps = slices.Delete(n.sweeps, i, i+1)
		return
	}
	kv, err := w.client.HRandFieldWithValues(context.Background(), key, 2).Result()
	w.redis(err)
	s.pairs = nil
	for _, e := range kv {
		s.pairs = append(s.pairs, e.Key, e.Value)
	}
}

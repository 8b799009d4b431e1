package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// patience is how long nothing at all may come while something is still missing.
const patience = 20 * time.Second

// check holds what was received in this round against what was sent. Everybody must be at rest. It waits for what is still
// under way.
func (m *model) check() {
	m.awaitDeliveries()
	m.mu.Lock()
	conns := slices.Clone(m.conns)
	m.mu.Unlock()
	stamps := make([]int32, len(m.messages))
	for i, c := range conns {
		m.checkConn(c, stamps, int32(i+1))
	}
	m.checkOneOrder(conns)
}

// wants are the messages of this round that must reach each connection: those whose sending went well and was not near an
// outage, for who was there before they were sent, and still is.
func (m *model) wants() map[*conn][]*message {
	living := slices.DeleteFunc(m.living(), func(c *conn) bool { return m.troubled[c.node] })
	byID, byUser, byRoom := map[string][]*conn{}, map[string][]*conn{}, map[string][]*conn{}
	since := map[*conn]map[string]moment{}
	for _, c := range living {
		c.mu.Lock()
		byID[c.id] = append(byID[c.id], c)
		if c.user != "" {
			byUser[c.user] = append(byUser[c.user], c)
		}
		since[c] = map[string]moment{}
		for _, s := range c.rooms {
			if at, ok := c.in(s.room); ok && since[c][s.room] == 0 {
				since[c][s.room] = at
				byRoom[s.room] = append(byRoom[s.room], c)
			}
		}
		c.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	wants := map[*conn][]*message{}
	for _, msg := range m.messages[m.round:] {
		if !msg.over || msg.err != nil || m.disturbed(msg.begun, msg.ended) {
			continue
		}
		kind, name, _ := strings.Cut(msg.channel, ":")
		audience := map[string][]*conn{"all": living, "group": byRoom[name], "user": byUser[name], "connection": byID[name]}[kind]
		for _, c := range audience {
			from := c.born
			if kind == "group" {
				from = since[c][name]
			}
			if from < msg.begun && c != msg.except {
				wants[c] = append(wants[c], msg)
			}
		}
	}
	return wants
}

// awaitDeliveries waits until everybody has what must come, or nothing has come for a while.
func (m *model) awaitDeliveries() {
	wants := m.wants()
	for {
		before := m.received()
		for c, want := range wants {
			if want = c.missing(want); len(want) == 0 {
				delete(wants, c)
			} else {
				wants[c] = want
			}
		}
		if len(wants) == 0 {
			return
		}
		if !m.awaitMore(before) {
			break
		}
	}
	for c, missing := range wants {
		if c.lives() {
			m.problem("%v has not got %d messages that were sent to it; the first: %s", c, len(missing), m.explain(c, missing[0]))
		}
	}
}

// received counts what has come in this round.
func (m *model) received() int {
	n := 0
	for _, c := range m.living() {
		c.mu.Lock()
		n += len(c.log)
		c.mu.Unlock()
	}
	return n
}

// awaitMore waits until more has come than so much.
func (m *model) awaitMore(than int) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for m.received() == than {
		select {
		case <-m.changed:
		case <-limit.C:
			return false
		}
	}
	return true
}

func (c *conn) missing(want []*message) []*message {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := make(map[int32]bool, len(c.log))
	for _, r := range c.log {
		got[r.message] = true
	}
	var missing []*message
	for _, msg := range want {
		if !got[int32(msg.id)] {
			missing = append(missing, msg)
		}
	}
	return missing
}

// checkConn looks for what came twice, in a wrong order, or to the wrong one. stamps is scratch space, and mark is new in it.
func (m *model) checkConn(c *conn, stamps []int32, mark int32) {
	type stream struct {
		from    *conn
		channel string
	}
	last := map[stream]*message{}
	c.mu.Lock()
	log := slices.Clone(c.log)
	c.mu.Unlock()
	for _, r := range log {
		if int(r.message) >= len(m.messages) || r.message < 0 {
			m.problem("%v got message %d, which nobody sent", c, r.message)
			continue
		}
		msg := m.messages[r.message]
		if stamps[r.message] == mark || msg.id < m.round && slices.Contains(c.old, r.message) {
			m.problem("%v got a message twice: %s", c, m.explain(c, msg))
			continue
		}
		stamps[r.message] = mark
		if why := c.barred(msg, r.at); why != "" {
			m.problem("%v got a message that was not for it (%s): %s", c, why, m.explain(c, msg))
		}
		s := stream{msg.from, msg.channel}
		before := last[s]
		if before == nil && msg.id < m.round {
			before = m.lastOf(c.old, msg)
		}
		if before != nil && before.seq > msg.seq {
			m.problem("%v got a sender's messages in the wrong order, number %d before number %d: %s", c, before.seq, msg.seq, m.explain(c, msg))
		}
		last[s] = msg
	}
}

// lastOf finds the last message of the same sender on the same channel among those of earlier rounds.
func (m *model) lastOf(ids []int32, of *message) *message {
	for _, id := range slices.Backward(ids) {
		if msg := m.messages[id]; msg.from == of.from && msg.channel == of.channel {
			return msg
		}
	}
	return nil
}

// barred says why a connection should not have got a message; empty if it may.
func (c *conn) barred(msg *message, at moment) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind, name, _ := strings.Cut(msg.channel, ":")
	switch {
	case c == msg.except:
		return "it is the one who was excepted"
	case kind == "user" && c.user != name:
		return "it is another user's"
	case kind == "connection" && c.id != name:
		return "it has another id"
	case kind == "group":
		for _, s := range c.rooms {
			if s.room == name && s.asked < at && (s.left == 0 || msg.begun < s.left) {
				return ""
			}
		}
		return "it was no member"
	}
	return ""
}

// checkOneOrder looks for two connections that got messages of a channel in different orders.
func (m *model) checkOneOrder(conns []*conn) {
	type pair struct{ a, b int32 }
	follows := map[string]map[pair]*conn{} // by channel: who got b right after a
	for _, c := range conns {
		last, seen := map[string]int32{}, map[int32]bool{}
		c.mu.Lock()
		for _, r := range c.log {
			if int(r.message) >= len(m.messages) || r.message < 0 || seen[r.message] {
				continue
			}
			seen[r.message] = true
			channel := m.messages[r.message].channel
			if a, ok := last[channel]; ok {
				if follows[channel] == nil {
					follows[channel] = map[pair]*conn{}
				}
				follows[channel][pair{a, r.message}] = c
			}
			last[channel] = r.message
		}
		c.mu.Unlock()
	}
	for channel, pairs := range follows {
		next := map[int32][]int32{}
		for p := range pairs {
			next[p.a] = append(next[p.a], p.b)
		}
		if cycle := findCycle(next); cycle != nil {
			var b strings.Builder
			fmt.Fprintf(&b, "receivers disagree about the order on %s:", channel)
			for i, a := range cycle {
				after := cycle[(i+1)%len(cycle)]
				fmt.Fprintf(&b, "\n\t%v got m%d before m%d", pairs[pair{a, after}], a, after)
			}
			fmt.Fprintf(&b, "\n\t%s", m.explain(pairs[pair{cycle[0], cycle[1%len(cycle)]}], m.messages[cycle[0]]))
			m.problem("%s", b.String())
		}
	}
}

// findCycle returns the members of a cycle of a graph, in order; nil if there is none.
func findCycle(next map[int32][]int32) []int32 {
	const (
		unseen = iota
		open
		done
	)
	state := map[int32]int{}
	var path, cycle []int32
	var visit func(v int32) bool
	visit = func(v int32) bool {
		state[v] = open
		path = append(path, v)
		for _, w := range next[v] {
			switch state[w] {
			case open:
				cycle = slices.Clone(path[slices.Index(path, w):])
				return true
			case unseen:
				if visit(w) {
					return true
				}
			}
		}
		path = path[:len(path)-1]
		state[v] = done
		return false
	}
	for v := range next {
		if state[v] == unseen && visit(v) {
			return cycle
		}
	}
	return nil
}

// explain tells the story of a message and of a connection with it.
func (m *model) explain(c *conn, msg *message) string {
	var b strings.Builder
	m.mu.Lock()
	conns, history := slices.Clone(m.conns), slices.Clone(m.history)
	ended := "is still under way"
	if msg.over {
		ended = fmt.Sprintf("ended at %s with error %v", seconds(msg.ended), msg.err)
	}
	m.mu.Unlock()
	fmt.Fprintf(&b, "m%d, number %d to %s\n\tsent by %v: began at %s, %s", msg.id, msg.seq, msg.channel, msg.from, seconds(msg.begun), ended)

	c.mu.Lock()
	fmt.Fprintf(&b, "\n\treceiver: there since %s, sockets cut %d times", seconds(c.born), c.cuts)
	if c.gone != 0 {
		fmt.Fprintf(&b, ", gone at %s (%s)", seconds(c.gone), c.why)
	}
	for _, s := range c.rooms {
		if toGroup(s.room) == msg.channel {
			fmt.Fprintf(&b, "\n\tmembership: join began %s, ended %s; leave began %s, ended %s", seconds(s.asked), seconds(s.since), seconds(s.asking), seconds(s.left))
		}
	}
	fmt.Fprintf(&b, "\n\treceived from this sender on this channel:")
	for _, r := range c.log {
		if int(r.message) >= len(m.messages) || r.message < 0 {
			continue
		}
		if other := m.messages[r.message]; other.from == msg.from && other.channel == msg.channel {
			fmt.Fprintf(&b, " %d at %s,", other.seq, seconds(r.at))
		}
	}
	c.mu.Unlock()

	got, of := map[string]int{}, map[string]int{}
	for _, other := range conns {
		other.mu.Lock()
		of[other.node]++
		if slices.ContainsFunc(other.log, func(r receipt) bool { return int(r.message) == msg.id }) {
			got[other.node]++
		}
		other.mu.Unlock()
	}
	fmt.Fprintf(&b, "\n\twho got it in this round, by node: %v of %v", got, of)
	fmt.Fprintf(&b, "\n\twhat happened to the cluster:")
	for _, e := range history {
		if e.at > msg.begun-30*time.Second && e.at < msg.begun+30*time.Second {
			fmt.Fprintf(&b, " %s at %s;", e.what, seconds(e.at))
		}
	}
	return b.String()
}

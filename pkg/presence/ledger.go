package presence

import (
	"slices"
	"strconv"
)

const (
	// maxBatch is how many changes are sent to a partition at once.
	maxBatch = 256
	// maxPending is how many changes may wait in a partition. One more, and the incarnation is given up: announcing what is there
	// costs less than telling how it came about.
	maxPending = 16 << 10
	// maxFormers is how many former incarnations of this node are kept in mind. What is left of them may come back with an older state
	// of Redis.
	maxFormers = 16
)

// member is a connection of this node.
type member struct {
	Connection
	left   bool
	queued bool          // its coming, or its new metadata, waits to be sent
	known  bool          // Redis has been told of it
	told   chan struct{} // closed when known becomes true; nil while nobody waits for that
}

// tell notes that Redis has been told of m.
func (m *member) tell() {
	if m.known = true; m.told != nil {
		close(m.told)
		m.told = nil
	}
}

// change is something to tell a partition: that a connection is there, or that it has left.
type change struct {
	member *member
	there  bool
}

// ledger is what one partition has been told and is to be told by this node. It does no I/O, so that a test can lead it through
// every misfortune. One batch is under way at a time, and is repeated as it is until it is answered: lost replies and late
// duplicates do no harm.
type ledger struct {
	keys        keys
	most        int    // changes in a batch; 0 means maxBatch
	incarnation string // empty: there is none, and nothing to tell
	formers     []string
	begun       int64     // the partition's time, ms, when the incarnation was begun; 0 until known
	applied     uint64    // number of the last batch that was answered
	announce    []*member // what the incarnation has to announce first
	queue       []change
	done        bool // Redis knows that all has been announced
	under       *batch
}

// batch is one call of apply.
type batch struct {
	seq     uint64
	changes int
	done    bool
	news    []*member // whom Redis hears of for the first time
	keys    []string
	args    []any
}

// begin starts with a new incarnation and the connections that it has to announce.
func (l *ledger) begin(incarnation string, there []*member) {
	if l.incarnation != "" {
		l.formers = append(l.formers, l.incarnation)
		l.formers = l.formers[max(0, len(l.formers)-maxFormers):]
	}
	for _, c := range l.queue {
		c.member.queued = false
	}
	l.incarnation, l.begun, l.applied, l.done = incarnation, 0, 0, false
	l.announce, l.queue, l.under = there, nil, nil
}

// end stops telling anything until the next begin.
func (l *ledger) end() {
	l.begin("", nil)
}

// tell queues a change. It says false when too many wait.
func (l *ledger) tell(c change) bool {
	if l.incarnation == "" {
		return true // the next begin knows what is there
	}
	if c.there {
		if c.member.queued {
			return true
		}
		c.member.queued = true
	}
	l.queue = append(l.queue, c)
	return len(l.queue) <= maxPending
}

// pending is how many changes wait or are under way.
func (l *ledger) pending() int {
	n := len(l.queue) + len(l.announce)
	if l.under != nil {
		n += l.under.changes
	}
	return n
}

// next is what to send now; nil when there is nothing. It is the same until it was answered.
func (l *ledger) next(graceMS int64) *batch {
	if l.under != nil {
		return l.under
	}
	if l.incarnation == "" || l.begun == 0 || l.done && len(l.queue) == 0 {
		return nil
	}
	most := l.most
	if most == 0 {
		most = maxBatch
	}
	b := &batch{seq: l.applied + 1}
	node := l.keys.node(l.incarnation)
	b.keys = append(slices.Clone(l.keys.common), node)
	for _, former := range l.formers {
		b.keys = append(b.keys, l.keys.node(former))
	}
	b.args = []any{l.incarnation, b.seq, l.begun, 0, graceMS, len(l.formers)}
	add := func(m *member, what string) {
		key := node
		if m.User != "" {
			key = l.keys.user(m.User)
		}
		b.keys = append(b.keys, key)
		b.args = append(b.args, m.ID, m.User, what)
		if !m.known && !m.left {
			b.news = append(b.news, m)
		}
		b.changes++
	}
	for b.changes < most && len(l.announce) > 0 {
		m := l.announce[0]
		l.announce = l.announce[1:]
		if !m.left {
			add(m, "+"+encodeDetails(&m.Connection))
		}
	}
	for b.changes < most && len(l.queue) > 0 {
		c := l.queue[0]
		l.queue = l.queue[1:]
		if c.there {
			c.member.queued = false
			add(c.member, "+"+encodeDetails(&c.member.Connection))
		} else {
			add(c.member, "-")
		}
	}
	if len(l.announce) == 0 {
		l.announce, b.done = nil, true
		b.args[3] = 1
	}
	if len(l.queue) == 0 {
		l.queue = nil
	}
	l.under = b
	return b
}

// Status is what apply says about a batch.
type status int64

const (
	statusApplied  status = 1
	statusRepeated status = 0
	statusGone     status = -1
	statusGap      status = -2
)

// answered notes the reply to a batch. It returns the cause to give the incarnation up, or nothing. Replies to other batches
// than the one under way are late, and mean nothing.
func (l *ledger) answered(b *batch, s status) Cause {
	if l.under != b {
		return ""
	}
	switch s {
	case statusGone:
		return Gone
	case statusGap:
		return Gap
	}
	l.applied, l.under = b.seq, nil
	for _, m := range b.news {
		m.tell()
	}
	l.done = l.done || b.done
	return ""
}

// mark is what is known of a ledger before its partition is asked what it knows.
type mark struct {
	incarnation string
	applied     uint64
}

func (l *ledger) mark() mark { return mark{l.incarnation, l.applied} }

// check compares what Redis holds about the incarnation with what it must hold at least. It returns the cause to give it up, or nothing.
// A failover that has lost writes is noticed here, also by a node that has nothing to tell.
func (l *ledger) check(m mark, held string) Cause {
	if m.incarnation == "" || m.incarnation != l.incarnation {
		return ""
	}
	if applied, _, known := parseHeld(held); !known && m.applied > 0 {
		return Gone
	} else if applied < m.applied {
		return Gap
	}
	return ""
}

// parseHeld reads what a partition holds about an incarnation. It is not known when it is being swept.
func parseHeld(text string) (applied uint64, done, known bool) {
	for i := range len(text) {
		if text[i] == ':' {
			applied, err := strconv.ParseUint(text[:i], 10, 64)
			return applied, text[i+1:] == "1", err == nil
		}
	}
	return 0, false, false
}

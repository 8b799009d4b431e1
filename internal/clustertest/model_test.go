package clustertest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A moment is the time since the test began. What ended before something else began has a smaller one.
type moment = time.Duration

// A model is the truth as those who act know it: who is there, who is in which room, what was sent and what came.
type model struct {
	start   time.Time
	changed chan struct{} // has something in it when something was received since it was empty

	mu       sync.Mutex
	conns    []*conn
	messages []*message
	outages  []span          // of Redis
	troubled map[string]bool // processes whose clients may have missed something in this round
	history  []event
	problems []string
	round    int // the first message of the round
}

// A span has no end while it lasts.
type span struct{ from, to moment }

// An event is something that was done to the cluster.
type event struct {
	at   moment
	what string
}

func newModel() *model {
	return &model{start: time.Now(), changed: make(chan struct{}, 1), troubled: map[string]bool{}}
}

func (m *model) now() moment { return time.Since(m.start) }

// note adds to the history.
func (m *model) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = append(m.history, event{m.now(), fmt.Sprintf(format, args...)})
}

// maxProblems bounds what is kept: the first ones tell most.
const maxProblems = 30

func (m *model) problem(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.problems) < maxProblems {
		m.problems = append(m.problems, fmt.Sprintf("at %s: ", seconds(m.now()))+fmt.Sprintf(format, args...))
	}
}

func (m *model) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.problems) > 0
}

// A message is one send to one channel.
type message struct {
	id           int
	from         *conn
	channel      string
	except       *conn // is not to get it
	seq          int   // of this sender on this channel
	begun, ended moment
	err          error // with which the send ended
	over         bool
}

// The channels are named as on the backplane.
const toAll = "all"

func toGroup(room string) string    { return "group:" + room }
func toUser(user string) string     { return "user:" + user }
func toConnection(id string) string { return "connection:" + id }

// A conn is one connection of an actor from its beginning to its end.
type conn struct {
	model     *model
	actor     string
	number    int // of the actor's
	user      string
	transport string

	mu     sync.Mutex
	id     string
	node   string // empty until it has told
	born   moment // when the client knew of it; zero before
	gone   moment // when its end began or was noticed; zero before
	why    string
	doomed string // why its loss is to be expected
	cuts   int
	cut    moment // the last of them
	rooms  []*stay
	log    []receipt
	old    []int32        // what was received in the rounds before
	next   map[string]int // what was sent to which channel; the actor's goroutine alone has it
}

// A stay is a membership of a room.
type stay struct {
	room                       string
	asked, since, asking, left moment // zero: not yet, or nobody knows
}

type receipt struct {
	message int32
	at      moment
}

func (c *conn) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%s#%d (user %q, %s, id %s, on %s)", c.actor, c.number, c.user, c.transport, c.id, c.node)
}

// open begins a connection that nobody knows of yet.
func (m *model) open(c *conn) *conn {
	c.model, c.next = m, map[string]int{}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
	return c
}

// is says that the client knows of its connection.
func (c *conn) is(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.born = id, c.model.now()
}

// ends says that the connection ends, or has ended.
func (c *conn) ends(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == 0 {
		c.gone, c.why = c.model.now(), why
	}
}

func (c *conn) lives() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.born != 0 && c.gone == 0
}

// outageConnect is how long before a client knows of its connection Redis may have been away, for its WebSocket to have been
// forwarded: without Redis, only the node that negotiated lets it in.
const outageConnect = 10 * time.Second

// dependsOn says whether the connection may end with a node: when it is there, or what it sends or gets may be forwarded by it.
func (c *conn) dependsOn(n *node) bool {
	c.mu.Lock()
	born, node := c.born, c.node
	direct := strings.HasSuffix(c.transport, "WebSockets") && c.cuts == 0 && node != ""
	c.mu.Unlock()
	return !direct || strings.HasPrefix(node, n.name+"-") || c.model.wasAway(born-outageConnect, born)
}

// receive takes note of a message that has come.
func (c *conn) receive(text string) {
	id, err := strconv.ParseInt(strings.TrimPrefix(text, "m"), 10, 32)
	if err != nil {
		c.model.problem("%v got a message that nobody sent: %q", c, text)
		return
	}
	c.mu.Lock()
	c.log = append(c.log, receipt{int32(id), c.model.now()})
	c.mu.Unlock()
	select {
	case c.model.changed <- struct{}{}:
	default:
	}
}

// send begins a message. The caller is the only one who sends from this connection.
func (c *conn) send(channel string, except *conn) *message {
	msg := &message{from: c, channel: channel, except: except, seq: c.next[channel]}
	c.next[channel]++
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	msg.id, msg.begun = len(m.messages), m.now()
	m.messages = append(m.messages, msg)
	return msg
}

// sent says how it ended.
func (m *model) sent(msg *message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg.ended, msg.err, msg.over = m.now(), err, true
}

// joining, joined, leaving and left are called around what they say. What began and did not end well leaves the membership
// in doubt.
func (c *conn) joining(room string) *stay {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &stay{room: room, asked: c.model.now()}
	c.rooms = append(c.rooms, s)
	return s
}

func (c *conn) joined(s *stay) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.since = c.model.now()
}

func (c *conn) leaving(room string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.rooms {
		if s.room == room && s.asking == 0 {
			s.asking = c.model.now()
		}
	}
}

func (c *conn) left(room string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.rooms {
		if s.room == room && s.left == 0 {
			s.left = c.model.now()
		}
	}
}

// in says whether the connection is a member for certain, and since when.
func (c *conn) in(room string) (since moment, certain bool) {
	for _, s := range c.rooms {
		if s.room == room && s.since != 0 && s.asking == 0 {
			return s.since, true
		}
	}
	return 0, false
}

// maybeIn says whether it is not certain that the connection is no member.
func (c *conn) maybeIn(room string) bool {
	for _, s := range c.rooms {
		if s.room == room && s.left == 0 {
			return true
		}
	}
	return false
}

// members are the connections that are in a room, with their users, sorted.
func (m *model) members(room string) []string {
	var members []string
	for _, c := range m.living() {
		c.mu.Lock()
		if _, ok := c.in(room); ok {
			members = append(members, c.id+" of "+c.user)
		}
		c.mu.Unlock()
	}
	slices.Sort(members)
	return members
}

// living are the connections that are there.
func (m *model) living() []*conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*conn
	for _, c := range m.conns {
		if c.lives() {
			all = append(all, c)
		}
	}
	return all
}

// outage begins a time in which Redis is away; the returned function ends it.
func (m *model) outage() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := len(m.outages)
	m.outages = append(m.outages, span{from: m.now()})
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.outages[i].to = m.now()
	}
}

// lag is how long before its death Redis may have taken something that it did not pass on any more.
const lag = 2 * time.Second

// disturbed says whether Redis was away at some moment of a span, or soon after. m.mu is held.
func (m *model) disturbed(from, to moment) bool {
	for _, o := range m.outages {
		if to+lag >= o.from && (o.to == 0 || from <= o.to) {
			return true
		}
	}
	return false
}

func (m *model) wasAway(from, to moment) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disturbed(from, to)
}

// endRound keeps of what was received only what is needed to know it again, and forgets the connections that have gone.
func (m *model) endRound() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.round = len(m.messages)
	kept := m.conns[:0]
	for _, c := range m.conns {
		c.mu.Lock()
		for _, r := range c.log {
			c.old = append(c.old, r.message)
		}
		c.log = c.log[:0]
		gone := c.gone != 0
		c.mu.Unlock()
		if !gone {
			kept = append(kept, c)
		}
	}
	clear(m.conns[len(kept):])
	m.conns = kept
}

func seconds(d moment) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

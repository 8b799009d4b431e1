package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// callTimeout is more than any call may take. Redis' being away is not a reason to wait.
const callTimeout = 20 * time.Second

// An actor is one client with a will of its own. One goroutine at a time acts for it.
type actor struct {
	w         *world
	index     int
	name      string
	user      string // empty: anonymous
	transport client.Transport
	stateful  bool
	options   client.Options
	door      *door
	rng       *rand.Rand

	client *client.Client
	away   bool            // it shall not be there
	rooms  map[string]bool // in which it shall be

	mu      sync.Mutex
	conn    *conn // that of the client, or the one that it is about to have
	numbers int
	changed chan struct{} // has something in it when conn has changed since it was empty
}

// newActor makes the i-th actor; the seed says the rest.
func newActor(w *world, i int) *actor {
	a := &actor{
		w: w, index: i, name: fmt.Sprintf("a%d", i), rng: rand.New(rand.NewPCG(w.seed, uint64(i))),
		door: &door{fleet: w.fleet, open: map[net.Conn]bool{}}, rooms: map[string]bool{}, changed: make(chan struct{}, 1),
	}
	for range 1 + a.rng.IntN(2) {
		a.rooms[w.room(a.rng)] = true
	}
	if i%50 != 49 {
		a.user = fmt.Sprintf("u%d", i%w.users)
	}
	codec := protocol.JSON
	if a.rng.IntN(2) == 0 {
		codec = protocol.MessagePack
	}
	transport := &http.Transport{DialContext: a.door.dial, MaxIdleConnsPerHost: 2}
	switch dice := a.rng.IntN(20); {
	case dice < 2:
		a.transport, codec = client.ServerSentEvents, protocol.JSON
	case dice < 4:
		a.transport = client.LongPolling
		transport.DisableKeepAlives = a.rng.IntN(2) == 0 // else most polls land where the last one did
	default:
		a.transport, a.stateful = client.WebSockets, dice < 8
	}
	a.options = client.Options{
		Transports: []client.Transport{a.transport}, Codec: codec, StatefulReconnect: a.stateful,
		HTTPClient: &http.Client{Transport: transport}, ServerTimeout: time.Minute,
		Reconnect: client.ReconnectForever(200*time.Millisecond, 2*time.Second),
		Hooks:     client.Hooks{Reconnecting: a.lost, Reconnected: a.regained, Closed: a.closed},
	}
	return a
}

func (a *actor) kind() string {
	if a.stateful {
		return "stateful " + string(a.transport)
	}
	return string(a.transport)
}

// current is the connection as the last hook or call has left it.
func (a *actor) current() *conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn
}

// next makes the connection that the actor is about to have the current one.
func (a *actor) next() *conn {
	c := &conn{actor: a.name, user: a.user, transport: a.kind()}
	a.mu.Lock()
	defer a.mu.Unlock()
	c.number = a.numbers
	a.numbers++
	a.conn = a.w.model.open(c)
	select {
	case a.changed <- struct{}{}:
	default:
	}
	return c
}

func (a *actor) lost(err error) {
	c := a.current()
	c.ends(err.Error())
	a.w.lost(c, err)
	a.next()
}

func (a *actor) regained(id string) {
	a.current().is(id)
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

func (a *actor) closed(err error) {
	a.current().ends(fmt.Sprint(err))
	if err != nil {
		a.w.model.problem("the client of %v has given up: %v", a.current(), err)
	}
}

// connect starts a client. While something is being done to the cluster it may take more than one attempt.
func (a *actor) connect() {
	address := "http://cluster.test/chat"
	if a.user != "" {
		address += "?user=" + url.QueryEscape(a.user)
	}
	var err error
	if a.client, err = client.New(address, a.options); err != nil {
		panic(err) // the options are ours
	}
	a.client.On("ReceiveMessage", func(_, text string) { a.current().receive(text) })
	a.client.On("SystemMessage", func(string) {})
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	for {
		c := a.next()
		quiet := a.w.quiet()
		err := a.client.Start(ctx)
		if err == nil {
			c.is(a.client.ConnectionID())
			return
		}
		c.ends("it never began")
		if ctx.Err() != nil || quiet && a.w.quiet() {
			a.w.model.problem("%s, a client over %s, could not connect: %v", a.name, a.kind(), err)
		}
		retry := time.NewTimer(100 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return
		}
	}
}

// disconnect stops the client.
func (a *actor) disconnect() {
	if a.client == nil {
		return
	}
	a.current().ends("it left")
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := a.client.Stop(ctx); err != nil {
		a.w.model.problem("stopping %v: %v", a.current(), err)
	}
	a.client = nil
	a.options.HTTPClient.CloseIdleConnections()
}

// invoke calls the hub, and says whether that went well. It must, unless the connection or Redis is being disturbed.
func (a *actor) invoke(c *conn, result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	begun := a.w.model.now()
	err := a.client.Invoke(ctx, result, method, args...)
	var refused *client.HubError
	switch {
	case err == nil, errors.Is(err, client.ErrNotConnected), errors.Is(err, client.ErrClosed):
	case errors.As(err, &refused) && a.w.model.wasAway(begun, a.w.model.now()):
	case errors.Is(err, context.DeadlineExceeded) && !c.lives():
	default:
		c.mu.Lock()
		node := c.node
		c.mu.Unlock()
		a.w.suspect(suspicion{nodes: []string{node}}, "%v: %s%q begun at %s, ended at %s, failed: %v", c, method, args, seconds(begun), seconds(a.w.model.now()), err)
	}
	return err
}

// step does one thing.
func (a *actor) step() {
	if a.away {
		return
	}
	c := a.current()
	dice := a.rng.Float64() // always as many, so that one outcome does not change all that follows
	room, other, user := a.w.room(a.rng), a.w.actors[a.rng.IntN(len(a.w.actors))], fmt.Sprintf("u%d", a.rng.IntN(a.w.users))
	if !c.lives() {
		return // it is on its way back
	}
	switch {
	case dice < a.w.broadcasts:
		a.send(c, toAll, nil, "SendMessage", a.name)
	case dice < 2*a.w.broadcasts:
		a.send(c, toAll, c, "SendToOthers", a.name)
	case dice < 0.45:
		a.send(c, toGroup(room), nil, "SendToRoom", room, a.name)
	case dice < 0.65:
		a.send(c, toUser(user), nil, "SendToUser", user, a.name)
	case dice < 0.85:
		if to := other.current(); to != nil {
			to.mu.Lock()
			id := to.id
			to.mu.Unlock()
			if id != "" {
				a.send(c, toConnection(id), nil, "SendToConnection", id, a.name)
			}
		}
	case dice < 0.90 && len(a.rooms) < 3:
		a.rooms[room] = true
		a.join(c, room)
	case dice < 0.95 && len(a.rooms) > 0:
		rooms := slices.Sorted(maps.Keys(a.rooms))
		room = rooms[other.index%len(rooms)]
		delete(a.rooms, room)
		a.leave(c, room)
	case dice < 0.97:
		a.cut(c)
	case dice < 0.985:
		a.disconnect()
		a.connect()
	case dice < 0.99:
		a.disconnect()
		a.away = true
	}
}

func (a *actor) send(c *conn, channel string, except *conn, method string, args ...any) {
	msg := c.send(channel, except)
	err := a.invoke(c, nil, method, append(args, fmt.Sprintf("m%d", msg.id))...)
	a.w.model.sent(msg, err)
}

func (a *actor) join(c *conn, room string) bool {
	s := c.joining(room)
	err := a.invoke(c, nil, "JoinRoom", room)
	if err == nil {
		c.joined(s)
	}
	return err == nil
}

func (a *actor) leave(c *conn, room string) bool {
	c.leaving(room)
	err := a.invoke(c, nil, "LeaveRoom", room)
	if err == nil {
		c.left(room)
	}
	return err == nil
}

// cut breaks the client's sockets. A stateful connection must survive that.
func (a *actor) cut(c *conn) {
	c.mu.Lock()
	c.cuts++
	c.cut = a.w.model.now()
	if !a.stateful {
		c.doomed = "its sockets were cut"
	}
	c.mu.Unlock()
	a.door.cut()
}

// settle brings the actor to where it shall be: there or not, in its rooms and in no others.
func (a *actor) settle() {
	if a.away != (a.client == nil) {
		if a.away {
			a.disconnect()
		} else {
			a.connect()
		}
	}
	if a.away {
		return
	}
	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	again := time.NewTicker(500 * time.Millisecond) // for what failed while Redis did not answer
	defer again.Stop()
	for !a.settled() {
		select {
		case <-a.changed:
		case <-again.C:
		case <-limit.C:
			a.w.model.problem("%v is not at rest: the client is %v", a.current(), a.client.State())
			return
		}
	}
}

// settled tries once; a connection that is lost meanwhile must be waited for.
func (a *actor) settled() bool {
	c := a.current()
	if !c.lives() {
		return false
	}
	var who struct{ ConnectionID, Node string }
	if a.invoke(c, &who, "WhoAmI") != nil {
		return false
	}
	if c.mu.Lock(); who.ConnectionID != c.id {
		c.mu.Unlock()
		return false // it is another by now, and the hook has not run yet
	}
	c.node = who.Node
	var join, leave []string
	for _, s := range c.rooms {
		if !a.rooms[s.room] && c.maybeIn(s.room) {
			leave = append(leave, s.room)
		}
	}
	for room := range a.rooms {
		if _, ok := c.in(room); !ok {
			join = append(join, room)
		}
	}
	c.mu.Unlock()
	for _, room := range leave {
		if !a.leave(c, room) {
			return false
		}
	}
	for _, room := range join {
		if !a.join(c, room) {
			return false
		}
	}
	return true
}

// A door leads to the cluster: each TCP connection goes to the next node.
type door struct {
	fleet *fleet
	only  *node // that it leads to; nil for all

	mu   sync.Mutex
	open map[net.Conn]bool
}

func (d *door) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := d.fleet.dial(ctx, d.only)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: conn, door: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[s] = true
	return s, nil
}

// cut breaks what is open, without a word to the other end.
func (d *door) cut() {
	d.mu.Lock()
	var all []net.Conn
	for s := range d.open {
		all = append(all, s)
	}
	d.mu.Unlock()
	for _, s := range all {
		_ = s.(*socket).Conn.(*net.TCPConn).SetLinger(0)
		_ = s.Close()
	}
}

type socket struct {
	net.Conn
	door *door
}

func (s *socket) Close() error {
	s.door.mu.Lock()
	delete(s.door.open, s)
	s.door.mu.Unlock()
	return s.Conn.Close()
}

package hub_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// redisNode starts a server whose backplane is a real Redis, once that is subscribed. The hub is named as in the test vectors.
func redisNode(t *testing.T, url string, h any) string {
	t.Helper()
	_, node := redisServer(t, url, h)
	return node
}

// redisServer is redisNode that also returns the server.
func redisServer(t *testing.T, url string, h any) (s *hub.Server, node string) {
	t.Helper()
	b, err := backplane.NewRedis(backplane.RedisOptions{URL: url, Prefix: "hubfleet:", RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s = hub.NewServer(hub.Options{Backplane: b, Authenticate: byHeader, Limits: hub.Limits{DetailedErrors: true}})
	if err := s.Map("/chat", h, hub.HubOptions{Name: "MyApp.ChatHub"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done }) // runs after the server's own clean-up, which comes later in the test
	ready(t, b)
	return s, serve(t, s) + "/chat"
}

// ready waits until the backplane has confirmed all that is wanted.
func ready(t *testing.T, b *backplane.Redis) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for b.Ready() != nil {
		b.Subscribe(ctx, "MyApp.ChatHub:all")
		if ctx.Err() != nil {
			t.Fatal(b.Ready())
		}
	}
}

// hi is what SendAll("Send", "hi") publishes, as the documentation of the backplane's format has it.
const hi = "929082a46a736f6ec42e7b2274797065223a312c22746172676574223a2253656e64222c22617267756d656e7473223a5b226869225d7d1e" +
	"ab6d6573736167657061636bc40f0e960180c0a453656e6491a2686990"

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What any program publishes in the documented form reaches the right clients.
func TestRawPublish(t *testing.T) {
	server := redistest.Start(t)
	url := redisNode(t, server.URL(), &chat{})
	ada, bob := dial(t, url, asUser("ada")), dial(t, url, asUser("bob"))
	bob.wantCall("result: null", "Join", "the group")
	publish := func(channel, payload string) {
		t.Helper()
		if n := server.Do(t, "PUBLISH", "hubfleet:MyApp.ChatHub:"+channel, payload); n != int64(1) {
			t.Errorf("%s has %v subscribers", channel, n)
		}
	}
	plain := unhex(t, hi)
	exceptBob := string([]byte{0x92, 0x91, 0xa0 | byte(len(bob.id))}) + bob.id + plain[2:]
	publish("all", plain)
	ada.want(`Send["hi"]`)
	bob.want(`Send["hi"]`)
	publish("all", exceptBob)
	ada.want(`Send["hi"]`)
	publish("user:bob", plain)
	bob.want(`Send["hi"]`)
	publish("connection:"+ada.id, plain)
	ada.want(`Send["hi"]`)
	publish("group:the group", plain)
	bob.want(`Send["hi"]`)
	publish("group:the group", exceptBob)
	publish("all", "garbage") // is logged, and harms nobody
	publish("all", plain)
	ada.want(`Send["hi"]`)
	bob.want(`Send["hi"]`)
}

// What a hub sends is published in the documented form, byte for byte.
func TestPublishedBytes(t *testing.T) {
	server := redistest.Start(t)
	url := redisNode(t, server.URL(), &chat{})
	outside := server.Client(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub := outside.PSubscribe(ctx, "*")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	next := func() *redis.Message {
		t.Helper()
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	c := dial(t, url, asUser("ada"))
	const none = "0000000000000000000000"
	tests := []struct {
		method, channel, payload string
		args                     []any
	}{
		{"ToAll", "all", "9290", nil},
		{"ToGroup", "group:g", "9290", []any{"g"}},
		{"ToUser", "user:ada", "9290", []any{"ada"}},
		{"ToClient", "connection:" + none, "9290", []any{none}},
		{"ToAllExcept", "all", "9292a161a162", []any{[]string{"a", "b"}}},
		{"ToGroupExcept", "group:g", "9291a161", []any{"g", []string{"a"}}},
	}
	const frame = `{"type":1,"target":"M","arguments":["hi"]}` + "\x1e"
	const packed = "\x0b\x96\x01\x80\xc0\xa1M\x91\xa2hi\x90"
	for _, test := range tests {
		c.post(test.method, append(test.args, "hi")...)
		m := next()
		if want := "hubfleet:MyApp.ChatHub:" + test.channel; m.Channel != want {
			t.Errorf("%s: published to %s, want %s", test.method, m.Channel, want)
		}
		want := unhex(t, test.payload) + "\x82\xa4json\xc4" + string([]byte{byte(len(frame))}) + frame +
			"\xabmessagepack\xc4" + string([]byte{byte(len(packed))}) + packed
		if m.Payload != want {
			t.Errorf("%s: published %x, want %x", test.method, m.Payload, want)
		}
	}
}

// TestPatternSubscriber: who looks on at all channels gets what nodes ask each other, and is no node.
func TestPatternSubscriber(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, _ := redisServer(t, server.URL(), &chat{})
	dial(t, redisNode(t, server.URL(), &chat{}), asUser("ada"))
	sub := server.Client(t, nil).PSubscribe(t.Context(), "*")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := s.Hub("/chat")
	if o, err := h.Groups().AddUser(t.Context(), "ada", "g"); o.Connections != 1 || o.Nodes != 2 || err != nil {
		t.Errorf("AddUser: %+v, %v", o, err)
	}
	if n, answered, err := h.Groups().Count(t.Context(), "g"); n != 1 || !answered.Complete() || answered.Nodes != 2 || err != nil {
		t.Errorf("Count: %d, %+v, %v", n, answered, err)
	}
	if _, err := h.Clients().Find(t.Context(), "nobody"); !errors.Is(err, hub.ErrNoConnection) {
		t.Errorf("Find of nobody: %v", err)
	}
	err := h.Clients().Client("nobody").Invoke(t.Context(), nil, "Ask")
	if !errors.Is(err, hub.ErrNoConnection) || !strings.Contains(err.Error(), "does not exist") { // known at once, not found out by waiting
		t.Errorf("Invoke of nobody: %v", err)
	}
	if o, err := h.Clients().User("ada").Disconnect(t.Context()); o.Connections != 1 || err != nil {
		t.Errorf("Disconnect: %+v, %v", o, err)
	}
}

// Another program may put a connection into a group, and is told that it was done; even when nothing changed.
func TestRawGroupCommands(t *testing.T) {
	server := redistest.Start(t)
	url := redisNode(t, server.URL(), &chat{})
	c := dial(t, url)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub := server.Client(t, nil).Subscribe(ctx, "hubfleet:MyApp.ChatHub:internal:ack:S")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	command := func(action byte) {
		t.Helper()
		payload := string([]byte{0x95, 42, 0xa1, 'S', action, 0xa1, 'G', 0xa0 | byte(len(c.id))}) + c.id
		server.Do(t, "PUBLISH", "hubfleet:MyApp.ChatHub:internal:groups", payload)
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Payload != "\x91\x2a" {
			t.Errorf("acknowledged with %x", m.Payload)
		}
	}
	command(1)
	command(1)
	c.wantCall("result: null", "ToGroup", "G", "in")
	c.want(`M["in"]`)
	command(2)
	command(2)
	c.wantCall("result: null", "ToGroup", "G", "out")
	c.wantCall("result: null", "ToAll", "end")
	c.want(`M["end"]`)
}

// Targets, groups, order, and joining before sending, across three servers on a real Redis.
func TestRedisCluster(t *testing.T) {
	server := redistest.Start(t)
	nodes := func(t *testing.T) []string {
		urls := make([]string, 3)
		for i := range urls {
			urls[i] = redisNode(t, server.URL(), &chat{})
		}
		return urls
	}
	t.Run("targets", func(t *testing.T) { testTargets(t, nodes(t)) })
	t.Run("groups of other nodes", func(t *testing.T) {
		urls := nodes(t)
		a, b := dial(t, urls[0]), dial(t, urls[1])
		for i := range 200 {
			a.wantCall("result: null", "AddTo", b.id, "g")
			a.wantCall("result: null", "ToGroup", "g", fmt.Sprint(i))
			b.want(fmt.Sprintf("M[%q]", fmt.Sprint(i)))
			a.wantCall("result: null", "RemoveFrom", b.id, "g")
			a.wantCall("result: null", "ToGroup", "g", "unheard")
		}
		a.wantCall("error: An unexpected error occurred invoking 'AddTo' on the server. HubException: no such connection", "AddTo", "0000000000000000000000", "g")
	})
	t.Run("join then send", func(t *testing.T) {
		urls := nodes(t)
		a, b := dial(t, urls[0]), dial(t, urls[1])
		for i := range 3000 {
			group := fmt.Sprint("g", i%7)
			a.wantCall("result: null", "Join", group)
			b.wantCall("result: null", "ToGroup", group, fmt.Sprint(i))
			a.want(fmt.Sprintf("M[%q]", fmt.Sprint(i)))
			a.wantCall("result: null", "Leave", group)
		}
	})
	t.Run("order", func(t *testing.T) {
		urls := nodes(t)
		var receivers []*client
		for i := range 6 {
			receivers = append(receivers, dial(t, urls[i%3]))
		}
		const each = 1000
		for s := range 3 {
			c := dial(t, urls[s])
			go func() {
				for i := range each {
					c.send(fmt.Sprintf(`{"type":1,"target":"ToAll","arguments":["%d %d"]}`, s, i))
				}
			}()
		}
		var first []string
		for k, c := range receivers {
			var got []string
			for range 3 * each {
				got = append(got, c.next().String())
			}
			if first == nil {
				first = got
			} else if !slices.Equal(got, first) {
				t.Fatalf("receiver %d saw another order than receiver 0", k)
			}
		}
	})
}

// While Redis is away connections stay, new ones come, what goes to the caller works, and the rest fails at once; when it is
// back, messages flow again.
func TestRedisAway(t *testing.T) {
	server := redistest.Start(t)
	url := redisNode(t, server.URL(), &chat{})
	old := dial(t, url, asUser("ada"))
	old.wantCall("result: null", "Join", "g")
	server.Stop()
	if m := old.call("ToAll", "lost"); m.Error == nil || !strings.Contains(*m.Error, hub.ErrUnavailable.Error()) {
		t.Errorf("sent to all without Redis: %v", m)
	}
	old.wantCall("result: null", "ToCaller", "me")
	old.want(`M["me"]`)
	fresh := dial(t, url, asUser("bob"))
	fresh.wantCall("result: 3", "Add", 1, 2)
	if m := fresh.call("Join", "new"); m.Error == nil {
		t.Error("joined a group without Redis")
	}
	server.Restart()
	for fresh.call("Join", "new").Error != nil {
	}
	for fresh.call("ToUser", "ada", "hello").Error != nil {
	}
	old.want(`M["hello"]`)
	for fresh.call("ToGroup", "g", "still here").Error != nil {
	}
	old.want(`M["still here"]`)
	for old.call("ToUser", "bob", "you too").Error != nil { // who came while Redis was away
	}
	fresh.want(`M["you too"]`)
}

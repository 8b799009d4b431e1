package hub_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// mapped serves two hubs in memory: /plain with the server's options alone, and /chat with options of its own.
func mapped(t *testing.T, o hub.Options, own hub.HubOptions) (client *http.Client, stop func()) {
	t.Helper()
	s := hub.NewServer(o)
	plain := own
	plain.Limits, plain.Name, own.Name = hub.Limits{}, "Plain", "Chat"
	for path, options := range map[string]hub.HubOptions{"/plain": plain, "/chat": own} {
		if err := s.Map(path, &chat{}, options); err != nil {
			t.Fatal(err)
		}
	}
	client, _, stop = serveInMemory(s)
	return client, stop
}

// What a hub limits by itself holds there, and the server's limits elsewhere.
func TestLimitsOfAHub(t *testing.T) {
	server := hub.Limits{PollTimeout: time.Minute, HandshakeTimeout: 5 * time.Second, MaxMessageSize: 1000}
	own := hub.Limits{PollTimeout: 30 * time.Second, HandshakeTimeout: 10 * time.Second, MaxMessageSize: 100}
	synctest.Test(t, func(t *testing.T) {
		client, stop := mapped(t, hub.Options{Limits: server}, hub.HubOptions{Limits: own})
		defer stop()
		for path, limits := range map[string]hub.Limits{"/plain": server, "/chat": own} {
			polls := negotiatedAt(t, client, "http://hub"+path)
			polls.wantPoll("the first poll", "")
			polls.post(shake)
			polls.wantPoll("the handshake", "{}\x1e")
			began := time.Now()
			polls.wantPoll("a poll without news", "")
			if took := time.Since(began); took != limits.PollTimeout {
				t.Errorf("%s: a poll took %v, want %v", path, took, limits.PollTimeout)
			}
			polls.post(`{"type":1,"invocationId":"1","target":"Echo","arguments":["` + strings.Repeat("x", int(limits.MaxMessageSize)) + `"]}` + "\x1e")
			polls.wantPoll("too large a message", `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`+"\x1e")

			slow := dial(t, "http://hub"+path, over(client), rawSocket)
			defer slow.ws.CloseNow()
			began = time.Now()
			slow.patiently(t)
			if took := time.Since(began); took != limits.HandshakeTimeout {
				t.Errorf("%s: the handshake had %v, want %v", path, took, limits.HandshakeTimeout)
			}
		}
	})
}

// Close waits as long for the last poll as the hub says.
func TestCloseTimeoutOfAHub(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 5 * time.Second, 10 * time.Second: 10 * time.Second, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			gone := make(chan time.Time, 1)
			h := &chat{disconnected: func(c *hub.Call, _ error) { gone <- time.Now() }}
			s := hub.NewServer(hub.Options{Limits: hub.Limits{CloseTimeout: time.Hour}})
			if set == 0 {
				s = hub.NewServer(hub.Options{})
			}
			if err := s.Map("/chat", h, hub.HubOptions{Limits: hub.Limits{CloseTimeout: set}}); err != nil {
				t.Fatal(err)
			}
			client, _, stop := serveInMemory(s)
			defer stop()
			c := negotiatedAt(t, client, there)
			c.wantPoll("the first poll", "")
			c.post(shake)
			c.wantPoll("the handshake", "{}\x1e")
			c.post(`{"type":1,"target":"Abort","arguments":[]}` + "\x1e")
			c.wantPoll("goodbye", `{"type":7}`+"\x1e")
			<-gone
			time.Sleep(max(want-time.Second, 0))
			synctest.Wait()
			if want > 0 {
				c.wantPoll("the last poll, in time", "")
				return
			}
			if status := c.status("GET"); status != http.StatusNotFound {
				t.Errorf("CloseTimeout %v: the poll that is too late gets %d", set, status)
			}
		})
	}
}

func TestMinNegotiateVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hub.NewServer(hub.Options{})
		if err := s.Map("/chat", &chat{}, hub.HubOptions{MinNegotiateVersion: 1}); err != nil {
			t.Fatal(err)
		}
		client, _, stop := serveInMemory(s)
		defer stop()
		c := &requests{t, client, there}
		const refusal = `{"error":"The client requested version '0', but the server does not support this version."}`
		for _, query := range []string{"", "?negotiateVersion=0"} {
			if got := c.do("POST", there+"/negotiate"+query, ""); got != refusal {
				t.Errorf("%s: %s", query, got)
			}
		}
		if got := c.do("POST", there+"/negotiate?negotiateVersion=1", ""); !strings.HasPrefix(got, `{"negotiateVersion":1,"connectionId":`) {
			t.Error(got)
		}
	})
}

// A hub may speak fewer protocols than its server, to its clients and to other nodes.
func TestProtocolsOfAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := mapped(t, hub.Options{}, hub.HubOptions{Protocols: []string{"messagepack"}})
		defer stop()
		c := dial(t, there, over(client), rawSocket)
		defer c.ws.CloseNow()
		c.send(`{"protocol":"json","version":1}`)
		if got, want := c.patiently(t), "{\"error\":\"The protocol 'json' is not supported.\"}\x1e"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		c = dial(t, there, over(client), rawSocket)
		defer c.ws.CloseNow()
		c.send(`{"protocol":"messagepack","version":1}`)
		if got := c.patiently(t); got != "{}\x1e" {
			t.Errorf("got %q", got)
		}
	})

	memory, published := backplane.NewMemory(), make(chan string, 1)
	other := memory.Node()
	other.Attach(func(_ string, payload []byte) { published <- string(payload) }, func() {})
	if err := other.Subscribe(context.Background(), "Chat:all"); err != nil {
		t.Fatal(err)
	}
	s := hub.NewServer(hub.Options{Backplane: memory.Node()})
	if err := s.Map("/chat", &chat{}, hub.HubOptions{Name: "Chat", Protocols: []string{"messagepack"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Hub("/chat").Clients().All().Send(context.Background(), "M", "hi"); err != nil {
		t.Fatal(err)
	}
	if got := <-published; !strings.Contains(got, "messagepack") || strings.Contains(got, "json") {
		t.Errorf("published %q", got)
	}
}

func TestHubOptionsAreChecked(t *testing.T) {
	for field, o := range map[string]hub.HubOptions{
		"MinNegotiateVersion": {MinNegotiateVersion: 2},
		"Protocols":           {Protocols: []string{"json", "xml"}},
		"Protocols ":          {Protocols: []string{"json", "json"}},
		"PollTimeout":         {Limits: hub.Limits{PollTimeout: -1}},
		"DisconnectTimeout":   {Limits: hub.Limits{DisconnectTimeout: -1}},
	} {
		err := hub.NewServer(hub.Options{Protocols: []protocol.Codec{protocol.JSON, protocol.MessagePack}}).Map("/chat", &chat{}, o)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Every limit can be set for the server and for a hub, and has a default.
func TestEveryLimit(t *testing.T) {
	fields := reflect.VisibleFields(reflect.TypeFor[hub.Limits]())
	set := func(value int64) (l hub.Limits) {
		for _, f := range fields {
			switch v := reflect.ValueOf(&l).Elem().FieldByIndex(f.Index); v.Kind() {
			case reflect.Int, reflect.Int64:
				v.SetInt(value)
			case reflect.Bool:
				v.SetBool(true)
			default:
				t.Fatalf("%s is a %s", f.Name, v.Kind())
			}
		}
		return l
	}
	none, one, two := hub.Limits{}, set(1), set(2)
	if got := hub.LimitsOver(none, one); got != one {
		t.Errorf("what a hub leaves out is not the server's: %+v", got)
	}
	if got := hub.LimitsOver(two, one); got != two {
		t.Errorf("what a hub sets does not hold: %+v", got)
	}
	standard := reflect.ValueOf(hub.LimitsOver(none, none))
	for _, f := range fields {
		if v := standard.FieldByIndex(f.Index); v.IsZero() && v.Kind() != reflect.Bool {
			t.Errorf("%s has no default", f.Name)
		}
	}
}

// expiring says that a user, who is known from a header, is known for so long, which another header says.
func expiring(r *http.Request) (hub.Identity, error) {
	id := hub.Identity{UserID: r.Header.Get("X-User")}
	if d, err := time.ParseDuration(r.Header.Get("X-Known-For")); err == nil {
		id.Expires = time.Now().Add(d)
	}
	return id, nil
}

func knownFor(d time.Duration) dialOption {
	return func(o *dialing) { o.header.Set("X-Known-For", d.String()) }
}

// A connection ends soon after its identity, in such a way that the client comes back; and never within its first 2 s.
func TestCloseExpired(t *testing.T) {
	const never = -1
	tests := map[string]struct {
		known time.Duration // zero: for ever
		own   hub.HubOptions
		end   time.Duration
	}{
		"after a minute":           {time.Minute, hub.HubOptions{CloseExpired: true}, time.Minute},
		"at once":                  {time.Millisecond, hub.HubOptions{CloseExpired: true}, 2 * time.Second},
		"known for ever":           {0, hub.HubOptions{CloseExpired: true}, never},
		"not unless it is told to": {time.Minute, hub.HubOptions{}, never},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, stop := mapped(t, hub.Options{Authenticate: expiring, Limits: hub.Limits{KeepAlive: 20 * time.Minute}}, test.own)
				defer stop()
				options := []dialOption{over(client)}
				if test.known > 0 {
					options = append(options, knownFor(test.known))
				}
				c := dial(t, there, options...)
				defer c.ws.CloseNow()
				if test.end == never {
					c.pinged(t, time.Hour)
					c.wantCall("result: 3", "Add", 1, 2)
					return
				}
				began := time.Now()
				if got, want := c.patiently(t), "{\"type\":7,\"allowReconnect\":true}\x1e"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if took := time.Since(began); took < test.end || took > test.end+time.Second {
					t.Errorf("it ended after %v, want %v", took, test.end)
				}
				c.wantClosed(1000)
			})
		})
	}
}

// Each poll, and each socket of a stateful connection, brings a new proof.
func TestExpiryIsRenewed(t *testing.T) {
	t.Run("polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, stop := mapped(t, hub.Options{Authenticate: expiring, Limits: hub.Limits{PollTimeout: 40 * time.Second}}, hub.HubOptions{CloseExpired: true})
			defer stop()
			c := negotiatedAt(t, &http.Client{Transport: withHeader{client.Transport, "X-Known-For", "1m"}}, there)
			c.wantPoll("the first poll", "")
			c.post(shake)
			c.wantPoll("the handshake", "{}\x1e")
			for range 5 {
				c.wantPoll("a poll without news", "")
			}
			c.http = client // whose user is known for ever
			for range 5 {
				c.wantPoll("a poll without news", "")
			}
			c.http = &http.Client{Transport: withHeader{client.Transport, "X-Known-For", "20s"}}
			c.wantPoll("a poll that lasts too long", "{\"type\":7,\"allowReconnect\":true}\x1e")
			if status := c.status("GET"); status != http.StatusNoContent {
				t.Errorf("the last poll: %d", status)
			}
		})
	})
	t.Run("sockets", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, stop := mapped(t, hub.Options{Authenticate: expiring, Limits: hub.Limits{KeepAlive: 25 * time.Second}}, hub.HubOptions{CloseExpired: true})
			defer stop()
			c := dial(t, there, over(client), knownFor(time.Minute), stateful)
			defer func() { c.ws.CloseNow() }()
			for range 5 {
				c.pinged(t, 50*time.Second)
				c.ws.CloseNow()
				if status := c.reopen(over(client), knownFor(time.Minute)); status != http.StatusSwitchingProtocols {
					t.Fatalf("status %d", status)
				}
				c.want("sequence 1")
			}
			began := time.Now()
			c.pinged(t, 50*time.Second)
			if got, want := c.patiently(t), "{\"type\":7,\"allowReconnect\":true}\x1e"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if took := time.Since(began); took < time.Minute || took > time.Minute+time.Second {
				t.Errorf("it ended after %v", took)
			}
			c.wantClosed(1000)
		})
	})
}

// pinged reads pings, and nothing else, for so long.
func (c *client) pinged(t *testing.T, d time.Duration) {
	t.Helper()
	for began := time.Now(); time.Since(began) < d; {
		if got := c.patiently(t); got != "{\"type\":6}\x1e" {
			t.Fatalf("got %q after %v", got, time.Since(began))
		}
	}
}

// withHeader adds a header to each request.
type withHeader struct {
	http.RoundTripper
	name, value string
}

func (w withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(w.name, w.value)
	return w.RoundTripper.RoundTrip(r)
}

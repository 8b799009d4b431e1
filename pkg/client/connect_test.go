package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		url  string
		o    client.Options
		want string
	}{
		{"://", client.Options{}, "client: the hub's URL: "},
		{"ftp://host/", client.Options{}, `client: the hub's URL must begin with http:// or https://, not with "ftp"`},
		{"http:///hub", client.Options{}, "client: the hub's URL names no host"},
		{"http://host", client.Options{Transports: []client.Transport{"Pigeons"}}, `client: Options.Transports has "Pigeons"`},
		{"http://host", client.Options{SkipNegotiation: true, Transports: []client.Transport{client.LongPolling}}, "client: Options.SkipNegotiation works with WebSockets only"},
		{"http://host", client.Options{SkipNegotiation: true, StatefulReconnect: true}, "client: Options.StatefulReconnect is granted in the negotiation"},
		{"http://host", client.Options{HandshakeTimeout: -1}, "client: Options.HandshakeTimeout must not be negative"},
		{"http://host", client.Options{SendBuffer: -1}, "client: Options.SendBuffer must not be negative"},
		{"http://host", client.Options{ReceiveBuffer: -1}, "client: Options.ReceiveBuffer must not be negative"},
	} {
		if _, err := client.New(tt.url, tt.o); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.url, err, tt.want)
		}
	}
	for _, u := range []string{"http://host", "https://host/hub?x=1", "ws://host/hub", "wss://host/hub"} {
		if _, err := client.New(u, client.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestAccessToken(t *testing.T) {
	over(t, hub.Options{Authenticate: byToken}, func(t *testing.T, s *service, o client.Options) {
		var asked atomic.Int32
		o.AccessToken = func(context.Context) (string, error) {
			if asked.Add(1) == 1 {
				return "stale", nil // it is refused, and another asked for
			}
			return "ada", nil
		}
		c := dial(t, s.url, o)
		if name, err := client.Invoke[string](within(t), c, "Me"); name != "ada" || err != nil {
			t.Errorf("the user is %q, %v", name, err)
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("asked for %d tokens", n)
		}

		o.AccessToken = nil
		c = prepare(t, s.url+"?secret=1", o)
		err := c.Start(within(t))
		var status *client.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusUnauthorized || strings.Contains(err.Error(), "secret") {
			t.Errorf("without a token: %v", err)
		}

		o.AccessToken = func(context.Context) (string, error) { return "", errors.New("the vault is shut") }
		if err := prepare(t, s.url, o).Start(within(t)); err == nil || !strings.Contains(err.Error(), "the vault is shut") {
			t.Errorf("without a way to a token: %v", err)
		}
	})
}

// The HTTP client's timeout is not for requests that wait for messages.
func TestHTTPTimeout(t *testing.T) {
	over(t, hub.Options{}, func(t *testing.T, s *service, o client.Options) {
		const timeout = time.Second
		o.HTTPClient = httpClient(t)
		o.HTTPClient.Timeout = timeout
		c := dial(t, s.url, o)
		if err := c.Invoke(within(t), nil, "Nap", 2*timeout.Milliseconds()); err != nil {
			t.Error(err)
		}
	})
}

// Errors are for logs: the query, where tokens are, is not in them.
func TestNoServer(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	web.Close()
	for _, skip := range []bool{false, true} {
		c := prepare(t, web.URL+"/lab?token=secret", client.Options{SkipNegotiation: skip})
		if err := c.Start(within(t)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Start: %v", err)
		}
	}
}

func TestHeaderAndQuery(t *testing.T) {
	s := serve(t, hub.Options{Authenticate: func(r *http.Request) (hub.Identity, error) {
		if got := r.Header.Get("X-Requested-With"); got != "XMLHttpRequest" {
			t.Errorf("X-Requested-With: %s", got)
		}
		return hub.Identity{UserID: r.Header.Get("X-User") + r.URL.Query().Get("plan")}, nil
	}}, nil)
	for _, skip := range []bool{false, true} {
		c := dial(t, s.url+"?plan=free", client.Options{Header: http.Header{"X-User": {"ada/"}}, SkipNegotiation: skip})
		if name, err := client.Invoke[string](within(t), c, "Me"); name != "ada/free" || err != nil {
			t.Errorf("the user is %q, %v", name, err)
		}
		if known := c.ConnectionID() != ""; known == skip {
			t.Errorf("skipping negotiation %v, the id is %q", skip, c.ConnectionID())
		}
	}
}

func TestFallback(t *testing.T) {
	const socketsFirst = `{"transport":"WebTransport","transferFormats":["Text"]},{"transport":"WebSockets","transferFormats":["Text","Binary"]},`
	for _, tt := range []struct {
		name    string
		allowed []client.Transport
		codec   protocol.Codec
		want    client.Transport
		err     string
	}{
		{"the next works", nil, nil, client.ServerSentEvents, ""},
		{"the next is not allowed", []client.Transport{client.WebSockets, client.LongPolling}, nil, client.LongPolling, ""},
		{"no other is allowed", []client.Transport{client.WebSockets}, nil, "", "client: WebSockets: client: GET http://"},
		{"none is allowed", []client.Transport{}, nil, "", "client: none of the transports that the server offers can be used: WebTransport is unknown, WebSockets is not among Options.Transports"},
		{"a binary codec", []client.Transport{client.ServerSentEvents}, binary{protocol.JSON}, "", "ServerSentEvents cannot carry json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, hub.Options{}, func(h http.Handler) http.Handler {
				b := newBridge(t, h)
				b.more = socketsFirst
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Upgrade") != "" {
						w.WriteHeader(http.StatusBadGateway) // as from a proxy that knows no WebSockets
						return
					}
					b.ServeHTTP(w, r)
				})
			})
			c := prepare(t, s.url, client.Options{Transports: tt.allowed, Codec: tt.codec})
			err := c.Start(within(t))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("Start: %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "transport", tt.want, c.Transport())
			if n, err := client.Invoke[int](within(t), c, "Add", 1, 2); n != 3 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

// binary is a codec of which we say that it is a binary one.
type binary struct{ protocol.Codec }

func (binary) Binary() bool { return true }

func TestRedirect(t *testing.T) {
	s := serve(t, hub.Options{Authenticate: byToken}, nil)
	hops := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("negotiateVersion") != "1" {
			t.Errorf("%s", r.URL)
		}
		if hops++; hops < 5 {
			fmt.Fprintf(w, `{"negotiateVersion":1,"url":"/elsewhere?hop=%d","availableTransports":[]}`, hops)
			return
		}
		fmt.Fprintf(w, `{"url":%q,"accessToken":"eve"}`, s.url)
	}))
	t.Cleanup(web.Close)
	c := dial(t, web.URL+"/lab", client.Options{AccessToken: func(context.Context) (string, error) { return "ada", nil }})
	if name, err := client.Invoke[string](within(t), c, "Me"); name != "eve" || err != nil {
		t.Errorf("the user is %q, %v", name, err)
	}
}

func TestNegotiationFails(t *testing.T) {
	const offers = `"availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]}]`
	for _, tt := range []struct{ name, answer, want string }{
		{"an error", `{"error":"The client requested version '1', but the server does not support this version."}`, "client: the server refused the negotiation: The client requested version '1'"},
		{"the older SignalR", `{"ProtocolVersion":"1.5","connectionId":"x"}`, "client: the server speaks the older ASP.NET SignalR"},
		{"another site", `<html>`, "client: the answer to the negotiation is not one of a SignalR server"},
		{"nothing", `{}`, "client: the answer to the negotiation lacks"},
		{"no token", `{"negotiateVersion":1,"connectionId":"x",` + offers + `}`, "client: the answer to the negotiation lacks"},
		{"no transports", `{"negotiateVersion":0,"connectionId":"x"}`, "client: the answer to the negotiation lacks"},
		{"unasked", `{"useStatefulReconnect":true,"negotiateVersion":1,"connectionId":"x","connectionToken":"y",` + offers + `}`, "client: the server grants stateful reconnect, which was not asked for"},
		{"round and round", `{"url":"/again"}`, "client: the negotiation was redirected more than 100 times"},
		{"away", `{"url":"ftp://host/"}`, "client: the negotiation was redirected to something that is no http or https URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.answer) }))
			t.Cleanup(web.Close)
			if err := prepare(t, web.URL, client.Options{}).Start(within(t)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Start: %v, want %s", err, tt.want)
			}
		})
	}
}

// With version 0 of the negotiation the id is the token.
func TestOldNegotiation(t *testing.T) {
	s := serve(t, hub.Options{}, nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/negotiate") {
			if id := r.URL.Query().Get("id"); id != "id+/=" {
				t.Errorf("the token is %q", id)
			}
			q := r.URL.Query()
			q.Del("id")
			r.URL.RawQuery = q.Encode()
			s.ServeHTTP(w, r)
			return
		}
		io.WriteString(w, `{"negotiateVersion":0,"connectionId":"id+/=","availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]}]}`)
	}))
	t.Cleanup(web.Close)
	c := dial(t, web.URL+"/lab", client.Options{})
	diff(t, "id", "id+/=", c.ConnectionID())
}

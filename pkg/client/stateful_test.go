package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

func sequence(n int) string { return fmt.Sprintf(`{"type":9,"sequenceId":%d}`, n) }
func ack(n int) string      { return fmt.Sprintf(`{"type":8,"sequenceId":%d}`, n) }
func sent(n int) string     { return fmt.Sprintf(`{"type":1,"target":"Method","arguments":[%d]}`, n) }

// stateful returns options for connections that can be resumed, with hooks that must not be called.
func stateful(t *testing.T) client.Options {
	return client.Options{
		StatefulReconnect: true,
		Reconnect:         client.DefaultReconnect,
		Hooks: client.Hooks{
			Reconnecting: func(err error) { t.Errorf("the connection was lost: %v", err) },
		},
	}
}

// The link is cut in the middle of what both sides send, twice. Nothing is missing, and nothing comes twice.
func TestResume(t *testing.T) {
	var pending string // an invocation's id
	s := &stage{stateful: true, talk: func(p *peer) {
		switch p.number {
		case 1:
			p.want(`{"protocol":"json","version":2}`)
			p.send(`{}`, invocation(1), invocation(2))
			p.want(sent(1), sent(2))
			p.send(ack(1))
			p.want(ack(2))
			pending = p.read()
			// Broken: the client has 1 and 2, we have 3 messages.
		case 2:
			p.want(sequence(2), sent(2), pending) // 2 was not acknowledged
			// The client must not number what comes before it knows where we go on.
			p.send(invocation(77), sequence(2), invocation(2), invocation(3))
			p.want(ack(3))
			p.send(ack(3))
			p.want(sent(3))
		case 3:
			p.want(sequence(4), sent(3))
			p.send(sequence(4), fmt.Sprintf(`{"type":3,"invocationId":%s,"result":"late"}`, `"1"`), ack(4))
			p.want(sent(4))
			p.rest()
		}
	}}
	play(t, s, stateful(t), func(t *testing.T, c *client.Client) {
		numbers := make(chan int, 16)
		c.On("number", func(n int) { numbers <- n })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := c.ConnectionID()
		send := func(n int) {
			if err := c.Send(t.Context(), "Method", n); err != nil {
				t.Error(err)
			}
		}
		send(1)
		send(2)
		diff(t, "numbers", []int{1, 2}, []int{<-numbers, <-numbers})
		time.Sleep(1500 * time.Millisecond) // the acknowledgement has been sent

		answer := make(chan string)
		go func() {
			got, err := client.Invoke[string](t.Context(), c, "Ask")
			answer <- fmt.Sprint(got, " ", err)
		}()
		diff(t, "number", 3, <-numbers)
		time.Sleep(2 * time.Second)
		send(3) // the second link breaks behind it
		diff(t, "answer", "late <nil>", <-answer)
		send(4)
		diff(t, "id", id, c.ConnectionID())
		diff(t, "state", client.Connected, c.State())
		if s.negotiated != 1 || s.opened != 3 {
			t.Errorf("%d negotiations, %d sockets", s.negotiated, s.opened)
		}
	})
}

// What cannot be resumed is lost, and connected again from the start.
func TestResumeFails(t *testing.T) {
	for _, tt := range []struct {
		name    string
		end     func(s *stage, p *peer) // of the first link
		resumed func(p *peer)           // what a second link is told, if it is one that resumes
		sockets int
	}{
		{"refused", func(s *stage, _ *peer) { s.mu.Lock(); s.refuse = http.StatusNotFound; s.mu.Unlock() }, nil, 2},
		{"accepted and broken again", func(*stage, *peer) {}, func(*peer) {}, 3},
		{"messages missing", func(*stage, *peer) {}, func(p *peer) { p.send(sequence(2)); p.rest() }, 3},
		{"closed", func(_ *stage, p *peer) { p.ws.Close(1000, "") }, nil, 2},
		{"closed with a message", func(_ *stage, p *peer) { p.send(`{"type":7,"allowReconnect":true}`); p.rest() }, nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &stage{stateful: true}
			s.talk = func(p *peer) {
				switch {
				case p.number == 1:
					p.shake()
					p.want(sent(1))
					tt.end(s, p)
				case p.number == 2 && tt.resumed != nil:
					p.want(sequence(1))
					tt.resumed(p)
				default:
					p.want(`{"protocol":"json","version":2}`)
					p.send(`{}`, invocation(1))
					p.want(sent(2), `{"type":7}`)
					p.rest()
				}
			}
			reasons := make(map[string]error)
			o := client.Options{StatefulReconnect: true, Reconnect: client.ReconnectAfter(time.Second)}
			o.Hooks.Reconnecting = func(err error) {
				reasons["lost"] = err
				s.mu.Lock()
				s.refuse = 0
				s.mu.Unlock()
			}
			play(t, s, o, func(t *testing.T, c *client.Client) {
				numbers := make(chan int, 1)
				c.On("number", func(n int) { numbers <- n })
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := c.Send(t.Context(), "Method", 1); err != nil {
					t.Error(err)
				}
				diff(t, "number", 1, <-numbers)
				if err := c.Send(t.Context(), "Method", 2); err != nil {
					t.Error(err)
				}
				diff(t, "id", "id2", c.ConnectionID())
				if reasons["lost"] == nil {
					t.Error("the connection was not lost")
				}
				if s.negotiated != 2 || s.opened != tt.sockets {
					t.Errorf("%d negotiations, %d sockets", s.negotiated, s.opened)
				}
			})
		})
	}
}

// An acknowledgement may be lost with its link, and half a message is.
func TestAcknowledgedAgain(t *testing.T) {
	s := &stage{stateful: true, talk: func(p *peer) {
		if p.number == 1 {
			p.shake()
			p.send(invocation(1))
			p.want(ack(1))
			p.ws.Write(context.Background(), websocket.MessageText, []byte(invocation(2)[:10]))
			return
		}
		p.want(sequence(1))
		p.send(sequence(1), invocation(1))
		p.want(ack(1))
		p.send(invocation(2))
		p.rest()
	}}
	play(t, s, stateful(t), func(t *testing.T, c *client.Client) {
		numbers := make(chan int, 1)
		c.On("number", func(n int) { numbers <- n })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		diff(t, "numbers", []int{1, 2}, []int{<-numbers, <-numbers})
	})
}

// A silent link is cut, and the connection goes on over another.
func TestResumeAfterSilence(t *testing.T) {
	s := &stage{stateful: true, talk: func(p *peer) {
		if p.number == 1 {
			p.shake()
			p.rest()
			return
		}
		p.want(sequence(1))
		p.send(sequence(1), invocation(1))
		p.rest()
	}}
	play(t, s, stateful(t), func(t *testing.T, c *client.Client) {
		numbers := make(chan int, 1)
		c.On("number", func(n int) { numbers <- n })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		diff(t, "number", 1, <-numbers)
		diff(t, "time", client.DefaultServerTimeout, time.Since(start))
	})
}

// What is not acknowledged is kept, up to a bound; then calls wait.
func TestUnacknowledged(t *testing.T) {
	s := &stage{stateful: true, talk: func(p *peer) {
		p.shake()
		p.want(sent(1), sent(2))
		time.Sleep(10 * time.Second)
		p.send(ack(99)) // of what was sent, all; of what was not, nothing
		p.want(sent(3))
		p.rest()
	}}
	o := stateful(t)
	o.SendBuffer = 60
	play(t, s, o, started(func(t *testing.T, c *client.Client) {
		start := time.Now()
		for n := range 3 {
			if err := c.Send(t.Context(), "Method", n+1); err != nil {
				t.Fatal(err)
			}
		}
		diff(t, "time", 10*time.Second, time.Since(start))
	}))
}

// A server that does not grant it has a client like any other.
func TestStatefulNotGranted(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.want(`{"protocol":"json","version":1}`)
		p.send(`{}`)
		p.want(sent(1))
	}}
	play(t, s, client.Options{StatefulReconnect: true}, started(func(t *testing.T, c *client.Client) {
		// The connection may break before it is known that the message has gone.
		if err := c.Send(t.Context(), "Method", 1); err != nil && !errors.Is(err, client.ErrClosed) {
			t.Error(err)
		}
		<-c.Done()
		if err := c.Err(); err == nil || errors.Is(err, client.ErrServerClosed) || !strings.Contains(err.Error(), "the connection broke") {
			t.Errorf("it ended with %v", err)
		}
	}))
}

// cutter opens connections that it can cut.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
	cuts  int // of connections that were still there
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		if conn.Close() == nil {
			c.cuts++
		}
	}
	c.conns = nil
}

// ledger is a hub that takes down numbers.
type ledger struct{ numbers chan int }

func (l ledger) Note(_ *hub.Call, n int) { l.numbers <- n }

// With our server: the connection is cut again and again while both sides send numbered messages.
func TestResumeOnHub(t *testing.T) {
	const total, interval = 600, 100
	for _, codec := range []protocol.Codec{protocol.JSON, protocol.MessagePack} {
		t.Run(codec.Name(), func(t *testing.T) {
			book := ledger{make(chan int, total)}
			s := serve(t, hub.Options{}, nil)
			if err := s.Map("/ledger", book); err != nil {
				t.Fatal(err)
			}
			var line cutter
			transport := &http.Transport{DialContext: line.dial}
			t.Cleanup(transport.CloseIdleConnections)
			o := stateful(t)
			o.Codec, o.HTTPClient = codec, &http.Client{Transport: transport}
			c := prepare(t, s.web.URL+"/ledger", o)
			heard := make(chan int, total)
			c.On("Number", func(n int) {
				heard <- n
				if n%interval == interval/2 {
					line.cut()
				}
			})
			ctx := within(t)
			if err := c.Start(ctx); err != nil {
				t.Fatal(err)
			}
			id := c.ConnectionID()
			for first := 0; first < total; first += interval {
				var senders sync.WaitGroup
				senders.Go(func() {
					for n := first; n < first+interval; n++ {
						if err := s.Hub("/ledger").Clients().All().Send(ctx, "Number", n); err != nil {
							t.Error(err)
						}
					}
				})
				senders.Go(func() {
					for n := first; n < first+interval; n++ {
						if err := c.Send(ctx, "Note", n); err != nil {
							t.Error(err)
						}
					}
				})
				for want := first; want < first+interval; want++ {
					if n := next(t, heard); n != want {
						t.Fatalf("the client heard %d, not %d", n, want)
					}
				}
				for want := first; want < first+interval; want++ {
					if n := next(t, book.numbers); n != want {
						t.Fatalf("the server heard %d, not %d", n, want)
					}
				}
				senders.Wait()
			}
			diff(t, "id", id, c.ConnectionID())
			if line.cuts < total/interval {
				t.Errorf("the connection was cut %d times", line.cuts)
			}
		})
	}
}

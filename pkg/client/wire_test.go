package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/hubfleet/hubfleet/pkg/client"
)

func TestKeepAlive(t *testing.T) {
	var pings []time.Duration
	s := &stage{talk: func(p *peer) {
		p.shake()
		start := time.Now()
		for range 4 {
			if got := p.any(); got != ping {
				t.Errorf("got %s", got)
			}
			pings = append(pings, time.Since(start))
			p.send(ping)
		}
		p.ws.Close(1000, "")
	}}
	play(t, s, client.Options{}, started(func(t *testing.T, c *client.Client) { <-c.Done() }))
	diff(t, "pings", []time.Duration{0, 15 * time.Second, 30 * time.Second, 45 * time.Second}, pings)
}

func TestServerTimeout(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		time.Sleep(20 * time.Second)
		p.send(ping)
		p.rest()
	}}
	play(t, s, client.Options{}, started(func(t *testing.T, c *client.Client) {
		start := time.Now()
		<-c.Done()
		if err := c.Err(); !errors.Is(err, client.ErrServerTimeout) {
			t.Errorf("it ended with %v", err)
		}
		diff(t, "silence", 50*time.Second, time.Since(start))
	}))
}

func TestNoTimers(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		time.Sleep(time.Hour)
		p.send(`{"type":7}`)
		if got := p.any(); got != "" {
			t.Errorf("the client sent %s", got)
		}
	}}
	play(t, s, client.Options{KeepAlive: -1, ServerTimeout: -1}, started(func(t *testing.T, c *client.Client) {
		<-c.Done()
		if err := c.Err(); !errors.Is(err, client.ErrServerClosed) {
			t.Errorf("it ended with %v", err)
		}
	}))
}

func TestHandshake(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(p *peer)
		want string
	}{
		{"refused", func(p *peer) {
			p.want(`{"protocol":"json","version":1}`)
			p.send(`{"error":"The protocol 'json' is not supported."}`)
			p.rest()
		}, "client: the server refused the handshake: The protocol 'json' is not supported."},
		{"no answer", func(p *peer) { p.rest() }, "client: the server did not answer the handshake in time"},
		{"a message", func(p *peer) { p.any(); p.send(ping); p.rest() }, "client: the answer to the handshake: Expected a handshake response from the server."},
		{"closed", func(p *peer) { p.any(); p.ws.Close(1011, "") }, `client: waiting for the answer to the handshake: client: the server ended the connection with WebSocket status 1011 ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, &stage{talk: tt.talk}, client.Options{}, func(t *testing.T, c *client.Client) {
				if err := c.Start(t.Context()); err == nil || err.Error() != tt.want {
					t.Errorf("Start: %v, want %s", err, tt.want)
				}
				diff(t, "state", client.Disconnected, c.State())
			})
		})
	}
}

func TestEndings(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(p *peer)
		want string
		is   error
	}{
		{"close", func(p *peer) { p.send(`{"type":7}`) }, "client: the server closed the connection", client.ErrServerClosed},
		{"close with an error", func(p *peer) { p.send(`{"type":7,"error":"Go away."}`) },
			"client: the server closed the connection with the following error: Go away.", client.ErrServerClosed},
		{"socket closed", func(p *peer) { p.ws.Close(1000, "") }, "client: the server ended the connection", nil},
		{"no message", func(p *peer) { p.send(`{"type":1}`) }, "client: the server broke the protocol: Missing required property 'target'.", nil},
		{"too large", func(p *peer) { p.send(`{"type":3,"invocationId":"1","error":"` + strings.Repeat("x", 1000) + `"}`) },
			"client: a message is larger than Options.MaxMessageSize", client.ErrTooLarge},
		{"too large, and not whole", func(p *peer) {
			p.ws.Write(context.Background(), 1, []byte(strings.Repeat(" ", 1001)))
		}, "client: a message is larger than Options.MaxMessageSize", client.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &stage{talk: func(p *peer) {
				p.shake()
				p.send(`{"type":99}`, invocation(1)) // what is unknown is passed over
				if id := p.read(); !strings.Contains(id, `"invocationId":"1"`) {
					t.Errorf("got %s", id)
				}
				tt.end(p)
				p.rest()
			}}
			play(t, s, client.Options{MaxMessageSize: 1000}, func(t *testing.T, c *client.Client) {
				numbers := make(chan int, 1)
				c.On("number", func(n int) { numbers <- n })
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				diff(t, "number", 1, <-numbers)
				if err := c.Invoke(t.Context(), nil, "Method"); !errors.Is(err, client.ErrClosed) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("an invocation under way: %v", err)
				}
				<-c.Done()
				if err := c.Err(); err.Error() != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("it ended with %v, want %s", err, tt.want)
				}
			})
		})
	}
}

func TestInvokeGivenUp(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		p.want(`{"type":1,"invocationId":"1","target":"Method","arguments":[]}`, `{"type":5,"invocationId":"1"}`)
		p.send(`{"type":3,"invocationId":"1","result":null}`) // too late
		p.want(`{"type":1,"invocationId":"2","target":"Method","arguments":["x"],"streamIds":["3"]}`)
		both := []string{p.read(), p.read()} // in any order
		slices.Sort(both)
		diff(t, "ends", []string{`{"type":3,"invocationId":"3","error":"context deadline exceeded"}`, `{"type":5,"invocationId":"2"}`}, both)
		p.want(`{"type":7}`)
		p.rest()
	}}
	play(t, s, client.Options{}, started(func(t *testing.T, c *client.Client) {
		for _, args := range [][]any{nil, {"x", make(chan int)}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := c.Invoke(ctx, nil, "Method", args...); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Invoke: %v", err)
			}
			cancel()
		}
	}))
}

// A handler that does not return holds up the others, and in the end the connection, but not for ever.
func TestSlowHandler(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		go p.rest()
		for n := range 1000 {
			p.send(invocation(n))
		}
	}}
	play(t, s, client.Options{ReceiveBuffer: 1000}, func(t *testing.T, c *client.Client) {
		c.On("number", func(ctx context.Context, _ int) { <-ctx.Done() })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-c.Done()
		if err := c.Err(); !errors.Is(err, client.ErrSlow) {
			t.Errorf("it ended with %v", err)
		}
		diff(t, "time", client.DefaultServerTimeout, time.Since(start))
	})
}

// A stream that is not read is given up, and the connection goes on.
func TestSlowStream(t *testing.T) {
	const item = `{"type":2,"invocationId":"1","item":"x"}`
	s := &stage{talk: func(p *peer) {
		p.shake()
		p.want(`{"type":4,"invocationId":"1","target":"Items","arguments":[]}`)
		for range 100 {
			p.send(item)
		}
		p.want(`{"type":5,"invocationId":"1"}`)
		p.send(item, `{"type":3,"invocationId":"1"}`)
		p.want(`{"type":1,"invocationId":"2","target":"Method","arguments":[]}`)
		p.send(`{"type":3,"invocationId":"2","result":7}`)
		p.rest()
	}}
	play(t, s, client.Options{ReceiveBuffer: 1000}, started(func(t *testing.T, c *client.Client) {
		var items int
		var last error
		for _, err := range client.Stream[string](t.Context(), c, "Items") {
			if items == 0 {
				time.Sleep(45 * time.Second)
			}
			items++
			last = err
		}
		if !errors.Is(last, client.ErrSlow) || items < 10 || items > 50 {
			t.Errorf("after %d items: %v", items, last)
		}
		if n, err := client.Invoke[int](t.Context(), c, "Method"); n != 7 || err != nil {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	}))
}

// Answers come through although the handler that waits for them has more to do than there is room for.
func TestHandlerCallsWithFullQueue(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		for n := range 50 {
			p.send(invocation(n))
		}
		p.want(`{"type":1,"invocationId":"1","target":"Method","arguments":[]}`)
		p.send(`{"type":3,"invocationId":"1","result":null}`)
		p.rest()
	}}
	play(t, s, client.Options{ReceiveBuffer: 1000}, func(t *testing.T, c *client.Client) {
		last := make(chan int, 1)
		c.On("number", func(ctx context.Context, n int) {
			if n == 0 {
				time.Sleep(time.Second) // the queue fills
				if err := c.Invoke(ctx, nil, "Method"); err != nil {
					t.Error(err)
				}
			}
			if n == 49 {
				last <- n
			}
		})
		start := time.Now()
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-last
		diff(t, "time", time.Second, time.Since(start))
	})
}

// What a server says goodbye to that does not answer is cut when the context ends.
func TestStopInTime(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		time.Sleep(time.Hour)
	}}
	play(t, s, client.Options{ServerTimeout: -1, KeepAlive: -1}, started(func(t *testing.T, c *client.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := c.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		<-c.Done()
		if took := time.Since(start); took != time.Second {
			t.Errorf("Stop took %v", took)
		}
	}))
}

func TestSendWaitsForRoom(t *testing.T) {
	const n = 50
	s := &stage{talk: func(p *peer) {
		p.shake()
		time.Sleep(10 * time.Second) // nothing is taken: a pipe holds nothing
		for i := range n {
			p.want(fmt.Sprintf(`{"type":1,"target":"Method","arguments":[%d]}`, i))
		}
		p.rest()
	}}
	play(t, s, client.Options{SendBuffer: 500, KeepAlive: -1}, started(func(t *testing.T, c *client.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		for i := range n {
			if err := c.Send(t.Context(), "Method", i); err != nil {
				t.Fatal(err)
			}
		}
		diff(t, "time", 10*time.Second, time.Since(start))
		if err := c.Send(ctx, "Method", n); !errors.Is(err, context.DeadlineExceeded) && err != nil {
			t.Error(err)
		}
	}))
}

// A server that says goodbye is answered as the official clients do it: by closing the socket first.
func TestCloseAnswered(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		p.send(`{"type":7}`)
		for {
			if _, _, err := p.ws.Read(context.Background()); err != nil {
				diff(t, "status", websocket.StatusNormalClosure, websocket.CloseStatus(err))
				return
			}
		}
	}}
	play(t, s, client.Options{}, started(func(t *testing.T, c *client.Client) { <-c.Done() }))
}

// The streams of a call that has ended, or whose connection has, are not sent any further.
func TestStreamsEndWithTheirCall(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		p.want(`{"type":1,"invocationId":"1","target":"Method","arguments":[],"streamIds":["2"]}`)
		p.send(`{"type":3,"invocationId":"1","result":null}`)
		p.want(`{"type":1,"target":"Method","arguments":[],"streamIds":["3"]}`)
	}}
	play(t, s, client.Options{}, started(func(t *testing.T, c *client.Client) {
		if err := c.Invoke(t.Context(), nil, "Method", make(chan int)); err != nil {
			t.Error(err)
		}
		if err := c.Send(t.Context(), "Method", make(chan int)); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	}))
}

// Stop does not start handlers for what is still in line.
func TestStopDropsTheQueue(t *testing.T) {
	s := &stage{talk: func(p *peer) {
		p.shake()
		p.send(invocation(1), invocation(2), invocation(3))
		p.rest()
	}}
	play(t, s, client.Options{}, func(t *testing.T, c *client.Client) {
		running := make(chan int, 3)
		c.On("number", func(ctx context.Context, n int) {
			running <- n
			<-ctx.Done()
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		diff(t, "handler", 1, <-running)
		synctest.Wait()
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		diff(t, "handlers that were started", 0, len(running))
	})
}

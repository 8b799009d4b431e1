package transport

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventFormat(t *testing.T) {
	for payload, want := range map[string]string{
		"":                           "\r\n",
		"Hello, World":               "data: Hello, World\r\n\r\n",
		"Hello\r\nWorld":             "data: Hello\r\ndata: World\r\n\r\n",
		"Hello\nWorld":               "data: Hello\r\ndata: World\r\n\r\n",
		"Hello\n":                    "data: Hello\r\ndata: \r\n\r\n",
		"Hello\r\n":                  "data: Hello\r\ndata: \r\n\r\n",
		"\n":                         "data: \r\ndata: \r\n\r\n",
		"\r\n\r\n":                   "data: \r\ndata: \r\ndata: \r\n\r\n",
		"a\r\r\nb\r":                 "data: a\r\r\ndata: b\r\r\n\r\n",
		"a\rb":                       "data: a\rb\r\n\r\n",
		"{\"type\":6}\x1e":           "data: {\"type\":6}\x1e\r\n\r\n",
		"{\"a\":1}\x1e{\"b\"\n}\x1e": "data: {\"a\":1}\x1e{\"b\"\r\ndata: }\x1e\r\n\r\n",
	} {
		for cut := range len(payload) + 1 { // it does not matter in how many frames it comes
			var got strings.Builder
			if err := writeEvent(&got, []*Frame{text(payload[:cut]), text(""), text(payload[cut:])}); err != nil || got.String() != want {
				t.Errorf("%q, cut at %d: %q, %v; want %q", payload, cut, got.String(), err, want)
			}
		}
	}
	broken := errors.New("broken")
	if err := writeEvent(failing{broken}, []*Frame{text("a\nb")}); err != broken {
		t.Errorf("got %v", err)
	}
	if err := writeEvent(failing{broken}, nil); err != broken {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// open opens a connection over Server-Sent Events, and returns what comes of it behind the first comment.
func (s *site) open(t testing.TB) (token string, from *bufio.Reader, conn Conn) {
	t.Helper()
	token, _ = s.token(t)
	from, conn = s.events(t, token)
	return token, from, conn
}

func nextEvent(t testing.TB, from *bufio.Reader) string {
	t.Helper()
	var event strings.Builder
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		event.WriteString(line)
		if line == "\r\n" {
			return event.String()
		}
	}
}

func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		token, from, conn := s.open(t)
		if conn.Kind() != ServerSentEvents || !isID(conn.ID()) {
			t.Errorf("%s %s", conn.Kind(), conn.ID())
		}
		conn.SetBinary()
		conn.Ping()
		for range 3 {
			time.Sleep(time.Minute) // far longer than the server's own timeouts, and than long polling may be silent
			written := write(conn, "one ", "two")
			if got := nextEvent(t, from); got != "data: one two\r\n\r\n" {
				t.Errorf("got %q", got)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		s.post(t, token, "hello")
		if got := nextText(t, conn); got != "hello" || conn.LastRead().Before(began) {
			t.Errorf("got %q, last read %v", got, conn.LastRead())
		}
		read := next(conn)
		synctest.Wait()
		conn.Close(errors.New("x"))
		conn.Close(nil)
		conn.Abort()
		if b, err := io.ReadAll(from); len(b) > 0 || err != nil {
			t.Errorf("the response ends with %q, %v", b, err)
		}
		if got := <-read; got != "error: "+net.ErrClosed.Error() {
			t.Errorf("Next: %s", got)
		}
		if err := conn.Write([]*Frame{text("late")}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		s.start(t, "POST", "/chat?id="+token, strings.NewReader("late")).expect(t, "POST afterwards", answerUnknown)
	})
}

func TestEventsClientLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		token, _ := s.token(t)
		d := s.start(t, "GET", "/chat?id="+token, nil)
		d.expect(t, "a poll", answerOpened)
		s.conn(t).Abort()

		token, _, conn := s.open(t)
		s.post(t, token, "goodbye")
		s.server.CloseClientConnections()
		synctest.Wait()
		if got := nextText(t, conn); got != "goodbye" {
			t.Errorf("got %q, want what was posted before", got)
		}
		if _, err := conn.Next(); err != io.EOF {
			t.Errorf("Next: %v, want EOF", err)
		}
		if err := conn.Write([]*Frame{text("late")}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		conn.Close(nil)
		s.start(t, "POST", "/chat?id="+token, nil).expect(t, "POST afterwards", answerUnknown)
	})
}

func TestEventsAbort(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		token, from, conn := s.open(t)
		s.post(t, token, "unread")
		conn.Abort()
		if b, err := io.ReadAll(from); err == nil {
			t.Errorf("the response ends properly, with %q", b)
		}
		if _, err := conn.Next(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	})
}

// Who is given a connection may refuse it at once.
func TestAcceptAborts(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		for range 2 {
			token, _ := s.token(t)
			r, _ := http.NewRequestWithContext(t.Context(), "GET", s.server.URL+"/chat?id="+token, nil)
			r.Header.Set("Accept", "text/event-stream")
			if response, err := s.server.Client().Do(r); err == nil {
				_, err = io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err == nil {
					t.Error("the response ends properly")
				}
			}
			token, _ = s.token(t)
			s.start(t, "GET", "/chat?id="+token, nil).expect(t, "the first poll", answerOpened)
			s.start(t, "GET", "/chat?id="+token, nil).expect(t, "the second", answerUnknown)
		}
	}, func(e *Endpoint) { e.Accept = func(c Conn, _ *Request) { c.Abort() } })
}

func TestEventsClientDoesNotRead(t *testing.T) {
	s := newSite(t, func(e *Endpoint) { e.SendTimeout = 200 * time.Millisecond })
	token, _ := s.token(t)
	d := s.dialog(t)
	d.say("GET", "/chat?id="+token, "Accept: text/event-stream\n", "")
	d.hearUntil(":\r\n\r\n")
	conn := s.conn(t)
	frame := []*Frame{text(strings.Repeat("x", 1<<20))}
	began := time.Now()
	var err error
	for range 100 {
		if err = conn.Write(frame); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > patience {
		t.Errorf("Write: %v after %v", err, time.Since(began))
	}
	if _, err := conn.Next(); err == nil || err == io.EOF {
		t.Errorf("Next: %v", err)
	}
	if err := conn.Write(frame); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write afterwards: %v", err)
	}
	if got, _ := s.ask(t, "POST", "/chat?id="+token, ""); got != answerUnknown {
		t.Errorf("%+v", got)
	}
}

// The time is the send timeout, neither more nor less. HTTP/2 has words of its own for it.
func TestEventsSendTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		_, _, conn := s.open(t)
		frame := []*Frame{text(strings.Repeat("x", 1<<20))}
		began := time.Now()
		var err error
		for range 100 {
			began = time.Now()
			if err = conn.Write(frame); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		if took := time.Since(began); took != DefaultSendTimeout {
			t.Errorf("took %v, want %v", took, DefaultSendTimeout)
		}
	})
}

// A write that is under way is cut short by Abort.
func TestEventsAbortWhileWriting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		_, _, conn := s.open(t)
		written := write(conn, strings.Repeat("x", 32<<20))
		synctest.Wait()
		began := time.Now()
		conn.Abort()
		if err := <-written; err == nil || time.Since(began) > 0 {
			t.Errorf("Write: %v after %v", err, time.Since(began))
		}
	})
}

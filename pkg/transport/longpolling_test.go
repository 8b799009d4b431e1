package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPolls(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, token, conn := s.polling(t)
		if conn.Kind() != LongPolling || conn.ID() == token || !isID(conn.ID()) {
			t.Errorf("%s %s", conn.Kind(), conn.ID())
		}
		conn.SetBinary()
		conn.Ping()

		written := write(conn, "one ", "two ")
		synctest.Wait()
		s.start(t, "GET", url+"&_=1", nil).expect(t, "what waits for the poll", answerData("one two "))
		if err := <-written; err != nil {
			t.Error(err)
		}
		poll := s.start(t, "GET", url, nil)
		synctest.Wait()
		if err := <-write(conn, "three"); err != nil {
			t.Error(err)
		}
		poll.expect(t, "the poll that waits for something", answerData("three"))

		s.post(t, token, "hello")
		if got := nextText(t, conn); got != "hello" {
			t.Errorf("got %q", got)
		}
		if err := conn.Write(nil); err != nil {
			t.Error(err)
		}
	})
}

// The newest poll is the one that counts.
func TestPollSuperseded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		var polls []future
		for range 3 {
			polls = append(polls, s.start(t, "GET", url, nil))
			synctest.Wait()
		}
		polls[0].expect(t, "the first", answerOver)
		polls[1].expect(t, "the second", answerOver)
		if err := <-write(conn, "x"); err != nil {
			t.Error(err)
		}
		polls[2].expect(t, "the third", answerData("x"))
	})
}

// A client may have read an answer, and be back with its next poll and with something to be answered to it, before we are done with the
// one that brought that answer. The next poll must then look again.
func TestPollBehindOneThatIsSending(t *testing.T) {
	c := newLongPoll(newSession(&Endpoint{}, Token{}, nil))
	sending, next := &poll{wake: make(chan struct{}, 1)}, &poll{wake: make(chan struct{}, 1)}
	c.sending, c.waiting = sending, next
	c.writing, c.frames = true, []*Frame{text("more")}
	if _, answer := c.next(next); answer != pollNothing {
		t.Fatalf("the next poll is answered with %v while the first is being sent", answer)
	}
	c.leave(sending)
	select {
	case <-next.wake:
	default:
		t.Fatal("nobody wakes the poll")
	}
	if frames, answer := c.next(next); answer != pollData || len(frames) != 1 {
		t.Errorf("%d frames, %v", len(frames), answer)
	}
}

func TestPollTimeout(t *testing.T) {
	for want, set := range map[time.Duration]time.Duration{90 * time.Second: 0, time.Minute: time.Minute} {
		inBubble(t, func(t *testing.T, s *site) {
			url, _, _ := s.polling(t)
			for range 3 {
				began := time.Now()
				s.start(t, "GET", url, nil).expect(t, "a poll without an event", answerNothing)
				if took := time.Since(began); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			}
		}, func(e *Endpoint) { e.PollTimeout = set })
	}
}

// Between two polls a Write waits, and the client may take its time; when it takes too much, everybody is told.
func TestPollsDoNotCome(t *testing.T) {
	for want, set := range map[time.Duration]time.Duration{15 * time.Second: 0, time.Minute: time.Minute} {
		inBubble(t, func(t *testing.T, s *site) {
			url, _, conn := s.polling(t)
			for range 3 {
				time.Sleep(want - time.Second)
				poll := s.start(t, "GET", url, nil)
				synctest.Wait()
				poll.cancel() // a poll that ends without an answer counts as well
				synctest.Wait()
			}
			written := write(conn, "patience")
			time.Sleep(want - time.Second)
			s.start(t, "GET", url, nil).expect(t, "in time", answerData("patience"))
			if err := <-written; err != nil {
				t.Error(err)
			}

			began := time.Now()
			written = write(conn, "in vain")
			err := <-written
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "did not poll for "+want.String()) {
				t.Errorf("Write: %v", err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
			if _, err := conn.Next(); err == nil || err == io.EOF {
				t.Errorf("Next: %v", err)
			}
			s.start(t, "GET", url, nil).expect(t, "too late", answerUnknown)
			if err := conn.Write([]*Frame{text("x")}); err == nil {
				t.Error("Write succeeds after the end")
			}
			conn.Close(nil)
		}, func(e *Endpoint) { e.DisconnectTimeout = set })
	}
}

// What is written while nobody polls any more is not lost with the poll that the client gave up.
func TestPollAbandoned(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		poll := s.start(t, "GET", url, nil)
		synctest.Wait()
		poll.cancel()
		<-poll.answer
		synctest.Wait()
		written := write(conn, "kept")
		s.start(t, "GET", url, nil).expect(t, "the next poll", answerData("kept"))
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

func TestPollsClose(t *testing.T) {
	tests := map[string]func(t *testing.T, s *site, url string, conn Conn, closed <-chan struct{}){
		"while a poll waits": nil,
		"between two polls": func(t *testing.T, s *site, url string, _ Conn, closed <-chan struct{}) {
			time.Sleep(4 * time.Second)
			select {
			case <-closed:
				t.Error("Close did not wait for the last poll")
			default:
			}
			s.start(t, "GET", url, nil).expect(t, "the last poll", answerOver)
		},
		"and the client does not come": func(t *testing.T, _ *site, _ string, _ Conn, closed <-chan struct{}) {
			began := time.Now()
			<-closed
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("Close took %v", took)
			}
		},
		"and Abort comes": func(_ *testing.T, _ *site, _ string, conn Conn, _ <-chan struct{}) { conn.Abort() },
		"and DELETE comes": func(t *testing.T, s *site, url string, _ Conn, _ <-chan struct{}) {
			s.start(t, "DELETE", url, nil).expect(t, "DELETE", answer{202, "text/plain", ""})
		},
	}
	for name, then := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				url, token, conn := s.polling(t)
				var poll future
				if then == nil {
					poll = s.start(t, "GET", url, nil)
				}
				read, closed := next(conn), make(chan struct{})
				synctest.Wait()
				began := time.Now()
				go func() { defer close(closed); conn.Close(errors.New("x")) }()
				synctest.Wait()
				conn.Close(nil) // the second does not wait
				if got := <-read; got != "error: "+net.ErrClosed.Error() {
					t.Errorf("Next: %s", got)
				}
				if then != nil {
					s.start(t, "POST", "/chat?id="+token, strings.NewReader("late")).expect(t, "POST", answer{404, "text/plain", ""})
					then(t, s, url, conn, closed)
				} else {
					poll.expect(t, "the poll", answerOver)
					if took := time.Since(began); took != 0 {
						t.Errorf("Close took %v, though a poll waited", took)
					}
				}
				<-closed
				s.start(t, "GET", url, nil).expect(t, "afterwards", answerUnknown)
				if err := <-write(conn, "late"); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write: %v", err)
				}
			})
		})
	}
}

// What is being written goes first.
func TestPollsCloseBehindAWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		written := write(conn, "last words")
		synctest.Wait()
		closed := make(chan struct{})
		go func() { defer close(closed); conn.Close(nil) }()
		synctest.Wait()
		s.start(t, "GET", url, nil).expect(t, "the poll", answerData("last words"))
		if err := <-written; err != nil {
			t.Error(err)
		}
		s.start(t, "GET", url, nil).expect(t, "the next", answerOver)
		<-closed
		s.start(t, "GET", url, nil).expect(t, "afterwards", answerUnknown)
	})
}

func TestDelete(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, token, conn := s.polling(t)
		s.post(t, token, "goodbye")
		written := write(conn, "never fetched")
		synctest.Wait()
		s.start(t, "DELETE", url, nil).expect(t, "DELETE", answer{202, "text/plain", ""})
		if err := <-written; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if got := nextText(t, conn); got != "goodbye" {
			t.Errorf("got %q, want what was posted before", got)
		}
		if _, err := conn.Next(); err != io.EOF {
			t.Errorf("Next: %v, want EOF", err)
		}
		conn.Close(nil)
		s.start(t, "DELETE", url, nil).expect(t, "again", answerUnknown)
	})
	t.Run("while a poll waits", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *site) {
			url, _, conn := s.polling(t)
			poll := s.start(t, "GET", url, nil)
			synctest.Wait()
			s.start(t, "DELETE", url, nil).expect(t, "DELETE", answer{202, "text/plain", ""})
			poll.expect(t, "the poll", answerOver)
			conn.Abort()
		})
	})
}

func TestPollsAbort(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, token, conn := s.polling(t)
		s.post(t, token, "unread")
		poll := s.start(t, "GET", url, nil)
		synctest.Wait()
		conn.Abort()
		conn.Abort()
		poll.expect(t, "the poll", answerOver)
		if _, err := conn.Next(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	})
}

// The timer may go off just as a poll comes.
func TestPollsExpireInVain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		conn.(*longPoll).expire() // the last rest began only now
		poll := s.start(t, "GET", url, nil)
		synctest.Wait()
		conn.(*longPoll).expire()
		if err := <-write(conn, "alive"); err != nil {
			t.Error(err)
		}
		poll.expect(t, "the poll", answerData("alive"))
	})
}

// A poll takes what is written, but its client does not.
func TestPollClientDoesNotRead(t *testing.T) {
	s := newSite(t, func(e *Endpoint) { e.SendTimeout = 200 * time.Millisecond })
	token, _ := s.token(t)
	s.ask(t, "GET", "/chat?id="+token, "")
	conn := s.conn(t)
	d := s.dialog(t)
	d.say("GET", "/chat?id="+token, "", "")
	began := time.Now()
	err := conn.Write([]*Frame{text(strings.Repeat("x", 32<<20))})
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > patience/2 {
		t.Errorf("Write: %v after %v", err, time.Since(began))
	}
	if _, err := conn.Next(); err == nil || err == io.EOF {
		t.Errorf("Next: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the reader is told after %v", took)
	}
	// A newer poll does not revive it.
	if got, _ := s.ask(t, "GET", "/chat?id="+token, ""); got != answerUnknown {
		t.Errorf("%+v", got)
	}
}

// An answer that is under way is cut short by Abort.
func TestPollAbortWhileWriting(t *testing.T) {
	s := newSite(t, func(e *Endpoint) { e.SendTimeout = -1 })
	token, _ := s.token(t)
	s.ask(t, "GET", "/chat?id="+token, "")
	conn := s.conn(t)
	d := s.dialog(t)
	d.say("GET", "/chat?id="+token, "", "")
	written := write(conn, strings.Repeat("x", 32<<20))
	d.hearUntil("\r\n\r\n")
	conn.Abort()
	if err := receive(t, written); err == nil {
		t.Error("Write succeeds")
	}
}

package transport

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What is posted before the connection is opened waits for it, whichever it becomes.
func TestPostBeforeAttach(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		token, _ := s.token(t)
		s.post(t, token, "early ")
		s.post(t, token, "bird")
		time.Sleep(14 * time.Second)
		s.start(t, "GET", "/chat?id="+token, nil).expect(t, "the first poll", answerOpened)
		if got := nextText(t, s.conn(t)); got != "early bird" {
			t.Errorf("got %q", got)
		}

		token, _ = s.token(t)
		s.post(t, token, "early")
		_, conn := s.events(t, token)
		if got := nextText(t, conn); got != "early" {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Hour)
		s.post(t, token, "late")

		token, _ = s.token(t)
		s.post(t, token, "early")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		s.start(t, "GET", "/chat?id="+token, nil).expect(t, "too late", answerUnknown)
		select {
		case <-s.accepted:
			t.Error("a connection was opened")
		default:
		}
		if n := len(s.claims.inUse); n != 1 {
			t.Errorf("%d ids are taken, want that of the events", n)
		}
	})
}

// Bodies do not mix, and who came first is served first.
func TestPostsInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		body, rest := io.Pipe()
		first := s.start(t, "POST", url, body)
		_, _ = io.WriteString(rest, "one and ")
		synctest.Wait()
		var others []future
		for _, text := range []string{"two ", "three ", "four "} {
			others = append(others, s.start(t, "POST", url, strings.NewReader(text)))
			synctest.Wait()
		}
		if got := nextText(t, conn); got != "one and " {
			t.Errorf("got %q", got)
		}
		_, _ = io.WriteString(rest, "a half ")
		_ = rest.Close()
		for _, f := range append(others, first) {
			f.expect(t, "POST", answer{200, "text/plain", ""})
		}
		if got := nextText(t, conn); got != "a half two three four " {
			t.Errorf("got %q", got)
		}
	})
}

// A client cannot make us hold more than so much of what it sends.
func TestPostsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, token, conn := s.polling(t)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 5<<10) // together less than what one HTTP/2 connection takes unread
		var posts []future
		for range 10 {
			posts = append(posts, s.start(t, "POST", url, bytes.NewReader(sent)))
		}
		// A poll keeps the connection, while the bodies wait for far longer than the server's own timeouts allow.
		for range 3 {
			poll := s.start(t, "GET", url, nil)
			time.Sleep(80 * time.Second)
			poll.cancel()
		}
		in := &conn.(*longPoll).in
		in.mu.Lock()
		if n := in.buf.Len(); n > maxInput || n < maxInput-postBuffer || in.buf.Cap() > 3*maxInput {
			t.Errorf("%d bytes wait, in %d", n, in.buf.Cap())
		}
		in.mu.Unlock()
		got, want := 0, 10*len(sent)
		for got < want {
			r, err := conn.Next()
			if err != nil {
				t.Fatal(err)
			}
			n, _ := io.Copy(io.Discard, r)
			got += int(n)
		}
		for _, f := range posts {
			f.expect(t, "POST", answer{200, "text/plain", ""})
		}
		if in.buf.Cap() != 0 {
			t.Errorf("%d bytes are kept for nothing", in.buf.Cap())
		}
		s.post(t, token, "and one more")
	})
}

// A POST may wait for room, or for its turn, for far longer than the server's own timeouts allow, and go on where it stopped.
func TestPostsAreInNoHurry(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		later := make(chan struct{})
		want := 0
		var posts []future
		for _, n := range []int{maxInput + postBuffer, 1} {
			body, rest := io.Pipe()
			posts = append(posts, s.start(t, "POST", url, body))
			go func() {
				_, _ = io.WriteString(rest, strings.Repeat("x", n))
				<-later
				_, _ = io.WriteString(rest, "!")
				_ = rest.Close()
			}()
			synctest.Wait()
			want += n + 1
		}
		poll := s.start(t, "GET", url, nil)
		time.Sleep(80 * time.Second)
		poll.cancel()
		close(later)
		for got := 0; got < want; {
			got += len(nextText(t, conn))
		}
		for _, f := range posts {
			f.expect(t, "POST", answer{200, "text/plain", ""})
		}
	})
}

func TestTooManyPosts(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	s.ask(t, "GET", "/chat?id="+token, "")
	conn := s.conn(t)
	body := strings.NewReader(strings.Repeat("x", maxInput+1))
	statuses := make(chan answer, 2*maxPosts)
	var all sync.WaitGroup
	for range maxPosts + 1 { // each waits for room, or for one that does
		f := s.start(t, "POST", "/chat?id="+token, io.NewSectionReader(body, 0, maxInput+1))
		all.Go(func() { statuses <- <-f.answer })
	}
	refused := receive(t, statuses)
	if refused.Status != 429 || refused.ContentType != "text/plain" || !strings.Contains(refused.Body, "one at a time") {
		t.Errorf("%+v", refused)
	}
	if r := receive(t, s.refusals); r != RefusedBusy {
		t.Errorf("reason %q", r)
	}
	conn.Abort()
	all.Wait()
	close(statuses)
	for a := range statuses {
		if a != (answer{404, "text/plain", ""}) {
			t.Errorf("one that waited: %+v", a)
		}
	}
}

// A body that does not come whole is refused, and what came of it is not taken back.
func TestPostBroken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		body, rest := io.Pipe()
		post := s.start(t, "POST", url, body)
		_, _ = io.WriteString(rest, "half")
		synctest.Wait()
		if got := nextText(t, conn); got != "half" {
			t.Errorf("got %q", got)
		}
		post.cancel()
		synctest.Wait()
		if r := receive(t, s.refusals); r != ResultBadRequest {
			t.Errorf("reason %q", r)
		}
		_ = rest.Close()

		began := time.Now()
		body, rest = io.Pipe()
		post = s.start(t, "POST", url, body)
		_, _ = io.WriteString(rest, "and then nothing")
		poll := s.start(t, "GET", url, nil) // keeps the connection
		post.expect(t, "a body that stalls", answer{400, "text/plain", ""})
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("took %v", took)
		}
		_ = rest.Close()
		poll.cancel()
	})
}

// The connection ends while a body comes in.
func TestPostOnAnEndingConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		url, _, conn := s.polling(t)
		body, rest := io.Pipe()
		first := s.start(t, "POST", url, body)
		_, _ = io.WriteString(rest, "half")
		synctest.Wait()
		second := s.start(t, "POST", url, strings.NewReader("x"))
		synctest.Wait()
		conn.Abort()
		second.expect(t, "the one that waits", answer{404, "text/plain", ""})
		_, _ = io.WriteString(rest, "more")
		_ = rest.Close()
		first.expect(t, "the one that is read", answer{404, "text/plain", ""})
	})
}

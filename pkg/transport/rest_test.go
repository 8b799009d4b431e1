package transport

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// resting is Rest on a goroutine of its own, as a hub calls it; closed when it has returned.
func resting(conn Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); conn.Rest() }()
	return done
}

// A client may say several things at once. The library's reader then has what follows a message, in whole or in part, for which the
// network must not be waited for.
func TestRestWithMoreAtHand(t *testing.T) {
	s := newSite(t)
	nc, _, conn := s.rawClient(t, "")
	say := func(text string) {
		if _, err := io.WriteString(nc, text); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := nextText(t, conn); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	for size := range 3 * headerBuffer {
		first := strings.Repeat("1", size)
		for size := range 2 * headerBuffer {
			second := strings.Repeat("2", size)
			say(masked(0x81, first) + masked(0x81, second))
			expect(first)
			wait(t, "Rest between "+first+" and "+second, resting(conn))
			expect(second)
		}
		second := masked(0x81, "second")
		for split := range len(second) {
			say(masked(0x81, first) + second[:split])
			expect(first)
			done := resting(conn)
			say(second[split:])
			wait(t, "Rest behind "+first, done)
			expect("second")
		}
	}
	say(masked(0x81, "last") + masked(0x88, ""))
	expect("last")
	wait(t, "Rest before the end", resting(conn))
	if _, err := conn.Next(); err != io.EOF {
		t.Errorf("Next: %v", err)
	}
	wait(t, "Rest behind the end", resting(conn))
}

// Close reads too, with the same reader, while whoever reads is about to rest: the race detector would see them meet.
func TestRestDuringClose(t *testing.T) {
	s := newSite(t)
	for range 20 {
		nc, br, conn := s.rawClient(t, masked(0x81, "a message"))
		read, done := make(chan struct{}), make(chan error, 1)
		go func() {
			r, err := conn.Next()
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			close(read)
			for c := conn.(*webSocket); !c.ending.Load(); {
				c.buffered()
			}
			for err == nil {
				conn.Rest()
				_, err = conn.Next()
			}
			done <- err
		}()
		wait(t, "the message", read)
		closed := make(chan struct{})
		go func() { defer close(closed); conn.Close(nil) }()
		if got := readFrame(t, br); got != "\x88\x02\x03\xe8" {
			t.Errorf("got %q, want a close frame", got)
		}
		if _, err := io.WriteString(nc, masked(0x88, "\x03\xe8")); err != nil {
			t.Fatal(err)
		}
		wait(t, "Close", closed)
		if err := receive(t, done); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	}
}

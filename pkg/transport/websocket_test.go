package transport

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// messages are what a client receives until the connection ends: each with a letter for its type in front.
func messages(t testing.TB, client *websocket.Conn) <-chan string {
	client.SetReadLimit(32 << 10)
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		for {
			kind, b, err := client.Read(t.Context())
			if err != nil {
				return
			}
			out <- kind.String()[7:8] + ":" + string(b)
		}
	}()
	return out
}

func TestWriteJoins(t *testing.T) {
	s := newSite(t)
	client, conn := s.dial(t, "")
	in := messages(t, client)
	half, large := strings.Repeat("h", maxJoined/2), strings.Repeat("l", maxJoined+1)
	tests := map[string]struct {
		frames []string
		want   []string
	}{
		"nothing":           {nil, nil},
		"one":               {[]string{"a"}, []string{"a"}},
		"several":           {[]string{"a", "b", "c"}, []string{"abc"}},
		"126 bytes":         {[]string{strings.Repeat("x", 125), "y"}, []string{strings.Repeat("x", 125) + "y"}},
		"just in":           {[]string{half, half}, []string{half + half}},
		"one too many":      {[]string{half, half, "c", "d"}, []string{half + half, "cd"}},
		"large":             {[]string{large}, []string{large}},
		"large in between":  {[]string{"a", "b", large, "c", "d"}, []string{"ab", large, "cd"}},
		"large at the end":  {[]string{"a", large}, []string{"a", large}},
		"two large":         {[]string{large, large}, []string{large, large}},
		"a medium one only": {[]string{half}, []string{half}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var frames []*Frame
			for _, f := range test.frames {
				frames = append(frames, text(f))
			}
			if err := conn.Write(frames); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if got := receive(t, in); got != "T:"+want {
					t.Errorf("got %.20q… (%d bytes), want %.20q… (%d bytes)", got, len(got)-2, want, len(want))
				}
			}
		})
	}
	conn.Abort()
	for m := range in {
		t.Errorf("more than that: %.20q", m)
	}
}

func TestSetBinary(t *testing.T) {
	s := newSite(t)
	client, conn := s.dial(t, "")
	in := messages(t, client)
	binary := func(s string) *Frame { return NewFrame(append(make([]byte, Headroom), s...), true) }
	large := strings.Repeat("l", maxJoined+1)
	for _, frames := range [][]*Frame{{text("a")}, {text("a"), text("b")}, {binary("of the wrong type")}} {
		if err := conn.Write(frames); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetBinary()
	for _, frames := range [][]*Frame{{binary("c")}, {binary("c"), binary("d")}, {text("shared with others")}, {text(large)}} {
		if err := conn.Write(frames); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"T:a", "T:ab", "T:of the wrong type", "B:c", "B:cd", "B:shared with others", "B:" + large} {
		if got := receive(t, in); got != want {
			t.Errorf("got %.30q, want %.30q", got, want)
		}
	}
	conn.Abort()
	for range in {
	}
}

func TestRead(t *testing.T) {
	s := newSite(t)
	// What comes right behind the handshake may be more than the small buffer holds.
	var early, want strings.Builder
	for range 40 {
		early.WriteString(masked(0x81, "0123456789"))
		want.WriteString("0123456789")
	}
	early.WriteString(masked(0x82, "binary") + masked(0x01, "frag") + masked(0x89, "ping") + masked(0x00, "men") + masked(0x80, "ts"))
	nc, br, conn := s.rawClient(t, early.String())
	started := conn.LastRead()
	var got strings.Builder
	for range 40 {
		got.WriteString(nextText(t, conn))
	}
	if got.String() != want.String() {
		t.Errorf("got %q", got.String())
	}
	if m := nextText(t, conn); m != "binary" {
		t.Errorf("got %q; the opcode of what comes in does not matter", m)
	}
	if m := nextText(t, conn); m != "fragments" {
		t.Errorf("got %q, want the fragments joined", m)
	}
	if b := readFrame(t, br); b != "\x8a\x04ping" {
		t.Errorf("got %q, want the pong", b)
	}
	conn.Ping()
	if b := readFrame(t, br); b != "\x89\x00" {
		t.Errorf("got %q, want one pong and then what comes next", b)
	}
	// A reader that was left half-read does not disturb the next.
	_, _ = io.WriteString(nc, masked(0x81, "long enough")+masked(0x81, "next"))
	r, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 4)); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if m := nextText(t, conn); m != "next" {
		t.Errorf("got %q, want what follows a message that was not read to its end", m)
	}
	if !conn.LastRead().After(started) {
		t.Errorf("LastRead %v, not after %v", conn.LastRead(), started)
	}
}

// readFrame reads one short frame of the server.
func readFrame(t testing.TB, r io.Reader) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, head[1])
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return string(head) + string(b)
}

// Whatever a client sends in place of a proper frame ends the connection, and no message of it gets through.
func TestBadFrames(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		bytes string
		want  string // what the client gets to read once the server has closed as failed
	}{
		"unmasked":                  {"\x81\x05hello", "\x88\x02\x03\xf3"},
		"garbage":                   {"GET / HTTP/1.1\r\n\r\n", "\x88"},
		"reserved bits":             {masked(0xf1, "x"), "\x88"},
		"unknown opcode":            {masked(0x83, "x"), "\x88"},
		"a continuation of nothing": {masked(0x80, "x"), "\x88"},
		"oversized control frame":   {"\x89\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("x", 126), "\x88"},
		"fragmented control frame":  {masked(0x09, "x"), "\x88"},
		"close with one byte":       {masked(0x88, "x"), "\x88"},
		"close with a bad status":   {masked(0x88, "\x03\xec"), "\x88"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			nc, br, conn := s.rawClient(t, test.bytes)
			_, err := conn.Next()
			if err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("Next: %v, want an error that is not EOF", err)
			}
			_ = nc.CloseWrite()
			conn.Close(err)
			b, _ := io.ReadAll(br)
			if !strings.HasPrefix(string(b), test.want) {
				t.Errorf("the client reads %q, want a close frame that begins with %q", b, test.want)
			}
			if err := conn.Write([]*Frame{text("x")}); err == nil {
				t.Error("Write succeeds after the end")
			}
		})
	}
}

func TestHalfAFrame(t *testing.T) {
	s := newSite(t)
	for name, half := range map[string]string{
		"of a header":  "\x81",
		"of a payload": masked(0x81, "whole")[:8],
		"of a message": masked(0x01, "first"),
	} {
		t.Run(name, func(t *testing.T) {
			nc, _, conn := s.rawClient(t, half)
			_ = nc.CloseWrite()
			for { // what came of the payload may be read, but the end is no orderly one
				r, err := conn.Next()
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				if errors.Is(err, io.EOF) {
					t.Fatal("EOF, as if the client had closed")
				}
				if err != nil {
					break
				}
			}
			conn.Close(nil)
		})
	}
}

func TestPing(t *testing.T) {
	s := newSite(t)
	nc, br, conn := s.rawClient(t, "")
	conn.Ping()
	if b := readFrame(t, br); b != "\x89\x00" {
		t.Errorf("got %q, want a ping", b)
	}
	before := conn.LastRead()
	next := make(chan error)
	go func() { _, err := conn.Next(); next <- err }()
	_, _ = io.WriteString(nc, masked(0x8a, "")+masked(0x88, "\x03\xe8"))
	if err := receive(t, next); err != io.EOF {
		t.Errorf("Next: %v", err)
	}
	if !conn.LastRead().After(before) {
		t.Error("a pong is no sign of life")
	}
}

// Only the write itself finds out that nobody takes the bytes.
func TestPingDoesNotBlock(t *testing.T) {
	ours, theirs := net.Pipe()
	c := &webSocket{}
	c.socket.net, c.socket.onClose = ours, func() {}
	c.Ping() // a write to a pipe waits for its reader
	c.Ping() // and this one finds the first at it
	if b := readFrame(t, theirs); b != "\x89\x00" {
		t.Errorf("got %q, want a ping", b)
	}
	c.Ping()
	_ = c.socket.Close() // waits for it
	if err := c.socket.writeFrame(pingFrame); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}
}

// Pings, pongs, writes and the end, all at once: every frame that the client reads is whole, and nothing follows the close frame.
func TestConcurrentUse(t *testing.T) {
	s := newSite(t)
	for round := range 20 {
		nc, br, conn := s.rawClient(t, "")
		var all sync.WaitGroup
		all.Go(func() {
			for {
				if err := conn.Write([]*Frame{text("one"), text("two")}); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			for {
				if _, err := conn.Next(); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			for range 50 {
				conn.Ping()
				if _, err := io.WriteString(nc, masked(0x89, "p")); err != nil {
					return
				}
			}
			switch round % 3 {
			case 0:
				conn.Abort()
			default:
				all.Go(conn.Abort)
				fallthrough
			case 1:
				conn.Close(nil)
			}
		})
		var frames []string
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(br, head); err != nil {
				break
			}
			b := make([]byte, head[1])
			if _, err := io.ReadFull(br, b); err != nil {
				break
			}
			frames = append(frames, string(head)+string(b))
			if head[0] == 0x88 {
				_, _ = io.WriteString(nc, masked(0x88, string(b)))
			}
		}
		all.Wait()
		for i, f := range frames {
			switch {
			case f == "\x81\x06onetwo", f == "\x89\x00", f == "\x8a\x01p":
			case f == "\x88\x02\x03\xe8" && i == len(frames)-1:
			default:
				t.Fatalf("frame %d of %d is %q", i, len(frames), f)
			}
		}
	}
}

func TestFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		f := text(strings.Repeat("x", n))
		if f.Len() != n || len(f.Bytes()) != n {
			t.Errorf("%d bytes: Len %d, Bytes %d", n, f.Len(), len(f.Bytes()))
		}
		head := f.wire()[:len(f.wire())-n]
		want := map[int]string{0: "\x81\x00", 1: "\x81\x01", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 65535: "\x81\x7e\xff\xff", 65536: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"}[n]
		if diff := cmp.Diff(want, string(head)); diff != "" {
			t.Errorf("%d bytes: %s", n, diff)
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
)

// TestLink sends frames of all sizes through a real socket in pieces of all sizes.
func TestLink(t *testing.T) {
	for _, masked := range []bool{false, true} {
		var wire []byte
		var want []string
		for _, size := range []int{0, 1, 125, 126, 127, 1000, 65535, 65536, 200_000, 3} {
			payload := bytes.Repeat([]byte{byte(size)}, size)
			want = append(want, fmt.Sprint(opBinary, size, byte(size)))
			wire = appendFrame(wire, opBinary, payload, masked)
		}
		for _, piece := range []int{1, 7, 1000, len(wire)} {
			got, err := through(t, wire, piece)
			if err != io.EOF || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("masked %v, pieces of %d: %v and %v, want %v", masked, piece, got, err, want)
			}
		}
	}
}

// through sends bytes in pieces; the first piece is left over from before.
func through(t *testing.T, wire []byte, piece int) (frames []string, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			sent <- err
			return
		}
		defer c.Close()
		for b := wire[piece:]; len(b) > 0 && err == nil; {
			n := min(max(piece, len(wire)/100), len(b))
			_, err = c.Write(b[:n])
			b = b[n:]
		}
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = newLink(c, wire[:piece]).run(func(op byte, p []byte) error {
		b := byte(0)
		for i, c := range p {
			if i > 0 && c != b {
				return fmt.Errorf("byte %d of %d differs", i, len(p))
			}
			b = c
		}
		frames = append(frames, fmt.Sprint(int(op), len(p), b))
		return nil
	}, func() {})
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return frames, err
}

func TestHeaderRefuses(t *testing.T) {
	for _, b := range [][]byte{{0xc1, 0}, {0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0}} {
		if _, _, err := parseHeader(b); err == nil {
			t.Errorf("% x was taken for a frame", b)
		}
	}
}

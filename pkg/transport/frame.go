package transport

import "encoding/binary"

// Headroom is how many bytes in front of the messages NewFrame needs for itself.
const Headroom = 10

// Frame is one or more whole hub messages, encoded once and shared by everyone they are sent to.
// It carries the header of a WebSocket message in front of them, so that a lone frame goes out as it lies in memory,
// in one write and without a copy. A Frame is never changed after NewFrame.
type Frame struct {
	buf   []byte
	start int // where the WebSocket header begins; the messages begin at Headroom
}

// NewFrame makes a frame of buf, whose first Headroom bytes are free and whose rest is whole messages.
// It takes buf over. binary chooses the WebSocket opcode.
func NewFrame(buf []byte, binaryMessage bool) *Frame {
	f := &Frame{buf: buf}
	f.start = Headroom - putHeader(buf[:Headroom], len(buf)-Headroom, binaryMessage)
	return f
}

// Bytes is the messages themselves. They must not be changed.
func (f *Frame) Bytes() []byte { return f.buf[Headroom:] }

// Len is the number of bytes of the messages.
func (f *Frame) Len() int { return len(f.buf) - Headroom }

// wire is the frame as an unmasked, final WebSocket message (RFC 6455, section 5.2).
func (f *Frame) wire() []byte { return f.buf[f.start:] }

// binary says for which opcode the frame was made.
func (f *Frame) binary() bool { return f.buf[f.start]&opcodeMask == opcodeBinary }

// putHeader writes a WebSocket header for n bytes of payload at the end of dst and returns its length.
func putHeader(dst []byte, n int, binaryMessage bool) int {
	op := byte(0x81)
	if binaryMessage {
		op = 0x82
	}
	switch {
	case n < 126:
		h := dst[len(dst)-2:]
		h[0], h[1] = op, byte(n)
		return 2
	case n < 1<<16:
		h := dst[len(dst)-4:]
		h[0], h[1] = op, 126
		binary.BigEndian.PutUint16(h[2:], uint16(n))
		return 4
	default:
		h := dst[len(dst)-10:]
		h[0], h[1] = op, 127
		binary.BigEndian.PutUint64(h[2:], uint64(n))
		return 10
	}
}

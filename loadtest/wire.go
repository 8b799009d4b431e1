package main

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// The opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

const (
	finalBit   = 0x80
	maskBit    = 0x80
	headerSize = 14
)

// maxFrame bounds what a frame may claim to hold.
const maxFrame = 16 << 20

// header is what a WebSocket frame begins with.
type header struct {
	op     byte
	masked bool
	key    [4]byte
	size   int // of the payload
	length int // of the header itself
}

var errFrame = errors.New("what came is not a WebSocket frame")

// parseHeader reads the header that b begins with; ok is false when it is not whole yet.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h.op, h.masked, h.length = b[0]&0x0f, b[1]&maskBit != 0, 2
	if b[0]&0x70 != 0 {
		return h, false, errFrame // extensions, none of which was agreed on
	}
	size := uint64(b[1] & 0x7f)
	switch size {
	case 126:
		h.length = 4
	case 127:
		h.length = 10
	}
	if len(b) < h.length {
		return h, false, nil
	}
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		size = binary.BigEndian.Uint64(b[2:])
	}
	if size > maxFrame {
		return h, false, errFrame
	}
	h.size = int(size)
	if h.masked {
		if len(b) < h.length+4 {
			return h, false, nil
		}
		copy(h.key[:], b[h.length:])
		h.length += 4
	}
	return h, true, nil
}

// appendFrame writes a whole frame behind dst, masked as a client must.
func appendFrame(dst []byte, op byte, payload []byte, masked bool) []byte {
	first := len(dst)
	dst = appendHeader(dst, op, len(payload))
	if !masked {
		return append(dst, payload...)
	}
	dst[first+1] |= maskBit
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

// appendHeader writes the header of an unmasked frame behind dst.
func appendHeader(dst []byte, op byte, size int) []byte {
	dst = append(dst, finalBit|op)
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

// mask turns a payload into its masked form, and back.
func mask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// link is one end of a WebSocket. It holds no buffer while nothing is under way: it borrows one when there is
// something to read.
type link struct {
	net  net.Conn
	raw  syscall.RawConn // nil over TLS
	rest []byte          // the beginning of a frame whose end has not come

	mu sync.Mutex // held while a frame is written
}

func newLink(c net.Conn, rest []byte) *link {
	l := &link{net: c}
	if tcp, ok := c.(*net.TCPConn); ok {
		l.raw, _ = tcp.SyscallConn() // it fails for a closed connection only, which the first read reports
	}
	if len(rest) > 0 {
		l.rest = append(l.rest, rest...)
	}
	return l
}

type readBuffer [64 << 10]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// run hands every frame to handle until the connection or handle ends it. The payload is handle's until it returns. batch is called
// when all that has come has been handled, before more is waited for. The error is never nil.
func (l *link) run(handle func(op byte, payload []byte) error, batch func()) error {
	if err := l.feed(nil, handle); err != nil {
		return err
	}
	defer batch()
	for {
		n, err := l.read(func(b []byte) error { return l.feed(b, handle) }, batch)
		switch {
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
	}
}

// read reads once and hands on what came. It calls idle if it must wait for that.
func (l *link) read(use func([]byte) error, idle func()) (n int, err error) {
	if l.raw == nil {
		idle()
		buf := readBuffers.Get().(*readBuffer)
		defer readBuffers.Put(buf)
		if n, err = l.net.Read(buf[:]); n > 0 {
			err = use(buf[:n])
		}
		return n, err
	}
	var inner error
	err = l.raw.Read(func(fd uintptr) bool {
		buf := readBuffers.Get().(*readBuffer)
		defer readBuffers.Put(buf)
		n, inner = ignoringInterrupts(func() (int, error) { return syscall.Read(int(fd), buf[:]) })
		if inner == syscall.EAGAIN {
			idle()
			return false
		}
		if n > 0 {
			inner = use(buf[:n])
		}
		return true
	})
	if err == nil {
		err = inner
	}
	return n, err
}

func ignoringInterrupts(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// feed cuts frames off what is left of the last read and b.
func (l *link) feed(b []byte, handle func(op byte, payload []byte) error) error {
	if len(l.rest) > 0 {
		l.rest = append(l.rest, b...)
		b = l.rest
	}
	for {
		h, ok, err := parseHeader(b)
		if err != nil {
			return err
		}
		if !ok || len(b) < h.length+h.size {
			break
		}
		payload := b[h.length : h.length+h.size]
		if h.masked {
			mask(payload, h.key)
		}
		if err := handle(h.op, payload); err != nil {
			return err
		}
		b = b[h.length+h.size:]
	}
	if len(b) == 0 {
		l.rest = nil
		return nil
	}
	l.rest = append(l.rest[:0:0], b...) // b may lie in rest, or in a buffer that is only borrowed
	return nil
}

// writeTimeout bounds one write. A server that takes nothing for so long has failed.
const writeTimeout = 10 * time.Second

// write sends whole frames.
func (l *link) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := l.net.Write(b)
	return err
}

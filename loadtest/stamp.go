package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// stamp is what every message of ours carries in front of its padding, in hexadecimal of fixed width, so that it is the same
// text in every encoding and is found without decoding.
type stamp struct {
	sender  int    // who sent it
	channel int    // to which group, user or connection; 0 for all
	number  uint64 // the how-manieth message of this sender to this channel, from 0
	due     int64  // when it was due, in Unix nanoseconds
}

// The widths of a stamp's parts.
const (
	markerSize  = 10
	senderSize  = 4
	channelSize = 6
	numberSize  = 10
	dueSize     = 16
	stampSize   = markerSize + senderSize + channelSize + numberSize + dueSize
)

// stamper makes and finds the messages of one run.
type stamper struct {
	marker  []byte // tells our messages from those of others and of earlier runs
	padding []byte
}

// newStamper makes messages of size bytes; run is a number of this run alone.
func newStamper(run uint32, size int) *stamper {
	return &stamper{
		marker:  appendHex([]byte("LT"), uint64(run), markerSize-2),
		padding: []byte(strings.Repeat("x", max(size-stampSize, 0))),
	}
}

// append writes a message behind dst.
func (s *stamper) append(dst []byte, st stamp) []byte {
	dst = append(dst, s.marker...)
	dst = appendHex(dst, uint64(st.sender), senderSize)
	dst = appendHex(dst, uint64(st.channel), channelSize)
	dst = appendHex(dst, st.number, numberSize)
	dst = appendHex(dst, uint64(st.due), dueSize)
	return append(dst, s.padding...)
}

// find looks for a message of this run in an encoded hub message. ok is false when there is none, intact when it is not
// as it was sent.
func (s *stamper) find(body []byte) (st stamp, intact, ok bool) {
	i := bytes.Index(body, s.marker)
	if i < 0 {
		return st, false, false
	}
	b := body[i+markerSize:]
	if len(b) < stampSize-markerSize+len(s.padding) {
		return st, false, true
	}
	var good [4]bool
	var v uint64
	v, b, good[0] = cutHex(b, senderSize)
	st.sender = int(v)
	v, b, good[1] = cutHex(b, channelSize)
	st.channel = int(v)
	st.number, b, good[2] = cutHex(b, numberSize)
	v, b, good[3] = cutHex(b, dueSize)
	st.due = int64(v)
	return st, good == [4]bool{true, true, true, true} && bytes.HasPrefix(b, s.padding), true
}

func appendHex(dst []byte, v uint64, width int) []byte {
	const digits = "0123456789abcdef"
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&0xf])
	}
	return dst
}

func cutHex(b []byte, width int) (v uint64, rest []byte, ok bool) {
	for _, c := range b[:width] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, b[width:], false
		}
		v = v<<4 | uint64(c)
	}
	return v, b[width:], true
}

// user is the name under which a sender speaks.
func user(sender int) string { return "sender-" + strconv.Itoa(sender) }

// now is the clock of stamps, which all processes of this machine share.
func now() int64 { return time.Now().UnixNano() }

package hub

import (
	"io"
	"sync"
)

// inbox holds what a client has sent and has not been dispatched. It borrows a buffer only while there is something to
// hold, so an idle connection has none.
type inbox struct {
	limit int64 // the largest message, framing included; negative: none
	buf   *readBuffer
	start int // what lies before has been taken
	tried int // how much was there when no whole message was found in it

	lively bool // more than pings has come
}

type readBuffer struct{ data []byte }

// readSize is how much is read at once. Most messages are far smaller.
const readSize = 4096

var readBuffers = sync.Pool{New: func() any { return &readBuffer{data: make([]byte, 0, readSize)} }}

// fill reads once from r; more is false at its end.
func (in *inbox) fill(r io.Reader) (more bool, err error) {
	if in.buf == nil {
		in.buf = readBuffers.Get().(*readBuffer)
	}
	b := in.buf
	if in.start > 0 {
		b.data = b.data[:copy(b.data, b.data[in.start:])]
		in.start = 0
	}
	if cap(b.data)-len(b.data) < readSize/4 {
		b.data = append(make([]byte, 0, 2*cap(b.data)), b.data...)
	}
	n, err := r.Read(b.data[len(b.data):cap(b.data)])
	b.data = b.data[:len(b.data)+n]
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

// window is what a message is looked for in: at most as many bytes as a message may have.
func (in *inbox) window() []byte {
	if in.buf == nil {
		return nil
	}
	w := in.buf.data[in.start:]
	if in.limit >= 0 && int64(len(w)) > in.limit {
		w = w[:in.limit]
	}
	return w
}

// overflowed says, when no whole message was found in the window, that there never will be one.
func (in *inbox) overflowed() bool { return in.limit >= 0 && int64(in.len()) > in.limit }

func (in *inbox) len() int {
	if in.buf == nil {
		return 0
	}
	return len(in.buf.data) - in.start
}

// take removes the first n bytes.
func (in *inbox) take(n int) { in.start, in.tried = in.start+n, 0 }

// worthwhile says whether to look for a message again, when more is about to come. A search begins at the front, so
// without it a very large message that trickles in would cost the square of its size.
func (in *inbox) worthwhile() bool { return in.len() < readSize || in.len() >= 2*in.tried }

// rest gives the buffer back if it is empty, and says whether it is.
func (in *inbox) rest() bool {
	if in.len() > 0 {
		return false
	}
	in.release()
	return true
}

// release gives the buffer back with what it holds.
func (in *inbox) release() {
	if in.buf == nil {
		return
	}
	if cap(in.buf.data) <= 4*readSize {
		in.buf.data = in.buf.data[:0]
		readBuffers.Put(in.buf)
	}
	in.buf, in.start, in.tried = nil, 0, 0
}

package hub

import (
	"errors"
	"sync"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// maxCodecs is how many hub protocols a server can speak.
const maxCodecs = 2

// outgoing is one message for many, encoded at most once for each protocol, and only for those that are needed.
type outgoing struct {
	frames [maxCodecs]*transport.Frame // by the codec's index in the server; nil where it was not needed yet, or cannot be
	made   [maxCodecs]bool
	encode func(codec int) (*transport.Frame, error) // a nil frame without an error: it cannot be, since another node did not send it
}

// make encodes the message for a protocol.
func (m *outgoing) make(codec int) error {
	f, err := m.encode(codec)
	m.frames[codec], m.made[codec] = f, true
	return err
}

// wakeList collects connections that have something new to write, so that a whole batch of messages is queued before the
// first writer runs: what came together then leaves together.
type wakeList struct{ conns []*Connection }

var wakeLists = sync.Pool{New: func() any { return &wakeList{conns: make([]*Connection, 0, 64)} }}

// push queues m, which has been made for the protocol of c. It never blocks.
func (w *wakeList) push(c *Connection, m *outgoing) {
	f := m.frames[c.codec]
	if f == nil {
		c.missingCodec()
		return
	}
	switch c.out.push(f) {
	case pushWake:
		w.conns = append(w.conns, c)
	case pushHurry:
		go c.out.run()
	case pushFull:
		c.end(endSlow, errSlow)
	}
}

// flush starts the writers and gives the list back.
func (w *wakeList) flush() {
	for i, c := range w.conns {
		go c.out.run()
		w.conns[i] = nil
	}
	w.conns = w.conns[:0]
	wakeLists.Put(w)
}

func newWakeList() *wakeList { return wakeLists.Get().(*wakeList) }

// push queues f for c alone. It never blocks.
func (c *Connection) push(f *transport.Frame) {
	switch c.out.push(f) {
	case pushWake, pushHurry:
		go c.out.run()
	case pushFull:
		c.end(endSlow, errSlow)
	}
}

var errSlow = errors.New("the client does not read fast enough: its queue is full")

// scratch holds bytes while a message is encoded; what is kept is copied out in its exact size.
type scratch struct{ buf []byte }

var scratches = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 1024)} }}

// keepScratch is how large a buffer may be and still go back to the pool.
const keepScratch = 64 * 1024

func (s *scratch) release() {
	if cap(s.buf) <= keepScratch {
		s.buf = s.buf[:0]
		scratches.Put(s)
	}
}

var noHead [transport.Headroom]byte

// encode builds a frame from what append writes.
func encode(codec protocol.Codec, write func(dst []byte) ([]byte, error)) (*transport.Frame, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	buf, err := write(append(s.buf[:0], noHead[:]...))
	if err != nil {
		return nil, err
	}
	s.buf = buf
	return transport.NewFrame(append(make([]byte, 0, len(buf)), buf...), codec.Binary()), nil
}

// frameOf makes a frame of an encoded message that came from another node.
func frameOf(codec protocol.Codec, message []byte) *transport.Frame {
	buf := make([]byte, transport.Headroom+len(message))
	copy(buf[transport.Headroom:], message)
	return transport.NewFrame(buf, codec.Binary())
}

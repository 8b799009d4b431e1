package hub

import (
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// session is what a connection needs to outlive its socket (stateful reconnect, SignalR hub protocol version 2). Each side numbers the
// messages it sends, from 1; the number is not in the message, so every message of types 1 to 5 counts, also one that
// means nothing here.
type session struct {
	next     int64        // the number that the next message from the client will have; the reader's
	latest   atomic.Int64 // the highest number that was dispatched
	answered atomic.Int64 // the highest that was acknowledged
	sockets  chan transport.Conn
}

// startSession makes the connection outlive its socket, if the client asked for that when it negotiated and in its handshake.
func (c *Connection) startSession(version int) {
	if version < 2 || !c.request.Stateful || c.host.limits.ReplayBuffer < 0 {
		return
	}
	c.session = &session{next: 1, sockets: make(chan transport.Conn, 1)}
	c.out.replay = &replay{link: c.link(), max: c.host.limits.ReplayBuffer, sequence: func(id int64) *transport.Frame {
		return c.frame(&protocol.Message{Type: protocol.TypeSequence, SequenceID: id})
	}}
}

var errSequence = errors.New("Sequence ID greater than amount of messages we've received.") //nolint // the text of ASP.NET Core

// count notes a message from the client; it returns false for one that is not to be dispatched.
func (c *Connection) count(m *protocol.Message) (bool, error) {
	s := c.session
	switch {
	case s == nil:
		return true, nil
	case m.Type == protocol.TypeSequence:
		if m.SequenceID > s.next {
			return false, errSequence
		}
		s.next = m.SequenceID
		return false, nil
	case m.Type == protocol.TypeAck:
		if c.out.acknowledged(m.SequenceID) {
			go c.out.run()
		}
		return false, nil
	case m.Type < protocol.TypeInvocation || m.Type > protocol.TypeCancelInvocation:
		return true, nil
	}
	id := s.next
	s.next++
	if id <= s.latest.Load() {
		return false, nil // it came over the last socket already
	}
	s.latest.Store(id)
	return true, nil
}

// acknowledge tells the client what has come, if there is news. The heartbeat calls it once a second.
func (c *Connection) acknowledge() {
	latest := c.session.latest.Load()
	if c.session.answered.Swap(latest) == latest {
		return
	}
	if c.out.pushControl(c.frame(&protocol.Message{Type: protocol.TypeAck, SequenceID: latest})) {
		go c.out.run()
	}
}

// attach gives the connection another socket. It is called when the client has opened one with the connection's token.
func (c *Connection) attach(conn transport.Conn) {
	if c.session == nil || c.hasEnded() {
		conn.Abort()
		return
	}
	for sent := false; !sent; {
		select {
		case c.session.sockets <- conn:
			sent = true
		case older := <-c.session.sockets: // a socket that was never used, since this one came right behind
			older.Abort()
		}
	}
	if c.hasEnded() {
		c.closeSession() // it may have been closed just before this socket came
	}
	// The client knows that the old socket is dead; we may not know it yet.
	if old := c.link(); old != conn {
		old.Abort()
	}
}

// suspend makes the connection go on without its socket, if it can. The reader then waits for another.
func (c *Connection) suspend(link transport.Conn) bool {
	if c.session == nil || c.hasEnded() {
		return false
	}
	c.out.pause(link)
	link.Abort()
	return true
}

// awaitSocket waits for the client to come back, after its socket has failed. It returns false when the connection is over: when
// the client closed it, when it cannot come back, or when it did not in time.
func (c *Connection) awaitSocket(in *inbox, failed error) bool {
	var closed *transport.ClosedError
	if errors.Is(failed, io.EOF) || errors.As(failed, &closed) || !c.suspend(c.link()) {
		return false
	}
	c.log().Debug("the socket broke; waiting for the client to come back", "error", failed)
	in.release() // of a message that was cut in two, the client sends both halves again
	timeout := time.NewTimer(c.host.limits.DisconnectTimeout)
	defer timeout.Stop()
	select {
	case conn := <-c.session.sockets:
		if c.protocol().Binary() {
			conn.SetBinary()
		}
		c.setLink(conn)
		c.log().Debug("the client has come back")
		if c.out.resume(conn) {
			go c.out.run()
		}
		return true
	case <-timeout.C:
	case <-c.Done():
	}
	return false
}

// closeSession refuses sockets that came too late.
func (c *Connection) closeSession() {
	if c.session == nil {
		return
	}
	select {
	case conn := <-c.session.sockets:
		conn.Abort()
	default:
	}
}

// resumable says what to hand a new socket of a connection to; known is false when there is no such connection here, and attach nil when
// it takes none.
func (h *host) resumable(id string) (attach func(transport.Conn), identity any, known bool) {
	c := h.connections.get(id)
	switch {
	case c == nil || c.hasEnded():
		return nil, nil, false
	case c.session == nil:
		return nil, nil, true
	}
	return c.attach, c.identity, true
}

// Sessions are the ids of the connections that can outlive their sockets, so that other servers can be told who has them.
func (s *Server) Sessions() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, c := range s.beat.connections(nil) {
			// Before the handshake is done it is not known what becomes of it.
			if c.opened.Load() == 0 || c.session == nil || c.hasEnded() {
				continue
			}
			if !yield(c.id) {
				return
			}
		}
	}
}

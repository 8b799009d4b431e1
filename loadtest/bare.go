package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// bareServer does what loadtest needs of a hub, in the least that can do it: no limits, no time-outs, no slow clients. A message is
// encoded once, and then written to each connection that gets it.
//
// It tells all and groups apart, takes whoever connects for the user that the query names, and speaks one hub protocol at a
// time: that of whoever sends.
type bareServer struct {
	join   bool // what waits for a connection is joined into one write
	relay  *relay
	tamper func(message []byte) [][]byte // what is sent instead of a message; nil but in tests

	mu     sync.RWMutex
	all    audience
	groups map[string]*audience // groups, and users under "user:"
	conns  map[net.Conn]struct{}
	done   sync.WaitGroup
}

// audience are connections that get the same messages.
type audience struct {
	mu      sync.RWMutex
	members map[*bareConn]struct{}
}

// bareConn is one client.
type bareConn struct {
	server *bareServer
	link   *link
	user   string
	rooms  []string
	codec  protocol.Codec // nil before the handshake
	rest   []byte         // the beginning of a hub message whose end has not come
	dirty  []*bareConn    // those for whom what this read brought waits

	mu     sync.Mutex
	queue  [][]byte // hub messages that wait to be joined
	queued bool     // it is in somebody's list of dirty ones
}

func newBareServer(join bool) *bareServer {
	return &bareServer{join: join, groups: make(map[string]*audience), conns: make(map[net.Conn]struct{})}
}

// serveBare is the process of a bare server: it prints its URL and serves until it is told to end.
func serveBare(c *config, stdout io.Writer) error {
	if _, err := openFiles(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := newBareServer(c.join)
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if c.redis != "" {
		if s.relay, err = startRelay(ctx, c.redis, s); err != nil {
			return err
		}
		defer s.relay.stop()
	}
	fmt.Fprintf(stdout, "http://%s/chat\n", l.Addr())
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	err = s.serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serve accepts connections until the listener is closed, and then closes them.
func (s *bareServer) serve(l net.Listener) error {
	defer s.done.Wait()
	defer s.closeAll()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.done.Go(func() {
			_ = s.talk(c) // how a client leaves is its own business
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *bareServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// talk serves one network connection: negotiations, then a WebSocket.
func (s *bareServer) talk(c net.Conn) error {
	in := bufio.NewReaderSize(c, 2048)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return err
		}
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/negotiate") {
			const answer = `{"negotiateVersion":1,"connectionId":"bare","connectionToken":"bare","availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]}]}`
			_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(answer))+"\r\n\r\n"+answer)
			if err != nil {
				return err
			}
			continue
		}
		key := r.Header.Get("Sec-WebSocket-Key")
		if key == "" {
			_, err = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return err
		}
		_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+acceptKey(key)+"\r\n\r\n")
		if err != nil {
			return err
		}
		rest, _ := in.Peek(in.Buffered())
		return s.hold(newLink(c, rest), r.URL.Query().Get("user"))
	}
}

// hold serves one WebSocket, whose HTTP buffers are garbage by now.
func (s *bareServer) hold(l *link, user string) error {
	b := &bareConn{server: s, link: l, user: user}
	defer b.leave()
	return l.run(b.frame, b.flush)
}

func (b *bareConn) frame(op byte, payload []byte) error {
	switch op {
	case opClose:
		return errClosed
	case opPing:
		return b.write(appendFrame(nil, opPong, payload, false))
	case opPong:
		return nil
	}
	if b.codec == nil {
		return b.handshake(payload)
	}
	return b.messages(payload)
}

func (b *bareConn) handshake(payload []byte) error {
	b.rest = append(b.rest, payload...)
	request, n, err := protocol.ParseHandshakeRequest(b.rest)
	if err != nil || n == 0 {
		return err
	}
	if b.codec, err = request.Choose([]protocol.Codec{protocol.JSON, protocol.MessagePack}, true); err != nil {
		return err
	}
	payload, b.rest = b.rest[n:], nil
	b.server.all.add(b)
	if b.user != "" {
		b.server.group("user:"+b.user, true).add(b)
		b.rooms = append(b.rooms, "user:"+b.user)
	}
	if err := b.write(appendFrame(nil, opText, protocol.AppendHandshakeResponse(nil, ""), false)); err != nil {
		return err
	}
	return b.messages(payload)
}

// messages acts on the hub messages in what came; the last may be cut short.
func (b *bareConn) messages(p []byte) error {
	if len(b.rest) > 0 {
		b.rest = append(b.rest, p...)
		p = b.rest
	}
	var m protocol.Message
	for {
		body, n, err := b.codec.Next(p)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err = b.codec.Decode(body, &m); err == nil {
			err = b.act(&m)
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if len(p) == 0 {
		b.rest = nil
	} else {
		b.rest = append(b.rest[:0:0], p...)
	}
	return nil
}

// act does what a message asks for, by the names of the sample hub.
func (b *bareConn) act(m *protocol.Message) error {
	switch {
	case m.Type == protocol.TypeClose:
		return errClosed
	case m.Type == protocol.TypeStreamInvocation:
		return b.stream(m)
	case m.Type != protocol.TypeInvocation:
		return nil
	}
	switch m.Target {
	case "SendMessage":
		return b.relay("", m.Arguments)
	case "SendToRoom", "SendToUser":
		parts, err := b.codec.Elements(m.Arguments, nil)
		if err != nil || len(parts) != 3 {
			return errors.New("three arguments were expected")
		}
		var name string
		if err := b.codec.Unmarshal(parts[0], &name); err != nil {
			return err
		}
		if m.Target == "SendToUser" {
			name = "user:" + name
		}
		return b.relay(name, array(b.codec, parts[1:]))
	case "JoinRoom":
		return b.joinRoom(m)
	case "Echo":
		parts, err := b.codec.Elements(m.Arguments, nil)
		if err != nil || len(parts) != 1 {
			return errors.New("one argument was expected")
		}
		return b.reply(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: m.InvocationID, Result: parts[0]})
	}
	return fmt.Errorf("the bare server has no method %q", m.Target)
}

// array puts encoded values into an encoded array again.
func array(codec protocol.Codec, parts [][]byte) []byte {
	if codec.Binary() {
		out := []byte{0x90 | byte(len(parts))}
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	out := []byte{'['}
	for i, p := range parts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, p...)
	}
	return append(out, ']')
}

func (b *bareConn) joinRoom(m *protocol.Message) error {
	parts, err := b.codec.Elements(m.Arguments, nil)
	if err != nil || len(parts) != 1 {
		return errors.New("one argument was expected")
	}
	var name string
	if err := b.codec.Unmarshal(parts[0], &name); err != nil {
		return err
	}
	b.server.group(name, true).add(b)
	b.rooms = append(b.rooms, name)
	return b.reply(&protocol.Message{Type: protocol.TypeCompletion, InvocationID: m.InvocationID})
}

// relay sends arguments on to a group; an empty name means all.
func (b *bareConn) relay(name string, arguments []byte) error {
	message, err := b.codec.Append(nil, &protocol.Message{Type: protocol.TypeInvocation, Target: "ReceiveMessage", Arguments: arguments})
	if err != nil {
		return err
	}
	if r := b.server.relay; r != nil {
		return r.publish(name, message, b.codec.Binary())
	}
	sent := [][]byte{message}
	if b.server.tamper != nil {
		sent = b.server.tamper(message)
	}
	for _, message := range sent {
		b.dirty = b.server.deliver(name, message, b.codec.Binary(), b.dirty)
	}
	return nil
}

// reply sends a message to the client itself.
func (b *bareConn) reply(m *protocol.Message) error {
	message, err := b.codec.Append(nil, m)
	if err != nil {
		return err
	}
	if b.server.join {
		b.dirty = b.put(message, b.dirty)
		return nil
	}
	return b.write(appendFrame(nil, opcode(b.codec.Binary()), message, false))
}

// streamBatch is how many bytes of a stream's items the server that joins puts into one frame.
const streamBatch = 16 << 10

// stream answers Counter, without pauses: nobody else is served on this connection meanwhile.
func (b *bareConn) stream(m *protocol.Message) error {
	parts, err := b.codec.Elements(m.Arguments, nil)
	if m.Target != "Counter" || err != nil || len(parts) != 2 {
		return fmt.Errorf("the bare server has no stream %q with %d arguments", m.Target, len(parts))
	}
	var count int
	if err := b.codec.Unmarshal(parts[0], &count); err != nil {
		return err
	}
	var batch []byte
	for i := range count {
		if batch, err = b.codec.AppendStreamItem(batch, m.InvocationID, i); err != nil {
			return err
		}
		if !b.server.join || len(batch) >= streamBatch {
			if err := b.write(appendFrame(nil, opcode(b.codec.Binary()), batch, false)); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if batch, err = b.codec.Append(batch, &protocol.Message{Type: protocol.TypeCompletion, InvocationID: m.InvocationID}); err != nil {
		return err
	}
	return b.write(appendFrame(nil, opcode(b.codec.Binary()), batch, false))
}

func opcode(binary bool) byte {
	if binary {
		return opBinary
	}
	return opText
}

// deliver gives a message to a group: at once, or into the queues of its members, which are added to dirty.
func (s *bareServer) deliver(name string, message []byte, binary bool, dirty []*bareConn) []*bareConn {
	a := &s.all
	if name != "" {
		if a = s.group(name, false); a == nil {
			return dirty
		}
	}
	var frame []byte
	if !s.join {
		frame = appendFrame(nil, opcode(binary), message, false)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for m := range a.members {
		if s.join {
			dirty = m.put(message, dirty)
		} else {
			_ = m.write(frame) // its own reader finds out what is wrong with it
		}
	}
	return dirty
}

// put queues a message.
func (b *bareConn) put(message []byte, dirty []*bareConn) []*bareConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, message)
	if !b.queued {
		b.queued = true
		dirty = append(dirty, b)
	}
	return dirty
}

// flush writes what this connection's messages have put into queues.
func (b *bareConn) flush() {
	flush(b.dirty)
	clear(b.dirty)
	b.dirty = b.dirty[:0]
}

func flush(dirty []*bareConn) {
	for _, d := range dirty {
		_ = d.writeQueue() // as above
	}
}

var joinBuffers = sync.Pool{New: func() any { return new(sendBuffer) }}

// writeQueue writes all that waits as one frame.
func (b *bareConn) writeQueue() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued = false
	size := 0
	for _, m := range b.queue {
		size += len(m)
	}
	buf := joinBuffers.Get().(*sendBuffer)
	defer joinBuffers.Put(buf)
	buf.b = appendHeader(buf.b[:0], opcode(b.codec.Binary()), size)
	for _, m := range b.queue {
		buf.b = append(buf.b, m...)
	}
	clear(b.queue)
	b.queue = b.queue[:0]
	_, err := b.link.net.Write(buf.b)
	return err
}

func (b *bareConn) write(frame []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.link.net.Write(frame)
	return err
}

func (b *bareConn) leave() {
	b.server.all.remove(b)
	for _, name := range b.rooms {
		if a := b.server.group(name, false); a != nil {
			a.remove(b)
		}
	}
}

func (s *bareServer) group(name string, create bool) *audience {
	s.mu.RLock()
	a := s.groups[name]
	s.mu.RUnlock()
	if a != nil || !create {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a = s.groups[name]; a == nil {
		a = &audience{}
		s.groups[name] = a
	}
	return a
}

func (a *audience) add(b *bareConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.members == nil {
		a.members = make(map[*bareConn]struct{})
	}
	a.members[b] = struct{}{}
}

func (a *audience) remove(b *bareConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.members, b)
}

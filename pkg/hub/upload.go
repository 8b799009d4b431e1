package hub

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// upload is a stream from a client to one running call. Its buffer is bounded: when it is full the connection's reader waits,
// and with it all that the client has sent behind.
type upload struct {
	id     string
	elem   reflect.Type
	items  reflect.Value // chan elem
	unread chan struct{} // closed when the call no longer reads

	mu     sync.Mutex // held while an item is handed over, and while items is closed
	closed bool
	err    atomic.Pointer[error] // why it ended early; set before items is closed
}

var errUploadCut = errors.New("The underlying connection was closed.") //nolint // the text of ASP.NET Core

// newUploads makes the streams of an invocation, puts what the method receives them by into in, and opens them for the client.
// The text says what is wrong.
func (c *Connection) newUploads(m *method, m2 *protocol.Message, in []reflect.Value) (uploads []*upload, text string) {
	next := m2.StreamIDs
	for i, p := range m.params {
		if p.upload == nil {
			continue
		}
		items := reflect.MakeChan(reflect.ChanOf(reflect.BothDir, p.upload.elem), c.host.limits.StreamBuffer)
		u := &upload{id: next[0], elem: p.upload.elem, items: items, unread: make(chan struct{})}
		next = next[1:]
		uploads = append(uploads, u)
		if p.upload.form == streamChan {
			in[i+1] = items.Convert(p.typ)
		} else {
			in[i+1] = reflect.MakeFunc(p.typ, u.sequence)
		}
	}
	if text = c.openUploads(uploads); text != "" {
		return nil, text
	}
	return uploads, ""
}

// openUploads makes items find their streams.
func (c *Connection) openUploads(uploads []*upload) (text string) {
	if len(uploads) == 0 {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return "HubException: The connection has ended."
	}
	if n := len(c.uploads) + len(c.streams) + len(uploads); n > c.host.limits.MaxStreams {
		return tooManyStreams(c.host.limits.MaxStreams)
	}
	for i, u := range uploads {
		twice := slices.ContainsFunc(uploads[:i], func(o *upload) bool { return o.id == u.id })
		if _, taken := c.uploads[u.id]; taken || twice {
			return "Invocation ID '" + u.id + "' is already in use."
		}
	}
	if c.uploads == nil {
		c.uploads = map[string]*upload{}
	}
	for _, u := range uploads {
		c.uploads[u.id] = u
	}
	return ""
}

func tooManyStreams(limit int) string {
	return fmt.Sprintf("HubException: This connection has %d streams open already, which is the limit.", limit)
}

// findUpload returns the open stream with that id; nil when there is none.
func (c *Connection) findUpload(id string) *upload {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uploads[id]
}

func (c *Connection) closeUpload(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uploads, id)
}

// streamItem hands an item to the call that reads it. Items of streams that nobody reads are passed over.
func (c *Connection) streamItem(m *protocol.Message) {
	u := c.findUpload(m.InvocationID)
	if u == nil {
		return
	}
	v := reflect.New(u.elem)
	err := safely(func() error { return c.protocol().Unmarshal(m.Item, v.Interface()) })
	if err != nil {
		c.log().Debug("a stream item does not fit; the stream ends", "stream", u.id, "error", err)
		c.closeUpload(u.id)
		u.end(&bindStreamError{err, c.host.limits.DetailedErrors})
		return
	}
	u.put(v.Elem(), c.Done())
}

// bindStreamError ends a stream whose item does not fit. Its text may be passed on to clients; the cause is in it only with detailed
// errors.
type bindStreamError struct {
	cause   error
	details bool
}

func (e *bindStreamError) Error() string {
	if e.details {
		return "Failed to bind Stream message. InvalidDataException: " + e.cause.Error()
	}
	return "Failed to bind Stream message."
}

func (e *bindStreamError) Unwrap() error { return e.cause }

// put waits for room, unless the call or the connection ends.
func (u *upload) put(v reflect.Value, gone <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.items.TrySend(v) {
		return
	}
	reflect.Select([]reflect.SelectCase{
		{Dir: reflect.SelectSend, Chan: u.items, Send: v},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.unread)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(gone)},
	})
}

// end ends the stream for the call that reads it; err is nil when the client ended it.
func (u *upload) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	if u.closed = true; err != nil {
		u.err.Store(&err)
	}
	u.items.Close()
}

// abandon ends streams whose call has returned.
func (c *Connection) abandon(uploads []*upload) {
	for _, u := range uploads {
		c.closeUpload(u.id)
		close(u.unread)
		u.end(nil)
	}
}

// endUploads ends all streams because the connection has gone.
func (c *Connection) endUploads() {
	c.mu.Lock()
	uploads := c.uploads
	c.uploads = nil
	c.mu.Unlock()
	for _, u := range uploads {
		u.end(errUploadCut)
	}
}

// sequence is the body of the iter.Seq2 that a method may receive a stream by.
func (u *upload) sequence(args []reflect.Value) []reflect.Value {
	yield := args[0]
	none := reflect.Zero(errorType)
	for {
		v, ok := u.items.Recv()
		if ok {
			if !yield.Call([]reflect.Value{v, none})[0].Bool() {
				return nil
			}
			continue
		}
		if err := u.failure(); err != nil {
			yield.Call([]reflect.Value{reflect.Zero(u.elem), reflect.ValueOf(&err).Elem()})
		}
		return nil
	}
}

// failure does not wait for an item that is being handed over.
func (u *upload) failure() error {
	if err := u.err.Load(); err != nil {
		return *err
	}
	return nil
}

// StreamErr says why a stream from the client, which the method receives by the given channel, has ended: nil when the client
// completed it, or when it has not ended.
func (c *Call) StreamErr(stream any) error {
	v := reflect.ValueOf(stream)
	if v.Kind() != reflect.Chan {
		return nil
	}
	for _, u := range c.uploads {
		if u.items.Pointer() == v.Pointer() {
			return u.failure()
		}
	}
	return nil
}

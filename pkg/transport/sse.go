package transport

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// eventStream is a Conn over Server-Sent Events. What the client sends comes in POST requests. It lives on the goroutine of the GET
// that opened it, which only waits; whoever calls Write writes the response.
type eventStream struct {
	*session
	response *response
	done     chan struct{} // closed: the response shall end
	left     chan struct{} // closed: it has, as far as it is up to us

	ending  sync.Once  // Close or Abort was called, or the client has gone
	writing sync.Mutex // held while an event is written
	closed  bool       // nothing may be written any more; guarded by writing
}

// serveEvents opens a connection over Server-Sent Events, and returns when it has ended.
func (e *Endpoint) serveEvents(w http.ResponseWriter, r *http.Request, identity any) {
	s := e.attached(w, r, identity, ServerSentEvents)
	if s == nil {
		return
	}
	c := &eventStream{
		session:  s,
		response: newResponse(w, orDefault(e.SendTimeout, DefaultSendTimeout)),
		done:     make(chan struct{}),
		left:     make(chan struct{}),
	}
	defer close(c.left)
	defer c.response.finish()
	if err := c.response.send(openEvents(w)); err != nil {
		c.stop(err, true)
		return
	}
	e.Accept(c, newRequest(r, identity))
	select {
	case <-r.Context().Done():
		c.response.abort()
	case <-c.done:
	}
	c.writing.Lock() // behind a write under way, which knows better what happened
	defer c.writing.Unlock()
	c.closed = true
	c.stop(io.EOF, false) // this is how such a client closes: there is no other way
}

// openEvents begins the response. Its first bytes are a comment, which makes every browser say that the stream is open.
func openEvents(w http.ResponseWriter) func(io.Writer) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache,no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Encoding", "identity")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back until its buffer is full
	return func(body io.Writer) error {
		w.WriteHeader(http.StatusOK)
		_, err := io.WriteString(body, ":\r\n")
		return err
	}
}

func (c *eventStream) Kind() Kind { return ServerSentEvents }

// Write sends frames as one event.
func (c *eventStream) Write(frames []*Frame) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	err := c.response.send(func(w io.Writer) error { return writeEvent(w, frames) })
	if err != nil { // half an event may be under way, behind which nothing makes sense
		c.closed = true
		c.stop(err, false)
	}
	return err
}

// stop makes the response end, and the reader get err. It does not wait.
func (c *eventStream) stop(err error, drop bool) {
	c.ending.Do(func() {
		c.end(err, drop)
		close(c.done)
	})
}

// Close ends the response behind what is being written.
func (c *eventStream) Close(error) {
	c.writing.Lock()
	c.closed = true
	c.writing.Unlock()
	c.in.end(net.ErrClosed, true)
	c.stop(net.ErrClosed, true)
	if d := orDefault(c.endpoint.CloseTimeout, DefaultCloseTimeout); d > 0 {
		timeout := time.NewTimer(d)
		defer timeout.Stop()
		select {
		case <-c.left:
		case <-timeout.C: // whoever called it keeps Accept from returning
		}
	}
}

// Abort ends the response without a proper end.
func (c *eventStream) Abort() {
	c.response.abort()
	c.in.end(net.ErrClosed, true)
	c.stop(net.ErrClosed, true)
}

var (
	eventField = []byte("data: ")
	eventLine  = []byte("\r\ndata: ")
	eventEnd   = []byte("\r\n\r\n")
	crlf       = []byte("\r\n")
	cr         = []byte("\r")
)

// writeEvent writes frames as one event, each line of them as one of the event. A line ends with LF or CR LF, as in ASP.NET Core;
// JSON has neither.
func writeEvent(w io.Writer, frames []*Frame) error {
	out := errWriter{w: w}
	size := 0
	for _, f := range frames {
		size += f.Len()
	}
	if size == 0 {
		out.write(crlf)
		return out.err
	}
	out.write(eventField)
	held := false // a CR is held back: it belongs to the text unless an LF follows
	for _, f := range frames {
		for b := f.Bytes(); len(b) > 0; {
			if held && b[0] != '\n' {
				out.write(cr)
			}
			line, rest, ended := bytes.Cut(b, crlf[1:])
			text := bytes.TrimSuffix(line, cr)
			out.write(text)
			held = !ended && len(text) < len(line)
			if ended {
				out.write(eventLine)
			}
			b = rest
		}
	}
	if held {
		out.write(cr)
	}
	out.write(eventEnd)
	return out.err
}

// errWriter keeps the first error, and writes nothing after it.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) write(p []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(p)
	}
}

package transport

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// longPoll is a Conn over long polling. A Write waits until a poll has taken its bytes to the client, so nothing is buffered here:
// what a client does not fetch stays in the queue of whoever writes. Between two polls only the session's timer is left of it.
type longPoll struct {
	*session
	handed chan error // what became of a Write; with a buffer of one

	// Guarded by session.mu.
	opened  bool     // the first poll has come
	waiting *poll    // the newest poll
	sending *poll    // the poll that takes what is written to the client
	writing bool     // a Write waits
	frames  []*Frame // what it wants to hand over
	closing bool     // Close was called: nothing more will be written
	err     error    // what Write gets once it is over
}

// poll is one GET that waits.
type poll struct {
	response *response
	wake     chan struct{} // with a buffer of one: look again
	released bool          // it shall be answered, be it with nothing; guarded by session.mu
}

func newLongPoll(s *session) *longPoll {
	return &longPoll{session: s, handed: make(chan error, 1)}
}

// servePoll opens a connection with the first poll, which is answered at once, and hands it later ones.
func (e *Endpoint) servePoll(w http.ResponseWriter, r *http.Request, identity any) {
	neverCache(w.Header())
	s := e.attached(w, r, identity, LongPolling)
	if s == nil {
		return
	}
	c := s.polls
	p := &poll{response: newResponse(w, orDefault(e.SendTimeout, DefaultSendTimeout)), wake: make(chan struct{}, 1)}
	defer p.response.finish()
	first, ok := c.begin(p)
	switch {
	case !ok:
		e.refused(RefusedUnknown)
		reply(w, http.StatusNotFound, textPlain, "")
	case first:
		e.Accept(c, newRequest(r, identity))
		c.leave(p)
		p.empty(http.StatusOK, "application/octet-stream")
	default:
		e.renew(c.ID(), identity)
		c.serve(p, r)
	}
}

// begin makes p the poll that is served, in place of the one that was. ok is false when the connection is over.
func (c *longPoll) begin(p *poll) (first, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false, false
	}
	c.stay()
	if c.waiting != nil {
		signal(c.waiting.wake)
	}
	c.waiting = p
	first, c.opened = !c.opened, true
	return first, true
}

// leave ends p. When no other poll is there, the client must come back in time.
func (c *longPoll) leave(p *poll) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == p {
		c.waiting = nil
	}
	if c.sending == p {
		c.sending = nil
		if c.waiting != nil { // it may have looked while p was still sending, and nobody else would wake it
			signal(c.waiting.wake)
		}
	}
	if c.waiting == nil && c.sending == nil {
		c.rest()
	}
}

// serve answers a poll when there is something to say, or when its time is up.
func (c *longPoll) serve(p *poll, r *http.Request) {
	timeout := time.NewTimer(orDefault(c.endpoint.PollTimeout, DefaultPollTimeout))
	defer timeout.Stop()
	for {
		if r.Context().Err() != nil { // first of all, for what is handed to a client that has gone is lost
			c.leave(p)
			return
		}
		frames, answer := c.next(p)
		switch answer {
		case pollData:
			err := p.send(frames)
			c.sent(p, err)
			return
		case pollOver:
			c.leave(p)
			p.empty(http.StatusNoContent, textPlain)
			return
		case pollEmpty:
			c.leave(p)
			p.empty(http.StatusOK, textPlain)
			return
		case pollLast:
			p.empty(http.StatusNoContent, textPlain)
			c.end(net.ErrClosed, true)
			return
		}
		select {
		case <-p.wake:
		case <-r.Context().Done():
		case <-timeout.C:
			c.leave(p)
			p.empty(http.StatusOK, textPlain)
			return
		}
	}
}

// pollAnswer is how a poll is to be answered.
type pollAnswer int

const (
	pollNothing pollAnswer = iota // not yet
	pollEmpty                     // with nothing: the client shall come again
	pollData                      // with what a Write hands over
	pollOver                      // with 204: there is a newer poll, or the connection is over
	pollLast                      // with 204: the client has got everything
)

// next says how p is to be answered.
func (c *longPoll) next(p *poll) ([]*Frame, pollAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waiting != p || c.over:
		return nil, pollOver
	case c.sending != nil: // it wakes us when it is done
		return nil, pollNothing
	case c.writing:
		c.waiting, c.sending = nil, p
		return c.frames, pollData
	case c.closing:
		return nil, pollLast
	case p.released:
		return nil, pollEmpty
	}
	return nil, pollNothing
}

// release makes the poll that waits be answered, with nothing if there is nothing.
func (c *longPoll) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting != nil {
		c.waiting.released = true
		signal(c.waiting.wake)
	}
}

// send answers with frames.
func (p *poll) send(frames []*Frame) error {
	size := 0
	for _, f := range frames {
		size += f.Len()
	}
	h := p.response.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(size))
	return p.response.send(func(w io.Writer) error {
		p.response.WriteHeader(http.StatusOK)
		out := errWriter{w: w}
		for _, f := range frames {
			out.write(f.Bytes())
		}
		return out.err
	})
}

// empty answers without a body.
func (p *poll) empty(status int, contentType string) {
	if status == http.StatusOK {
		p.response.Header().Set("Content-Length", "0")
	}
	reply(p.response, status, contentType, "")
}

// sent tells the Write that p took over what has become of it.
func (c *longPoll) sent(p *poll, err error) {
	c.mu.Lock()
	c.frames, c.writing = nil, false
	c.handed <- err
	c.mu.Unlock()
	if err != nil {
		c.end(err, false)
	}
	c.leave(p)
}

func (c *longPoll) Kind() Kind { return LongPolling }

// Write waits for a poll to take frames to the client. Between two polls that is as long as the client may take to come back; what
// the send timeout bounds is the answering.
func (c *longPoll) Write(frames []*Frame) error {
	if len(frames) == 0 {
		return nil
	}
	c.mu.Lock()
	if c.over || c.closing {
		defer c.mu.Unlock()
		return c.writeError()
	}
	c.frames, c.writing = frames, true
	if c.waiting != nil {
		signal(c.waiting.wake)
	}
	c.mu.Unlock()
	return <-c.handed
}

func (c *longPoll) writeError() error {
	if c.err == nil || c.err == io.EOF {
		return net.ErrClosed
	}
	return c.err
}

// end makes the connection be over: the reader gets err after what has come, unless that is dropped, and a Write that waits gets
// it at once. A poll that waits is told so; the answer to one that is under way is cut short.
func (c *longPoll) end(err error, drop bool) {
	if !c.session.end(err, drop) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if c.writing && c.sending == nil {
		c.frames, c.writing = nil, false
		c.handed <- c.writeError()
	}
	if c.sending != nil {
		c.sending.response.abort()
	}
	if c.waiting != nil {
		signal(c.waiting.wake)
	}
}

// Close tells the client with its next poll that the connection is over, behind what is being written, and waits for that poll
// up to the close timeout.
func (c *longPoll) Close(error) {
	c.mu.Lock()
	later := c.closing || c.over
	c.closing = true
	if c.waiting != nil {
		signal(c.waiting.wake)
	}
	c.mu.Unlock()
	c.in.end(net.ErrClosed, true)
	if later {
		return
	}
	if d := orDefault(c.endpoint.CloseTimeout, DefaultCloseTimeout); d > 0 {
		timeout := time.NewTimer(d)
		defer timeout.Stop()
		select {
		case <-c.gone:
		case <-timeout.C:
		}
	}
	c.end(net.ErrClosed, true)
}

// Abort ends the connection. A poll that waits gets 204, as there must be an answer.
func (c *longPoll) Abort() {
	c.in.end(net.ErrClosed, true)
	c.end(net.ErrClosed, true)
}

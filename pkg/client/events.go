package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// events is a link over Server-Sent Events.
type events struct {
	poster
	body   io.ReadCloser
	stream eventStream
}

func (c *connection) dialEvents(ctx context.Context) (link, error) {
	life, abort, opened := c.span(ctx)
	defer opened()
	l := &events{poster: poster{c.web, c.route.address(), life, abort}}
	res, err := l.web.do(life, request{method: http.MethodGet, url: l.url, accept: "text/event-stream", long: true})
	if err != nil {
		abort()
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "text/event-stream" {
		abort()
		res.Body.Close()
		return nil, fmt.Errorf("client: the server answered with %q instead of an event stream", kind)
	}
	l.body = res.Body
	l.stream.r = bufio.NewReader(res.Body)
	return l, nil
}

func (l *events) next() (io.Reader, error) {
	switch err := l.stream.next(); err {
	case nil:
		return &l.stream, nil
	case io.EOF:
		l.finish()
		return nil, errEnded
	default:
		l.finish()
		return nil, fmt.Errorf("client: reading the event stream: %w", err)
	}
}

// finish gives back the response. Only the reader may do it.
func (l *events) finish() {
	l.end()
	l.body.Close()
}

// close has nothing to say: the server sees the request end.
func (l *events) close(context.Context) { l.abort() }

// eventStream reads the data of an event stream (HTML Living Standard, section 9.2), one event after the other. Fields other than
// data, which SignalR does not use, are skipped. Lines end with LF or CR LF; it holds no more of them in memory than its buffer.
type eventStream struct {
	r       *bufio.Reader
	piece   []byte // of a line of data, not yet handed out
	newline bool   // one goes before piece
	partial bool   // more of that line is to come
	open    bool   // the event is not at its end
}

// next steps to the next event that has data; the last one must have been read to its end. io.EOF is the end of the stream.
func (s *eventStream) next() error {
	for {
		data, _, err := s.line()
		if err != nil {
			return err
		}
		if data {
			s.open = true
			return nil
		}
	}
}

// Read reads the event's data, in which its lines are joined by LF.
func (s *eventStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.piece) == 0 && !s.newline {
		if !s.open {
			return 0, io.EOF
		}
		if err := s.advance(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // an event ends with an empty line
			}
			return 0, err
		}
	}
	if s.newline {
		s.newline = false
		p[0] = '\n'
		return 1, nil
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// advance finds more of the event's data, or its end.
func (s *eventStream) advance() (err error) {
	if s.partial {
		s.piece, s.partial, err = s.fragment()
		return err
	}
	data, blank, err := s.line()
	s.newline = data
	s.open = !blank
	return err
}

// line reads a line up to its data, which becomes piece, or to its end.
func (s *eventStream) line() (data, blank bool, err error) {
	piece, partial, err := s.fragment()
	if err != nil {
		return false, false, err
	}
	if value, ok := bytes.CutPrefix(piece, []byte("data:")); ok {
		s.piece, s.partial = bytes.TrimPrefix(value, []byte(" ")), partial
		return true, false, nil
	}
	if !partial && string(piece) == "data" {
		return true, false, nil
	}
	blank = !partial && len(piece) == 0
	for partial && err == nil {
		_, partial, err = s.fragment()
	}
	return false, blank, err
}

// fragment reads a line, without its end, or as much of it as the buffer holds.
func (s *eventStream) fragment() (piece []byte, partial bool, err error) {
	piece, err = s.r.ReadSlice('\n')
	switch err {
	case nil:
		return bytes.TrimSuffix(piece[:len(piece)-1], []byte("\r")), false, nil
	case bufio.ErrBufferFull:
		if n := len(piece) - 1; piece[n] == '\r' { // it may belong to the line's end
			if err := s.r.UnreadByte(); err != nil {
				return nil, false, err
			}
			piece = piece[:n]
		}
		return piece, true, nil
	}
	return nil, false, err
}

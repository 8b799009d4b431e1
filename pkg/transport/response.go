package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// response is an HTTP response that is written late or for long: it has time limits of its own in place of the server's. A host
// whose ResponseWriter cannot set deadlines, nor unwraps to one that can, goes without.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // of one send; not positive: none

	mu   sync.Mutex
	cut  bool // nothing more may go out
	over bool // the handler is about to return: the connection may soon serve another request
}

// newResponse takes the request out of the server's ReadTimeout and WriteTimeout. HTTP/2 does not wait for a read or a write that comes
// too late: at the former it breaks the body off, and at the latter it resets the stream.
func newResponse(w http.ResponseWriter, timeout time.Duration) *response {
	r := &response{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
	_ = r.control.SetReadDeadline(time.Time{})
	r.limit(0)
	return r
}

// send writes and flushes within the timeout. The error wraps os.ErrDeadlineExceeded when the client did not take it in time.
func (r *response) send(write func(w io.Writer) error) error {
	began := time.Now()
	r.limit(r.timeout)
	err := write(r.ResponseWriter)
	if err == nil {
		err = r.control.Flush()
	}
	// HTTP/2 resets the stream after a deadline even when nothing is being written.
	r.limit(0)
	switch {
	case err == nil, errors.Is(err, http.ErrNotSupported): // then it goes out when the handler returns
		return nil
	case r.timeout > 0 && time.Since(began) >= r.timeout: // HTTP/2 has words of its own for it
		return fmt.Errorf("transport: the client did not take what it was sent within %v: %w (%w)", r.timeout, os.ErrDeadlineExceeded, err)
	case r.aborted():
		return net.ErrClosed
	}
	return fmt.Errorf("transport: writing to the client: %w", err)
}

func (r *response) aborted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut
}

// limit bounds what is written from now on; zero or less, not at all.
func (r *response) limit(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.cut || r.over:
	case d > 0:
		_ = r.control.SetWriteDeadline(time.Now().Add(d))
	default:
		_ = r.control.SetWriteDeadline(time.Time{})
	}
}

// abort makes writes fail, those under way too, and the response end without a proper end.
func (r *response) abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.cut {
		return
	}
	r.cut = true
	_ = r.control.SetWriteDeadline(time.Unix(1, 0))
}

// finish must come last, before the handler returns. What the server still has to write is bounded as well.
func (r *response) finish() {
	r.limit(r.timeout)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

// canFlush says whether what is written can be sent on at once.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

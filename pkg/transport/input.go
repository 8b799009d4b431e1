package transport

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// maxInput is how many bytes of POST bodies may wait for the reader of one connection: ASP.NET Core's
// ApplicationMaxBufferSize. A POST that finds no room waits.
const maxInput = 64 << 10

// input is what a client has posted and nobody has read yet, as one stream of bytes. One goroutine reads and one puts at a
// time. It holds memory only while there is something to hold.
type input struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	err  error         // what follows the bytes; nil as long as more may come
	come chan struct{} // with a buffer of one: something has come
	room chan struct{} // likewise: something was read
}

func newInput() input {
	return input{come: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put appends p, at most maxInput bytes, and waits for room until ctx ends. Its error is that of ctx or of end.
func (in *input) put(ctx context.Context, p []byte) error {
	for {
		done, err := in.tryPut(p)
		if done {
			return err
		}
		select {
		case <-in.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (in *input) tryPut(p []byte) (done bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return true, in.err
	}
	if in.buf.Len()+len(p) > maxInput {
		return false, nil
	}
	in.buf.Write(p)
	signal(in.come)
	return true, nil
}

// wait returns nil once there is something to read, and the error of end when there never will be.
func (in *input) wait() error {
	for {
		in.mu.Lock()
		waiting, err := in.buf.Len(), in.err
		in.mu.Unlock()
		switch {
		case waiting > 0:
			return nil
		case err != nil:
			return err
		}
		<-in.come
	}
}

// Read reads what has come, and says io.EOF rather than wait for more.
func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.buf.Len() == 0 {
		return 0, io.EOF
	}
	n, err := in.buf.Read(p)
	if in.buf.Len() == 0 {
		in.buf = bytes.Buffer{}
	}
	signal(in.room)
	return n, err
}

// end makes err follow what has come, or take its place. Later calls change nothing, but may still drop what has come.
func (in *input) end(err error, drop bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	if drop {
		in.buf = bytes.Buffer{}
	}
	signal(in.come)
	signal(in.room)
}

// signal wakes who waits on c, or will.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package node

import (
	"net"
	"sync"
)

// listener accepts clients, and turns nobody away when it closes: whom the kernel has connected to it by then is still accepted. A plain one
// resets them, and a client or a balancer whose request is under way must not ask another node again if it is a POST.
type listener struct {
	*net.TCPListener
	close sync.Once
	err   error

	mu     sync.Mutex
	closed bool
	left   []net.Conn // accepted while closing
}

// Accept returns an error that is net.ErrClosed once the listener is closed and nobody is left.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if err == nil {
		return conn, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.left) == 0 {
		if l.closed {
			err = net.ErrClosed // the end of listening wakes us with another error, before the close
		}
		return nil, err
	}
	conn = l.left[0]
	l.left = l.left[1:]
	return conn, nil
}

// Close closes the listener. Accept must be called until it fails.
func (l *listener) Close() error {
	l.close.Do(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = true
		l.left, l.err = acceptAndClose(l.TCPListener)
	})
	return l.err
}

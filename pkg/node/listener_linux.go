package node

import (
	"net"
	"os"
	"syscall"
)

// acceptAndClose closes a listener, and returns the connections that were waiting for it. It closes in the instant in which none waits.
func acceptAndClose(l *net.TCPListener) (left []net.Conn, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, l.Close()
	}
	var sockets []int
	_ = raw.Control(func(fd uintptr) { // fails only when it is closed, and so will Close
		for {
			socket, _, err := syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			if err == syscall.EINTR || err == syscall.ECONNABORTED {
				continue
			}
			if err != nil {
				_ = syscall.Shutdown(int(fd), syscall.SHUT_RD) // none is left, and from now on the kernel refuses
				return
			}
			sockets = append(sockets, socket)
		}
	})
	err = l.Close()
	for _, socket := range sockets {
		file := os.NewFile(uintptr(socket), "accepted")
		if conn, err := net.FileConn(file); err == nil {
			left = append(left, conn)
		}
		_ = file.Close() // conn has a copy
	}
	return left, err
}

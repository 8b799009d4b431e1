package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// ports gives out loopback addresses, each only once. The zero value is ready.
type ports struct{ taken map[string]bool }

// free finds an address where nobody listens. It stays below the range from which the system takes the ports of
// outgoing connections, so that it is still free when its process is killed and started again.
func (p *ports) free() (string, error) {
	if p.taken == nil {
		p.taken = make(map[string]bool)
	}
	for range 200 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(12_000)))
		if p.taken[address] {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			p.taken[address] = true
			return address, l.Close()
		}
	}
	return "", errors.New("no free port found between 20000 and 32000 on 127.0.0.1")
}

package peer

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Gone says whether a node is known to be dead: its host refuses connections to its peer port, on which a node listens for as long as it
// lives. A node that cannot be reached, or whose address is not known, may live. ctx bounds the wait.
func (p *Peer) Gone(ctx context.Context, node string) bool {
	target, err := p.locate(ctx, node)
	if err != nil {
		return false
	}
	port := target.Port()
	switch {
	case port != "":
	case target.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(target.Hostname(), port))
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close() // nothing was said
	return false
}

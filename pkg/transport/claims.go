package transport

import (
	"sync"
	"time"
)

const (
	// tokenLife is how long after it was minted a token can be used for the first time: ASP.NET Core's DisconnectTimeout.
	tokenLife = 15 * time.Second
	// clockSkew is how far in the future, by our clock, a token may have been minted. Nodes' clocks differ: without it, a
	// node that is a moment behind would refuse what its neighbour has just minted. It lets a token live at most as
	// much longer, and does not let it be used twice.
	clockSkew = 15 * time.Second
)

// firstUse is what the local table says about the first use of a connection id.
type firstUse int

const (
	fresh firstUse = iota // nobody had it; the caller has it now
	live                  // somebody has it
	ended                 // somebody had it
)

// claims are the connection ids that were used on this endpoint: those that are in use, and those whose connection ended while
// their token was still young enough to be tried again. The latter are forgotten in bulk, a generation at a time,
// so that the table is bounded by the connections of a minute and needs no timer. The zero value is ready.
type claims struct {
	mu      sync.Mutex
	inUse   map[connectionKey]*session    // nil for a WebSocket
	young   [2]map[connectionKey]struct{} // ended; newer and older generation
	rotated time.Time
}

// claim takes a key for the caller, if nobody had it. Then end or release must follow. s is what the key shall lead to, nil for a
// WebSocket; when it is live, holder is what it leads to.
func (c *claims) claim(k connectionKey, s *session, now time.Time) (use firstUse, holder *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if use, holder = c.look(k, now); use != fresh {
		return use, holder
	}
	if c.inUse == nil {
		c.inUse = map[connectionKey]*session{}
	}
	c.inUse[k] = s
	return fresh, nil
}

// look says what would become of a claim. c.mu must be held.
func (c *claims) look(k connectionKey, now time.Time) (use firstUse, holder *session) {
	c.rotate(now)
	if holder, ok := c.inUse[k]; ok {
		return live, holder
	}
	for _, g := range c.young {
		if _, ok := g[k]; ok {
			return ended, nil
		}
	}
	return fresh, nil
}

// unused says whether a token could still be claimed.
func (c *claims) unused(t Token, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	use, _ := c.look(t.key, now)
	return use == fresh && !stale(t.Issued, now)
}

// stale says whether a token minted at this time is too old, or of the future, to be used for the first time.
func stale(issued, now time.Time) bool {
	age := now.Sub(issued)
	return age > tokenLife || age < -clockSkew
}

// release forgets a claim that led to nothing: somebody else may still use the key.
func (c *claims) release(k connectionKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inUse, k)
}

// end says that the connection has ended. The key stays used for as long as its age alone would not refuse it.
func (c *claims) end(k connectionKey, issued, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rotate(now)
	delete(c.inUse, k)
	if now.Sub(issued) > tokenLife {
		return
	}
	if c.young[0] == nil {
		c.young[0] = map[connectionKey]struct{}{}
	}
	c.young[0][k] = struct{}{}
}

// find says whether there is a connection with this key; s is nil when it is a WebSocket.
func (c *claims) find(k connectionKey) (s *session, here bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, here = c.inUse[k]
	return s, here
}

// rotate drops the older generation when all in it are too old to be tried again. c.mu must be held.
func (c *claims) rotate(now time.Time) {
	const generation = tokenLife + clockSkew
	switch age := now.Sub(c.rotated); {
	case age > 2*generation:
		c.young[0], c.young[1] = nil, nil
	case age > generation:
		c.young[0], c.young[1] = nil, c.young[0]
	default:
		return
	}
	c.rotated = now
}

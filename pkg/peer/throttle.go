package peer

import (
	"sync"
	"time"
)

// throttlePeriod is how long a throttle says nothing after it has spoken.
const throttlePeriod = 10 * time.Second

// throttle keeps what may happen a thousand times a second from filling the log. The zero value is ready.
type throttle struct {
	mu     sync.Mutex
	next   time.Time
	silent int
}

// allow says whether to speak, and how often it has said no since it last did.
func (t *throttle) allow(now time.Time) (silent int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		t.silent++
		return 0, false
	}
	silent, t.silent = t.silent, 0
	t.next = now.Add(throttlePeriod)
	return silent, true
}

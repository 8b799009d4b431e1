package client

import (
	"math/rand/v2"
	"time"
)

// Retry is what a ReconnectPolicy decides upon.
type Retry struct {
	Attempt int           // how many attempts have failed since the connection was lost
	Elapsed time.Duration // since then
	Reason  error         // why the last attempt failed; at first, why the connection was lost
}

// ReconnectPolicy says how long to wait before the next attempt to connect; ok is false to give up.
type ReconnectPolicy func(r Retry) (delay time.Duration, ok bool)

// DefaultReconnect does what the official clients do: it tries at once, then after 2, 10 and 30 seconds, and gives up.
var DefaultReconnect = ReconnectAfter(0, 2*time.Second, 10*time.Second, 30*time.Second)

// ReconnectAfter tries as often as there are delays.
func ReconnectAfter(delays ...time.Duration) ReconnectPolicy {
	return func(r Retry) (time.Duration, bool) {
		if r.Attempt >= len(delays) {
			return 0, false
		}
		return delays[r.Attempt], true
	}
}

// ReconnectForever never gives up. The first delay lies between nothing and first, so that the clients of a server that
// went down do not all come back at once; the bound doubles with each attempt until it is most.
func ReconnectForever(first, most time.Duration) ReconnectPolicy {
	return func(r Retry) (time.Duration, bool) {
		bound := first
		for i := 0; i < r.Attempt && bound < most; i++ {
			bound *= 2
		}
		bound = min(bound, most)
		if bound <= 0 {
			return 0, true
		}
		return rand.N(bound), true
	}
}

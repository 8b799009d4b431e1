package hub

// turnedAway is what a client reads whose call came too late: nothing of it was done, and it may be made again elsewhere.
const turnedAway = "the server is stopping; the call was not made"

// beginCall counts an invocation. It returns false when the connection has ended, or takes no more; then text is the answer.
func (c *Connection) beginCall(method string) (ok bool, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return false, ""
	case c.full:
		return false, "Failed to invoke '" + method + "': " + turnedAway + "."
	}
	c.calls++
	return true, ""
}

// endCall says that an invocation has been answered, or never will be.
func (c *Connection) endCall() {
	c.mu.Lock()
	c.calls--
	c.mu.Unlock()
}

// owe counts the results that others wait for from the client. A client of another node is nil here.
func (c *Connection) owe(n int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.owed += n
	c.mu.Unlock()
}

// takeNoCalls makes the connection refuse invocations from now on.
func (c *Connection) takeNoCalls() {
	c.mu.Lock()
	c.full = true
	c.mu.Unlock()
}

// endWhenIdle ends the connection because the server stops, when nothing that it has called is under way, nobody waits for a result of
// its client, and nothing that it has sent is being looked at; or at once, when its time is up. It returns false if it has not.
func (c *Connection) endWhenIdle(timeUp bool) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !timeUp && (c.calls > 0 || c.owed > 0 || c.reading.Load()) {
		return false
	}
	c.endLocked(endShutdown, nil)
	return true
}

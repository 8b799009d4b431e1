package cluster

// Remembers is for tests that must wait until the node trusts Redis' memory.
func Remembers(c *Redis) bool { return c.remembers() }

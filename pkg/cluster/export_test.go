package cluster

// Remembers is for tests that must wait until the node trusts Redis' memory.
func Remembers(c *Redis) bool { return c.remembers() }

// LeaseScript is for tests of what may be delayed on its way.
var LeaseScript = leaseScript

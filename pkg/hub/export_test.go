package hub

// LimitsOver is what holds in a hub with limits of its own.
func LimitsOver(own, server Limits) Limits {
	return own.withDefaults(server.withDefaults(defaultLimits()))
}

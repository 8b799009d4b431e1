//go:build race

package hub_test

// The race detector makes sync.Pool drop a quarter of what it is given, to find misuse.
const poolsForget = true

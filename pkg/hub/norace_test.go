//go:build !race

package hub_test

const poolsForget = false

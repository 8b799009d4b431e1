//go:build race

package transport

// raceDetector says that the tests run with it, which makes stacks and allocations larger.
const raceDetector = true

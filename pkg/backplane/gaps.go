package backplane

import (
	"sync"
	"time"
)

// gaps joins the interruptions of all subscription links into one, which lasts from when the first of them last brought everything
// until all are whole again.
type gaps struct {
	mu    sync.Mutex
	open  int // links that were whole once and are not now
	since time.Time
}

// begin notes that a link is broken, and brought everything until last.
func (g *gaps) begin(last time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == 0 || last.Before(g.since) {
		g.since = last
	}
	g.open++
}

// end notes that one of them is whole again. It says how long the gap was, if it is over.
func (g *gaps) end() (length time.Duration, over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	return time.Since(g.since), g.open == 0
}

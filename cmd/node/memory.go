package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime keeps the memory that a rush of connections took: until a heap has doubled, nothing is collected, and what is
// free up to that size is not given back. On a node whose clients are idle that is for ever, and as much again as it needs.
const (
	// trimEvery is how often it is looked at.
	trimEvery = 5 * time.Second
	// trimPause lies between two trims. The runtime collects an idle heap every two minutes anyway.
	trimPause = 2 * time.Minute
	// minTrim is what a small heap may take in excess.
	minTrim = 4 << 20
)

// heapState is what the runtime says of the heap, in bytes.
type heapState struct {
	allocated uint64 // since the process began
	live      uint64 // what the last collection left
	objects   uint64 // what is allocated, dead or alive
	free      uint64 // what is not, and has not been given back
}

var heapMetrics = []string{
	"/gc/heap/allocs:bytes", "/gc/heap/live:bytes", "/memory/classes/heap/objects:bytes", "/memory/classes/heap/free:bytes",
}

// readHeap costs microseconds: it does not stop the world.
func readHeap() heapState {
	var s [4]metrics.Sample
	for i, name := range heapMetrics {
		s[i].Name = name
	}
	metrics.Read(s[:])
	return heapState{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

// quiet says whether so little was allocated since before, trimEvery earlier, that it would take minutes to double the heap. Then a
// collection costs nothing that matters, and gives back what will not be needed soon.
func (s heapState) quiet(before heapState) bool { return s.allocated-before.allocated < s.live/32 }

// taken is what the heap takes of the system's memory, gaps aside.
func (s heapState) taken() uint64 { return s.objects + s.free }

// excess says whether it is worth the trouble: more than an eighth of what lives could be given back.
func (s heapState) excess() bool { return s.taken() > s.live+s.live/8+minTrim }

// trimmer decides when to trim.
type trimmer struct {
	last    heapState
	calm    bool      // it was quiet at the last look
	trimmed time.Time // the last time
	left    uint64    // what the heap took after that
}

// due says whether to trim now: when it has been quiet twice in a row, and the last time is long ago or the heap has grown since.
func (t *trimmer) due(now time.Time, s heapState) bool {
	wasCalm := t.calm
	t.calm, t.last = s.quiet(t.last), s
	rested := now.Sub(t.trimmed) >= trimPause || s.taken() > t.left+t.left/4
	return t.calm && wasCalm && rested && s.excess()
}

// done notes what a trim has left.
func (t *trimmer) done(now time.Time, s heapState) {
	t.trimmed, t.left, t.last = now, s.taken(), s
}

// trimMemory gives memory that is not needed back to the system while little happens, until ctx ends.
func trimMemory(ctx context.Context) {
	look := time.NewTicker(trimEvery)
	defer look.Stop()
	t := trimmer{last: readHeap()}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-look.C:
			if t.due(now, readHeap()) {
				debug.FreeOSMemory()
				t.done(now, readHeap())
			}
		}
	}
}

package main

import (
	"runtime/metrics"
	"testing"
	"time"
)

func TestTrimmer(t *testing.T) {
	const mib = 1 << 20
	start := time.Unix(0, 0)
	var tr trimmer
	looks := []struct {
		name  string
		after time.Duration
		state heapState // in MiB
		want  bool
	}{
		{"a small heap at rest", 5, heapState{10, 3, 4, 2}, false},
		{"still", 10, heapState{10, 3, 4, 2}, false},
		{"connections come", 15, heapState{200, 50, 60, 30}, false},
		{"and more", 20, heapState{300, 50, 90, 10}, false},
		{"quiet, for the first time", 25, heapState{301, 50, 91, 9}, false},
		{"and again", 30, heapState{302, 50, 92, 8}, true},
		{"it was trimmed", 35, heapState{303, 50, 51, 1}, false},
		{"less than an eighth", 40, heapState{304, 50, 58, 1}, false},
		{"more, but the last time is not long ago", 45, heapState{305, 50, 61, 1}, false},
		{"the heap has grown by more than a quarter", 50, heapState{306, 50, 63, 2}, true},
		{"a little too much", 60, heapState{307, 50, 61, 1}, false},
		{"for long", 171, heapState{308, 50, 61, 1}, true},
		{"messages flow", 300, heapState{400, 50, 80, 20}, false},
	}
	for _, l := range looks {
		s := heapState{l.state.allocated * mib, l.state.live * mib, l.state.objects * mib, l.state.free * mib}
		now := start.Add(l.after * time.Second)
		if got := tr.due(now, s); got != l.want {
			t.Errorf("%s: due %v, want %v", l.name, got, l.want)
		}
		if l.want {
			tr.done(now, heapState{s.allocated, s.live, s.live, 0})
		}
	}
}

// The runtime must know the names.
func TestReadHeap(t *testing.T) {
	known := map[string]bool{}
	for _, d := range metrics.All() {
		known[d.Name] = d.Kind == metrics.KindUint64
	}
	for _, name := range heapMetrics {
		if !known[name] {
			t.Errorf("%s: unknown", name)
		}
	}
	if s := readHeap(); s.allocated < s.objects || s.objects == 0 {
		t.Errorf("%+v", s)
	}
}

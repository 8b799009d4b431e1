package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// TestBench runs two rows of the benchmark for a moment, with real nodes and a Redis of its own.
func TestBench(t *testing.T) {
	redistest.Binary(t)
	binary := filepath.Join(t.TempDir(), "node")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, out := loadtest(t, "bench", "--node", binary, "--rows", "calls,two-broadcast", "--rounds", "1", "--duration", "200ms", "--pin=false")
	if code != exitOK || !strings.Contains(out, "two nodes over Redis, broadcast") || strings.Contains(out, "NaN") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

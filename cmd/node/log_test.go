package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// Durations are readable in both formats, and in both they are the same.
func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{
		formatJSON: `"level":"WARN","msg":"m","after":"1.5s","error":"e","node":"n"}`,
		formatText: `level=WARN msg=m after=1.5s error=e node=n`,
	} {
		var out bytes.Buffer
		log := newLogger(&out, "warn", format)
		log.Info("unseen")
		log.Warn("m", "after", 1500*time.Millisecond, "error", errors.New("e"), "node", "n")
		if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, want) || strings.Contains(got, "unseen") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

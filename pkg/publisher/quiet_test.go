package publisher_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/hubfleet/hubfleet/pkg/publisher"
)

// TestQuiet: a program without a Redis writes lines of the Redis client, until it says the one line that ends it.
func TestQuiet(t *testing.T) {
	if how := os.Getenv("HUBFLEET_TEST_QUIET"); how != "" {
		if how == "yes" {
			logging.Disable()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		p, err := publisher.Connect(ctx, publisher.Options{Redis: "redis://" + nobody(t)})
		if err == nil {
			<-ctx.Done()
			_ = p.Close()
		}
		return
	}
	t.Parallel()
	for how, want := range map[string]bool{"yes": false, "no": true} {
		var stderr bytes.Buffer
		program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQuiet$")
		program.Env, program.Stderr = append(os.Environ(), "HUBFLEET_TEST_QUIET="+how), &stderr
		if err := program.Run(); err != nil {
			t.Errorf("%v\n%s", err, stderr.String())
		}
		if said := strings.Contains(stderr.String(), "failed to dial"); said != want {
			t.Errorf("quiet: %s, and it says %q", how, stderr.String())
		}
	}
}

// nobody is an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

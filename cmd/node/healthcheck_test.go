package main

import (
	"strings"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// TestHealthcheck: the command asks the node whose settings it is given, and its exit code is the node's answer.
func TestHealthcheck(t *testing.T) {
	ready := launch(t)
	dead := redistest.Start(t)
	dead.Stop()
	waiting := launch(t, "--redis="+dead.URL())
	for _, tt := range []struct {
		name   string
		args   []string
		env    []string
		code   int
		stdout string
		stderr string // the beginning
	}{
		{"ready", []string{"--admin-listen=" + ready.admin}, nil, exitOK, "ok\n", ""},
		{"by the environment", []string{"/readyz"}, []string{"HUBFLEET_ADMIN_LISTEN=" + ready.admin}, exitOK, "ok\n", ""},
		{"not ready", []string{"--admin-listen=" + waiting.admin}, nil, exitFailure, "", "node healthcheck: /readyz: 503 Service Unavailable: not ready: "},
		{"alive all the same", []string{"/healthz", "--admin-listen=" + waiting.admin}, nil, exitOK, "ok\n", ""},
		{"nobody there", []string{"--admin-listen=127.0.0.1:1"}, nil, exitFailure, "", `node healthcheck: Get "http://127.0.0.1:1/readyz": `},
		{"off", []string{"--admin-listen=off"}, nil, exitUsage, "", "node healthcheck: --admin-listen is off"},
		{"bad settings", []string{"--lisen=:1"}, nil, exitUsage, "", "node healthcheck: --lisen: there is no such flag"},
		{"help", []string{"--help"}, nil, exitOK, healthcheckUsage, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command(t, append([]string{"healthcheck"}, tt.args...)...)
			cmd.Env = append(cmd.Env, tt.env...)
			code, stdout, stderr := finish(t, cmd)
			if code != tt.code || stdout != tt.stdout || !strings.HasPrefix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, output %q, errors %q; want %d, %q, %q…", code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

// TestReachable: wherever a node listens, its own host finds it.
func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":9090": "localhost:9090", "0.0.0.0:9090": "127.0.0.1:9090", "[::]:9090": "[::1]:9090",
		"127.0.0.1:1": "127.0.0.1:1", "10.0.0.7:9": "10.0.0.7:9", "node.internal:9": "node.internal:9",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q) = %q, want %q", listen, got, want)
		}
	}
}

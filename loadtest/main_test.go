package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is the program itself when a test starts it as a worker or as a bare server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{commandWorker, commandBare}, os.Args[1]) {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// loadtest runs the program in this process.
func loadtest(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = command(args, nil, nil, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestBadFlags(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--conections 3", "--conections: there is no such flag; did you mean --connections?"},
		{"--connections 0", "use a whole number from 1 to 500000"},
		{"--connections 1e3", "use a whole number"},
		{"--payload 10", "use a whole number from 46"},
		{"--duration 2h", "use at least 100ms and at most 1h0m0s"},
		{"--duration 0", "use more than zero"},
		{"--scenario flood", "use one of: idle, broadcast"},
		{"--url 127.0.0.1:8080", "use a URL such as"},
		{"--url ftp://127.0.0.1/chat", "use http, https, ws or wss"},
		{"--rate 5 --in-flight 5", "remove one of them"},
		{"--rate 5 --scenario idle", "means nothing for idle"},
		{"--redis redis://127.0.0.1", "means nothing without --bare"},
		{"--bare --scenario streams --stream-delay 5ms", "streams without pauses"},
		{"--pid 0", "use the number of a process"},
		{"--token-secret short", "at least 32 are needed"},
		{"--url http://192.0.2.1/chat", "not on this machine's loopback interface"},
		{"--sender-url http://192.0.2.1/chat", "say --allow-remote"},
		{"compare --target a=http://192.0.2.1/chat --bare", "say --allow-remote"},
		{"compare --target a=http://127.0.0.1/chat", "at least two"},
		{"compare --target http://127.0.0.1/chat", "use NAME=URL"},
		{"compare --target a=http://127.0.0.1/chat;port=3 --bare", "behind a ; may stand"},
		{"bare --listen 0.0.0.0:80", "use a loopback address"},
		{"bench --rows nothing", "use one of"},
		{"--connections 400000 --workers 1", "raise the limit (ulimit -n), or use --workers"},
		{"--source-addresses 1 --connections 400000 --workers 40", "use --source-addresses"},
	} {
		code, out := loadtest(t, strings.Fields(test.args)...)
		if code != exitUsage || !strings.Contains(out, test.want) {
			t.Errorf("loadtest %s: exit %d and %q, want exit %d and %q", test.args, code, out, exitUsage, test.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"", commandCompare, commandBench, commandBare} {
		code, out := loadtest(t, strings.Fields(name+" --help")...)
		if code != exitOK || !strings.Contains(out, "Usage: loadtest") {
			t.Errorf("loadtest %s --help: exit %d and %q", name, code, out)
		}
	}
}

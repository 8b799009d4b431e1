package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/hub"
)

// childEnv is the environment variable with which the test's binary runs as the command, with a hub more, at /stubborn.
const childEnv = "HUBFLEET_TEST_NODE_CHILD"

// stubborn has a method that heeds nothing.
type stubborn struct{}

func (stubborn) Hang(c *hub.Call) {
	c.Logger().Info("hanging")
	select {}
}

// child is the command with that hub. It returns the exit code.
func child() int {
	if err := os.Unsetenv(childEnv); err != nil {
		return exitUsage
	}
	c := newConfig(false)
	if err := c.load(os.Args[1:], os.Environ()); err != nil {
		return exitUsage
	}
	log := newLogger(os.Stderr, c.logLevel, c.logFormat)
	n, err := newNode(c, log)
	if err == nil {
		err = n.Map("/stubborn", stubborn{})
	}
	if err == nil {
		err = runNode(c, log, n)
	}
	if err != nil {
		log.Error(readable(err))
		return exitFailure
	}
	return exitOK
}

// TestStopIsShort: with a short drain timeout, too, a client that does not read and a method that does not return cost a node neither its clean
// end nor its leave from the cluster.
func TestStopIsShort(t *testing.T) {
	server := redistest.Start(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--log-format=text",
		"--redis="+server.URL(), "--demo=true", "--drain-timeout=2s")
	cmd.Env = []string{childEnv + "=1"}
	p := launchCommand(t, cmd)
	poll(t, "ready", func() bool { status, _ := p.get(p.admin + "/readyz"); return status == 200 })

	hangs := dialPath(t, p, "/stubborn")
	hangs.send(`{"type":1,"invocationId":"1","target":"Hang","arguments":[]}`)
	p.log.wait(t, "msg=hanging")

	// Nobody reads on from here. The numbers are more than what fits into the buffers of its socket.
	deaf := dial(t, p, "?user=deaf")
	deaf.send(`{"type":4,"invocationId":"1","target":"Counter","arguments":[1000000,0]}`)
	deaf.next()
	if got := leases(t, server); got != 1 {
		t.Errorf("%d leases", got)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	p.log.wait(t, `msg="drained, but not all`)
	if got := leases(t, server); got != 0 {
		t.Errorf("%d leases are left", got)
	}
	for _, key := range server.Do(t, "KEYS", "hubfleet:*:inc").([]any) {
		t.Errorf("presence was not left: %v", key)
	}
}

// leases is how many nodes hold one.
func leases(t *testing.T, server *redistest.Server) int {
	t.Helper()
	return len(server.Do(t, "KEYS", "hubfleet:node:*").([]any))
}

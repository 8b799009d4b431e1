// Command node runs one node of a Hubfleet cluster: the sample hub at /chat, and with --demo a page to try it.
//
// With nothing else it serves on :8080 and keeps everything in memory. "node --help" lists the settings.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/pkg/node"
)

// The exit codes.
const (
	exitOK      = 0 // after a clean stop
	exitFailure = 1 // a failure while running, or a stop that was not clean
	exitUsage   = 2 // bad settings
)

// hubPath is where the sample hub is.
const hubPath = "/chat"

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is the command; it returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == healthcheckCommand {
		return healthcheck(args[1:], environ, stdout, stderr)
	}
	c := newConfig(isTerminal(stderr))
	if wantsHelp(args) {
		if err := c.table.WriteHelp(stdout); err != nil {
			return exitFailure
		}
		return exitOK
	}
	if err := c.load(args, environ); err != nil {
		fmt.Fprintf(stderr, "node: %v\n", err)
		return exitUsage
	}
	if c.version {
		fmt.Fprintln(stdout, versionLine())
		return exitOK
	}
	log := newLogger(stderr, c.logLevel, c.logFormat)
	redis.SetLogger(redisLogger{log})
	if err := serve(c, log); err != nil {
		log.Error(readable(err))
		return exitFailure
	}
	return exitOK
}

// serve makes the node, and runs it until a signal comes.
func serve(c *config, log *slog.Logger) error {
	log.Info("starting", "version", version(), "settings", c.table)
	n, err := newNode(c, log)
	if err != nil {
		return err
	}
	return runNode(c, log, n)
}

// runNode runs a node until a signal comes.
func runNode(c *config, log *slog.Logger, n *node.Node) error {
	if err := n.Listen(); err != nil {
		return err
	}
	if c.demo {
		log.Info("the demo page is at " + localURL(n.Addr()))
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	defer watchSignals(log, c.drainTimeout, n.Draining(), stop)()
	var trimming sync.WaitGroup
	defer trimming.Wait()
	defer stop()
	trimming.Go(func() { trimMemory(ctx) })
	return n.Run(ctx)
}

// localURL is where a browser on this host finds what listens at an address.
func localURL(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return "http://" + a.String() + "/"
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// newNode makes the node with all that it serves.
func newNode(c *config, log *slog.Logger) (*node.Node, error) {
	nodeConfig := c.node(log)
	n, err := node.New(nodeConfig)
	if err != nil {
		return nil, err
	}
	if err := n.Map(hubPath, &ChatHub{node: n.Name()}); err != nil {
		return nil, err
	}
	if c.demo {
		if err := serveDemo(c, n, log); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// watchSignals calls stop on the first SIGTERM or interrupt. A second one, or the end of the time to stop, whatever began it, ends the
// process at once: an operator who insists must not have to reach for SIGKILL. It returns how to stop watching.
func watchSignals(log *slog.Logger, drainTimeout time.Duration, draining <-chan struct{}, stop func()) (end func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	done := make(chan struct{})
	go func() {
		told := false
		var late <-chan time.Time
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				if told {
					log.Error("second signal: ending at once", "signal", s.String())
					os.Exit(exitFailure)
				}
				told = true
				log.Info("signal", "signal", s.String())
				stop()
			case <-draining:
				draining, late = nil, time.After(drainTimeout)
			case <-late:
				log.Error("the drain timeout has passed: ending at once", "drain_timeout", drainTimeout)
				os.Exit(exitFailure)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// readable adds what to do to errors of the operating system.
func readable(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return err.Error() + "; another program has this port: stop it, or choose another with --listen, --admin-listen or --peer-listen"
	case errors.Is(err, syscall.EACCES):
		return err.Error() + "; ports below 1024 need a privilege: choose a higher one"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return err.Error() + "; this host does not have that address"
	}
	return err.Error()
}

// wantsHelp says whether the arguments ask for help, whatever else they say.
func wantsHelp(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "-h", "-help", "--help":
			return true
		}
	}
	return false
}

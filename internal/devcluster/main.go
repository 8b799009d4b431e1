// Command devcluster runs a whole cluster on this machine: a Redis, several nodes, and in front of them a round-robin
// TCP proxy without affinity. It is for playing and for tests; `make cluster` starts it.
//
// While it runs it takes commands on standard input, one a line:
//
//	kill NAME    end a process at once (SIGKILL)
//	stop NAME    ask it to leave (SIGTERM)
//	start NAME   start it again, on the same port
//
// NAME is a node ("node-2", or just "2") or "redis". With -json, what happens is written to standard output as one
// JSON object a line, and the end of standard input ends the cluster, so that nothing outlives a test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// settings are the command line.
type settings struct {
	node     string   // the node's binary
	nodes    int      // how many
	listen   string   // the proxy's address
	redis    string   // URL of a running Redis; "" starts one, "none" does without
	json     bool     // machine-readable
	nodeArgs []string // further flags of every node
}

func main() {
	s, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		os.Exit(2)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	c := newCluster(s, newReport(s.json, os.Stdout, os.Stderr))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		<-signals // a second one is for those who will not wait
		c.killAll()
	}()
	if s.json {
		go func() { c.obey(os.Stdin); cancel() }()
	} else {
		go c.obey(os.Stdin)
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("devcluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.node, "node", "bin/node", "the node's binary")
	flags.IntVar(&s.nodes, "nodes", 3, "how many nodes")
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8080", "address of the proxy")
	flags.StringVar(&s.redis, "redis", "", "URL of a running Redis; empty starts one; none does without, for one node")
	flags.BoolVar(&s.json, "json", false, "write events as JSON lines, and end with standard input")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: devcluster [flags] [-- flags of every node]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	s.nodeArgs = flags.Args()
	switch {
	case s.nodes < 1:
		return settings{}, fmt.Errorf("--nodes is %d, but a cluster has at least one node", s.nodes)
	case s.nodes > 1 && s.redis == "none":
		return settings{}, fmt.Errorf("--redis none leaves %d nodes without a way to each other: use --nodes 1", s.nodes)
	}
	return s, nil
}

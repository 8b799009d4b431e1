package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hubfleet/hubfleet/pkg/node"
)

// healthcheckCommand, as the first argument, asks a running node how it is. An image without a shell has no other program to do so.
const healthcheckCommand = "healthcheck"

// healthcheckTimeout is how long the node may take to answer.
const healthcheckTimeout = 3 * time.Second

// healthcheckUsage is what the command takes.
const healthcheckUsage = `node healthcheck asks a node on this host whether it is ready, and prints the answer.

Usage: node healthcheck [/readyz|/healthz] [flags]

Give it the flags, environment and file of the node: they say where its admin listener is. The exit code is 0 for a
node that says yes, 1 for one that says no or does not answer, 2 for bad settings.
`

// healthcheck is the command; it returns the exit code.
func healthcheck(args, environ []string, stdout, stderr io.Writer) int {
	if wantsHelp(args) {
		fmt.Fprint(stdout, healthcheckUsage)
		return exitOK
	}
	path := "/readyz"
	if len(args) > 0 && (args[0] == "/readyz" || args[0] == "/healthz") {
		path, args = args[0], args[1:]
	}
	c := newConfig(false)
	if err := c.load(args, environ); err != nil {
		fmt.Fprintf(stderr, "node healthcheck: %v\n", err)
		return exitUsage
	}
	if c.adminListen == node.Off {
		fmt.Fprintln(stderr, "node healthcheck: --admin-listen is off: the node tells nobody how it is")
		return exitUsage
	}
	answer, err := askAdmin(c.adminListen, path)
	if err != nil {
		fmt.Fprintf(stderr, "node healthcheck: %v\n", err)
		return exitFailure
	}
	fmt.Fprint(stdout, answer)
	return exitOK
}

// askAdmin gets a path of the admin listener of this host. An answer other than 200 is an error.
func askAdmin(listen, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(listen)+path, nil)
	if err != nil {
		return "", err
	}
	// A transport of its own: a proxy in the environment is not for this host.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// reachable is where this host reaches what listens on an address: one for all interfaces is there on loopback.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "localhost"
	case ip == nil || !ip.IsUnspecified():
	case ip.To4() != nil:
		host = "127.0.0.1"
	default:
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// readyWithin is how long a server may take to start.
const readyWithin = 15 * time.Second

// serverProcess is a server that the benchmark started.
type serverProcess struct {
	cmd    *exec.Cmd
	url    string
	stderr bytes.Buffer
	folder string // removed at the end; empty for none
}

func (s *serverProcess) pid() int { return s.cmd.Process.Pid }

func (s *serverProcess) stop() {
	end(s.cmd)
	if s.folder != "" {
		_ = os.RemoveAll(s.folder) // what is left of it is the system's to clean
	}
}

// nodeProcess is a node, redisProcess a Redis.
type (
	nodeProcess  = serverProcess
	redisProcess = serverProcess
)

// startNode starts a node; redis may be empty.
func startNode(ctx context.Context, binary, redis, core string) (*nodeProcess, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{binary, "--listen=" + ports[0], "--admin-listen=off", "--log-level=error", "--demo", "--drain-timeout=1s"}
	if redis != "" {
		args = append(args, "--redis="+redis, "--peer-listen="+ports[1])
	}
	n := &nodeProcess{cmd: pinned(core, args...), url: "http://" + ports[0] + "/chat"}
	if err := n.start(); err != nil {
		return nil, err
	}
	return n, n.await(ctx, func() error {
		res, err := http.Post(n.url+"/negotiate?negotiateVersion=1", "", nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// startRedis starts a Redis that keeps nothing.
func startRedis(ctx context.Context, core string) (*redisProcess, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(ports[0])
	r := &redisProcess{url: "redis://" + ports[0], folder: folder}
	r.cmd = pinned(core, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", folder)
	if err := r.start(); err != nil {
		return nil, err
	}
	return r, r.await(ctx, func() error {
		c, err := net.Dial("tcp", ports[0])
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (s *serverProcess) start() error {
	orphanless(s.cmd)
	s.cmd.Stderr = &s.stderr
	return s.cmd.Start()
}

// await asks until the server answers. One that does not is stopped.
func (s *serverProcess) await(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			s.stop()
			return fmt.Errorf("%s did not become ready: %w %s", strings.Join(s.cmd.Args, " "), err, strings.TrimSpace(s.stderr.String()))
		}
	}
}

// freePorts finds addresses that nobody listens at.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, "127.0.0.1:"+strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return out, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"
)

// redisImage is what runs when there is a Docker engine but no redis-server.
const redisImage = "redis:7-alpine"

var errNoRedis = errors.New("no redis-server in PATH, and no Docker engine answers: install it (on Debian: " +
	"apt-get install redis-server; on macOS: brew install redis), or name a running one with --redis redis://HOST:PORT")

// redisProcess is a private Redis without persistence: the installed one, else one from a container.
func redisProcess(ctx context.Context, address, dir string, r *report) (*process, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if path, err := exec.LookPath("redis-server"); err == nil {
		return &process{name: "redis", path: path, report: r, args: []string{
			"--bind", "127.0.0.1", "--port", port, "--dir", dir,
			"--save", "", "--appendonly", "no", "--loglevel", "warning",
		}}, nil
	}
	path, err := exec.LookPath("docker")
	if err != nil {
		return nil, errNoRedis
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if exec.CommandContext(ctx, path, "info").Run() != nil {
		return nil, errNoRedis
	}
	return &process{name: "redis", path: path, report: r, args: []string{
		"run", "--rm", "--publish", "127.0.0.1:" + port + ":6379", redisImage, "redis-server", "--save", "", "--appendonly", "no",
	}}, nil
}

// redisAnswers asks for a sign of life in the protocol's inline form.
func redisAnswers(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != "+PONG\r\n" {
		return fmt.Errorf("redis answered %q to PING", answer)
	}
	return nil
}

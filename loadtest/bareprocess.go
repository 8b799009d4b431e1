package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// bareProcess is a bare server in a process of its own, so that what it costs can be told from what we cost.
type bareProcess struct {
	cmd    *exec.Cmd
	url    string
	stderr bytes.Buffer
}

// startBare starts one; wrapper is a command to start it with, such as taskset, or empty.
func startBare(ctx context.Context, join bool, redis, core string) (*bareProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, commandBare, fmt.Sprintf("--join=%v", join)}
	if redis != "" {
		args = append(args, "--redis="+redis)
	}
	b := &bareProcess{cmd: pinned(core, args...)}
	orphanless(b.cmd)
	b.cmd.Stderr = &b.stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = b.cmd.Process.Kill() })()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.stop()
		return nil, errors.New("the bare server did not start: " + strings.TrimSpace(b.stderr.String()))
	}
	b.url = strings.TrimSpace(line)
	return b, nil
}

// pinned is a command that runs on one core; an empty core means any.
func pinned(core string, args ...string) *exec.Cmd {
	if core != "" {
		args = append([]string{"taskset", "-c", core}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

func (b *bareProcess) pid() int { return b.cmd.Process.Pid }

// stop ends the process and waits for it.
func (b *bareProcess) stop() { end(b.cmd) }

// end asks a process of ours to end, and makes it after a while.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait() // how it ended no longer matters
}

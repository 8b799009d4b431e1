package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to leave when asked. It is more than a node's own longest drain here.
const stopTimeout = 15 * time.Second

// A process is a program that can be started again and again under one name.
type process struct {
	name   string
	path   string
	args   []string
	report *report

	mu     sync.Mutex
	cmd    *exec.Cmd
	wanted bool          // that it ends: nothing to report then
	over   bool          // for good: it is not started again
	done   chan struct{} // closed when the running one has ended
}

// start runs the program. It is an error when it runs already.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return fmt.Errorf("%s is not started: the cluster is stopping", p.name)
	}
	if p.runs() {
		return fmt.Errorf("%s is running already", p.name)
	}
	cmd := exec.Command(p.path, p.args...)
	logs := p.report.logs(p.name)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.wanted = cmd, done, false
	p.report.started(p.name, cmd.Process.Pid)
	go func() {
		_ = cmd.Wait() // the state says it all
		p.mu.Lock()
		wanted := p.wanted
		close(done)
		p.mu.Unlock()
		p.report.exited(p.name, cmd.ProcessState.String(), wanted)
	}()
	return nil
}

// runs is called with the lock held.
func (p *process) runs() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal if the program runs. stopping says that its end is then nothing to report.
func (p *process) signal(s os.Signal, stopping bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return fmt.Errorf("%s is not running", p.name)
	}
	p.wanted = stopping
	return p.cmd.Process.Signal(s)
}

// stop ends the process for good: it asks the program to leave, waits, and ends it when it does not. It may not be running.
func (p *process) stop() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	if p.signal(syscall.SIGTERM, true) != nil {
		return // not running
	}
	select {
	case <-p.ended():
	case <-time.After(stopTimeout):
		p.report.note("%s did not stop within %s and is killed", p.name, stopTimeout)
		p.kill()
		<-p.ended()
	}
}

func (p *process) kill() { _ = p.signal(syscall.SIGKILL, true) }

// ended is closed when the running program has ended. The process must have been started.
func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

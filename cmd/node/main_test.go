package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/freeze"
)

// binary is the command, built once.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hubfleet-node")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "node")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the command:", err)
			return 1
		}
		return m.Run()
	}())
}

// command is the command with an environment of its own: what the tests run in must not reach it.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.Dir = t.TempDir()
	return cmd
}

// process is a node that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	client string // host:port for clients
	admin  string
	log    *logWatch
	exit   func() int // waits for the end
}

// launch starts the command and waits until it serves.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchCommand(t, command(t, append([]string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--log-format=text"}, args...)...))
}

func launchCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, log: newLogWatch(stderr)}
	p.exit = sync.OnceValue(func() int {
		<-p.log.ended // Wait closes the pipe: first read it to its end
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		p.exit()
		if t.Failed() {
			t.Logf("log of the node:\n%s", p.log)
		}
	})
	line := p.log.wait(t, "msg=serving ")
	p.client, p.admin = attribute(line, "listen"), attribute(line, "admin")
	return p
}

// attribute is the value of a key in a line of the log.
func attribute(line, key string) string {
	m := regexp.MustCompile(` ` + key + `=(\S+)`).FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	return m[1]
}

// get asks the node and returns status and body.
func (p *process) get(url string) (int, string) {
	p.t.Helper()
	resp, err := http.Get("http://" + url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// signal sends a signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// freeze stops the process without ending it; syscall.SIGCONT lets it go on.
func (p *process) freeze() {
	p.t.Helper()
	if err := freeze.Process(p.cmd.Process); err != nil {
		p.t.Fatal(err)
	}
}

// logWatch keeps what a process logs, and lets a test wait for a line.
type logWatch struct {
	ended chan struct{}

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line
}

func newLogWatch(r io.Reader) *logWatch {
	w := &logWatch{ended: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			w.mu.Lock()
			w.lines = append(w.lines, lines.Text())
			close(w.more)
			w.more = make(chan struct{})
			w.mu.Unlock()
		}
	}()
	return w
}

// wait returns the first line that holds text, when it is there.
func (w *logWatch) wait(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		w.mu.Lock()
		lines, more := w.lines, w.more
		w.mu.Unlock()
		for _, line := range lines {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-more:
		case <-w.ended:
			t.Fatalf("the node ended without %q in its log:\n%s", text, w)
		case <-timeout:
			t.Fatalf("%q is not in the log after 30 s:\n%s", text, w)
		}
	}
}

func (w *logWatch) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// finish runs the command to its end.
func finish(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// within fails the test when something takes too long.
func within(t *testing.T, d time.Duration, what string, do func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s takes longer than %v", what, d)
	}
}

package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/freeze"
)

// External names the environment variable with the redis:// URL of a server for tests that neither stop it nor configure it,
// used where no redis-server is installed.
const External = "HUBFLEET_TEST_REDIS"

// Binary finds the redis-server to start. Without one, the test fails in CI and is skipped elsewhere, with a line that says
// NOT RUN and what to install.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "no redis-server is installed")
	}
	return path
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s; install it (apt-get install redis-server, or make setup)", t.Name(), why)
	}
	fmt.Printf("NOT RUN: %s: %s; install it (apt-get install redis-server, or make setup)\n", t.Name(), why)
	t.Skip(why)
}

// URL gives the URL of a server for a test that only uses it: a private one, or the one that External names if no
// redis-server is installed. Use keys and channels of your own (see Prefix).
func URL(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv(External) != "" {
		return os.Getenv(External)
	}
	return Start(t).URL()
}

// Prefix gives a prefix for channels and keys that no other test uses.
func Prefix(t testing.TB) string {
	return fmt.Sprintf("test-%d-%d-%s:", os.Getpid(), time.Now().UnixNano(), t.Name())
}

// Server is a redis-server process of its own, on a Unix socket and on a port of 127.0.0.1. It is stopped with the test.
type Server struct {
	t        testing.TB
	binary   string
	args     []string
	dir      string
	port     int
	sentinel string // its configuration file, if it is one
	guard    Guard

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    *bytes.Buffer
}

// Start starts a server; it answers when Start returns. args are further arguments of redis-server, such as
// "--requirepass", "secret". Nothing is saved.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return launch(t, func(*Server) []string { return args })
}

// launch starts a server with the arguments that args gives when the port is known.
func launch(t testing.TB, args func(*Server) []string) *Server {
	t.Helper()
	// Not t.TempDir: its paths contain the test's name and can be too long for a socket.
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, binary: Binary(t), dir: dir}
	t.Cleanup(func() {
		s.Stop()
		_ = os.RemoveAll(dir)
	})
	// A port that was free a moment ago can be taken by now: then another one is tried.
	for range 10 {
		s.port = freePort(t)
		s.args = args(s)
		if err = s.start(); err == nil {
			return s
		}
		if !strings.Contains(s.Log(), "in use") {
			break
		}
	}
	t.Fatalf("redis-server did not start: %v\n%s", err, s.Log())
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the process and waits until it answers.
func (s *Server) start() error {
	args := []string{"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--unixsocket", s.Socket()}
	if slices.Contains(s.args, "--tls-port") {
		args = append(args, "--port", "0") // the plain port is not wanted then; the caller names the other
	} else {
		args = append(args, "--port", strconv.Itoa(s.port))
	}
	if args = append(args, s.args...); s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel"}
	}
	cmd := exec.Command(s.binary, args...)
	cmd.SysProcAttr = noOrphan()
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.mu.Lock()
	s.cmd, s.exited, s.log = cmd, exited, log
	s.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if s.answers() {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.Stop()
	return errors.New("it did not answer within 10 s")
}

// answers says whether the server replies, be it with a demand for a password.
func (s *Server) answers() bool {
	conn, err := net.Dial("unix", s.Socket())
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return err == nil && n == 1
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's URL over TCP, without credentials.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Socket is the path of the server's Unix socket. It is there even when the server has no plain port.
func (s *Server) Socket() string { return filepath.Join(s.dir, "r.sock") }

// options are for the test's own connections.
func (s *Server) options() *redis.Options {
	o := &redis.Options{MaxRetries: -1, Network: "unix", Addr: s.Socket(), Password: s.guard.Password}
	if s.sentinel != "" && o.Password != "" {
		o.Username, o.Password = SentinelUser, s.guard.sentinelPassword()
	}
	return o
}

// Client makes a client over the socket, with options changed by with (nil for none). It is closed with the test.
func (s *Server) Client(t testing.TB, with func(*redis.Options)) *redis.Client {
	t.Helper()
	opt := s.options()
	if with != nil {
		with(opt)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Do runs one command, and fails the test if it fails.
func (s *Server) Do(t testing.TB, args ...any) any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := s.try(ctx, args...)
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("redis %v: %v", args, err)
	}
	return v
}

func (s *Server) try(ctx context.Context, args ...any) (any, error) {
	opt := s.options()
	opt.PipelinePoolSize = -1
	c := redis.NewClient(opt)
	defer c.Close()
	return c.Do(ctx, args...).Result()
}

// wait asks the server until ok likes the answer, which is given as text.
func (s *Server) wait(t testing.TB, ok func(answer string) bool, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		v, err := s.try(ctx, args...)
		if err == nil && ok(fmt.Sprint(v)) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("redis %v: still %v, %v", args, v, err)
		}
	}
}

// Stop kills the server, as a crash would. It does nothing if the server does not run.
func (s *Server) Stop() {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.cmd = nil
	s.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-exited
	}
}

// Running says whether the server was started and not stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

// Restart starts a stopped (or running) server again, at the same addresses and empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("redis-server did not start again: %v\n%s", err, s.Log())
	}
}

// Pause stops the process without ending it: its connections stay open, and nothing answers. Resume goes on.
func (s *Server) Pause() { s.act(freeze.Process) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.act(func(p *os.Process) error { return p.Signal(syscall.SIGCONT) }) }

func (s *Server) act(on func(*os.Process) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatal("redistest: the server does not run")
	}
	if err := on(s.cmd.Process); err != nil {
		s.t.Fatal(err)
	}
}

// Log is what the server printed. Read it when the server has ended: while it runs, it is empty.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.exited:
		return s.log.String()
	default:
		return ""
	}
}

package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/freeze"
	"github.com/hubfleet/hubfleet/internal/redistest"
)

// readyTimeout is how long a node may take to be ready, or whole again: longer than its lease, on a busy machine.
const readyTimeout = time.Minute

// A fleet is some nodes around one Redis.
type fleet struct {
	t     testing.TB
	redis *redistest.Server
	nodes []*node
	next  atomic.Uint64 // whose turn it is to get a connection
	told  float64       // bytes that Redis has told of itself
}

// A node is one address with one process after the other behind it.
type node struct {
	t                   testing.TB
	binary              string
	name                string
	client, admin, peer string // HOST:PORT
	args                []string
	dir                 string

	mu      sync.Mutex
	lives   int // processes so far
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	wanted  bool          // that it ends
	up      bool          // new connections may go there
	paused  bool
	logPath string
}

// buildNode builds cmd/node into dir.
func buildNode(t testing.TB, dir string, race bool) string {
	t.Helper()
	binary := filepath.Join(dir, "node")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "../../cmd/node")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return binary
}

// startFleet starts Redis and n nodes with further arguments. They are stopped with the test. Logs go to files in dir.
func startFleet(t testing.TB, n int, race bool, dir string, args ...string) *fleet {
	t.Helper()
	binary := buildNode(t, dir, race)
	f := &fleet{t: t, redis: redistest.Start(t)}
	t.Cleanup(f.killAll)
	taken := map[string]bool{}
	for i := range n {
		m := &node{t: t, binary: binary, dir: dir, name: fmt.Sprintf("n%d", i+1)}
		for _, address := range []*string{&m.client, &m.admin, &m.peer} {
			*address = freeAddress(t, taken)
		}
		m.args = append([]string{
			"--listen", m.client, "--admin-listen", m.admin, "--peer-listen", m.peer, "--advertise", "http://" + m.peer,
			"--redis", f.redis.URL(), "--demo=true", "--log-format=text", "--drain-timeout=20s", "--client-timeout=1m",
		}, args...)
		f.nodes = append(f.nodes, m)
	}
	f.each((*node).start)
	if t.Failed() {
		t.FailNow() // a node says why
	}
	return f
}

// freeAddress finds an address below the range from which the system takes the ports of outgoing connections, so that it is
// still free when its process is killed and started again.
func freeAddress(t testing.TB, taken map[string]bool) string {
	t.Helper()
	for range 200 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(12_000)))
		l, err := net.Listen("tcp", address)
		if err != nil || taken[address] {
			continue
		}
		taken[address] = true
		_ = l.Close()
		return address
	}
	t.Fatal("no free port found between 20000 and 32000 on 127.0.0.1")
	return ""
}

// each does the same to all nodes at once.
func (f *fleet) each(do func(*node)) {
	var all sync.WaitGroup
	for _, n := range f.nodes {
		all.Go(func() { do(n) })
	}
	all.Wait()
}

func (f *fleet) killAll() {
	for _, n := range f.nodes {
		n.kill()
	}
}

// dial opens a TCP connection to the next node that is up, as a balancer without affinity does; or to only, if that is not nil.
func (f *fleet) dial(ctx context.Context, only *node) (net.Conn, error) {
	first := f.next.Add(1)
	err := errors.New("no node is up")
	for i := range uint64(len(f.nodes)) {
		n := f.nodes[(first+i)%uint64(len(f.nodes))]
		if !n.isUp() || only != nil && n != only {
			continue
		}
		var conn net.Conn
		var d net.Dialer
		if conn, err = d.DialContext(ctx, "tcp", n.client); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// awaitWhole waits until every node that runs says that it lacks nothing.
func (f *fleet) awaitWhole() {
	f.each(func(n *node) {
		if n.runs() {
			n.await("whole", func(status int, body string) bool { return status == http.StatusOK && strings.HasPrefix(body, "ok") })
		}
	})
}

// start starts a process and waits until it is ready. It has another name than the one before.
func (n *node) start() {
	n.mu.Lock()
	n.lives++
	name := n.process()
	n.logPath = filepath.Join(n.dir, name+".log")
	log, err := os.Create(n.logPath)
	if err != nil {
		n.mu.Unlock()
		n.t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command(n.binary, append([]string{"--node-name", name}, n.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = noOrphan()
	if err := cmd.Start(); err != nil {
		n.mu.Unlock()
		n.t.Errorf("start %s: %v", name, err)
		return
	}
	ended := make(chan struct{})
	n.cmd, n.ended, n.wanted, n.paused = cmd, ended, false, false
	n.mu.Unlock()
	go func() {
		_ = cmd.Wait() // the state says it all
		n.mu.Lock()
		n.up = false
		if !n.wanted {
			n.t.Errorf("%s ended by itself: %v; its log ends with\n%s", name, cmd.ProcessState, tail(n.logPath, 30))
		}
		n.mu.Unlock()
		close(ended)
	}()
	if n.await("ready", func(status int, _ string) bool { return status == http.StatusOK }) {
		n.setUp(true)
	}
}

// process is the name of the process that runs, or ran last. n.mu is held, or nobody else is there.
func (n *node) process() string { return fmt.Sprintf("%s-%d", n.name, n.lives) }

func (n *node) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

func (n *node) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

func (n *node) setUp(up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = up
}

// signal sends a signal to the process that runs. ending says that its end is then nothing to report.
func (n *node) signal(s syscall.Signal, ending bool) {
	if !n.runs() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ending {
		n.wanted, n.up = true, false
	}
	_ = n.cmd.Process.Signal(s) // it may just have ended
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.signal(syscall.SIGKILL, true)
	if n.ended != nil {
		<-n.ended
	}
}

// stop asks the process to leave, and holds it to a clean end.
func (n *node) stop() {
	if !n.runs() {
		return
	}
	n.signal(syscall.SIGTERM, true)
	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	select {
	case <-n.ended:
		if code := n.cmd.ProcessState.ExitCode(); code != 0 {
			n.t.Errorf("%s was asked to stop and ended with exit code %d; its log ends with\n%s", n.process(), code, tail(n.logPath, 30))
		}
	case <-limit.C:
		n.t.Errorf("%s did not stop within %s; its log ends with\n%s", n.process(), readyTimeout, tail(n.logPath, 30))
		n.kill()
	}
}

// pause stops the process without ending it; it keeps its connections and says nothing. resume lets it go on.
func (n *node) pause() {
	running := n.runs()
	n.mu.Lock()
	defer n.mu.Unlock()
	if running {
		_ = freeze.Process(n.cmd.Process) // it may just have ended
	}
	n.up, n.paused = false, true
}

func (n *node) resume() {
	n.signal(syscall.SIGCONT, false)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up, n.paused = true, false
}

// await asks /readyz until the answer is right, and says whether it became so.
func (n *node) await(what string, right func(status int, body string) bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	for {
		status, body, err := n.ask("/readyz?verbose")
		if err == nil && right(status, body) {
			return true
		}
		select {
		case <-tick.C:
		case <-n.ended:
			return false // its end is reported
		case <-limit.C:
			n.t.Errorf("%s was not %s within %s: %d %s %v", n.process(), what, readyTimeout, status, body, err)
			return false
		}
	}
}

// ask gets something from the admin port.
func (n *node) ask(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// checkLogs fails for what no process may ever log.
func (f *fleet) checkLogs() {
	for _, n := range f.nodes {
		for life := range n.lives {
			name := fmt.Sprintf("%s-%d", n.name, life+1)
			text, err := os.ReadFile(filepath.Join(n.dir, name+".log"))
			if err != nil {
				f.t.Error(err)
			}
			for _, never := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "panicked"} {
				if at := bytes.Index(text, []byte(never)); at >= 0 {
					f.t.Errorf("%s logged\n%s", name, text[at:min(len(text), at+4000)])
				}
			}
		}
	}
}

// grep returns lines of all nodes' logs that contain a text, most of them at the end.
func (f *fleet) grep(text string, most int) string {
	var found []string
	for _, n := range f.nodes {
		for life := range n.lives {
			name := fmt.Sprintf("%s-%d", n.name, life+1)
			log, err := os.ReadFile(filepath.Join(n.dir, name+".log"))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, text) {
					found = append(found, name+": "+strings.TrimSpace(line))
				}
			}
		}
	}
	return strings.Join(found[max(0, len(found)-most):], "\n")
}

// tail is the end of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

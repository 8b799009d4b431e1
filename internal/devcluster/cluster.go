package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubfleet/hubfleet/internal/roundrobin"
)

// readyTimeout is how long a process may take until it answers; a container's image may have to be fetched first.
const readyTimeout = time.Minute

// A member is one node with its addresses.
type member struct {
	*process
	client, admin, peer string // HOST:PORT
}

// A cluster is everything that runs.
type cluster struct {
	settings
	report *report
	ports  ports

	mu        sync.Mutex // guards what obey may look up while run still fills it in
	redisProc *process   // nil when it is not ours
	members   []*member
}

func newCluster(s settings, r *report) *cluster { return &cluster{settings: s, report: r} }

// run starts everything, says so, and stops everything when ctx ends. Nothing is left running when it returns.
func (c *cluster) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "hubfleet-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen HOST:PORT", err)
	}
	defer l.Close()
	defer c.stopAll()

	redisURL, err := c.startRedis(ctx, dir)
	if err != nil {
		return err
	}
	if err := c.startNodes(ctx, redisURL); err != nil || ctx.Err() != nil {
		return err
	}
	var backends []string
	for _, m := range c.members {
		backends = append(backends, m.client)
	}
	proxy := roundrobin.New(backends, roundrobin.Options{})
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(l) }()
	c.report.ready(c.describe("http://"+l.Addr().String(), redisURL))

	select {
	case <-ctx.Done():
		c.report.note("stopping")
	case err = <-served:
		served <- err
	}
	c.stopNodes() // while clients can still hear their goodbyes through the proxy
	_ = proxy.Close()
	if err = <-served; errors.Is(err, roundrobin.ErrClosed) {
		return nil
	}
	return err
}

// startRedis returns the URL for the nodes; "" is none.
func (c *cluster) startRedis(ctx context.Context, dir string) (string, error) {
	switch c.redis {
	case "none":
		return "", nil
	case "":
	default:
		return c.redis, nil
	}
	address, err := c.ports.free()
	if err != nil {
		return "", err
	}
	p, err := redisProcess(ctx, address, dir, c.report)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.redisProc = p
	c.mu.Unlock()
	if err := p.start(); err != nil {
		return "", err
	}
	return "redis://" + address, await(ctx, p, func() error { return redisAnswers(ctx, address) })
}

func (c *cluster) startNodes(ctx context.Context, redisURL string) error {
	for i := range c.nodes {
		m, err := c.newMember(fmt.Sprintf("node-%d", i+1), redisURL)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.members = append(c.members, m)
		c.mu.Unlock()
		if err := m.start(); err != nil {
			return err
		}
	}
	for _, m := range c.members {
		if err := await(ctx, m.process, func() error { return ready(ctx, m.admin) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) newMember(name, redisURL string) (*member, error) {
	m := &member{process: &process{name: name, path: c.node, report: c.report}}
	for _, address := range []*string{&m.client, &m.admin, &m.peer} {
		var err error
		if *address, err = c.ports.free(); err != nil {
			return nil, err
		}
	}
	m.args = []string{"--node-name", name, "--listen", m.client, "--admin-listen", m.admin, "--demo=true", "--log-format", "text"}
	if redisURL != "" {
		m.args = append(m.args, "--redis", redisURL, "--peer-listen", m.peer, "--advertise", "http://"+m.peer)
	}
	m.args = append(m.args, c.nodeArgs...)
	return m, nil
}

// ready asks a node whether it serves.
func ready(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("not ready: %s", strings.TrimSpace(string(why)))
	}
	return nil
}

// await asks until the process answers, or has ended, or the time is up.
func await(ctx context.Context, p *process, answers func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	for {
		err := answers()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended():
			return fmt.Errorf("%s ended before it was ready; its log above says why", p.name)
		case <-limit.C:
			return fmt.Errorf("%s was not ready within %s: %w", p.name, readyTimeout, err)
		case <-ctx.Done():
			return nil // wanted no more: run goes on to stop everything
		}
	}
}

func (c *cluster) describe(url, redisURL string) event {
	e := event{URL: url, Redis: redisURL}
	for _, m := range c.members {
		e.Nodes = append(e.Nodes, nodeEvent{
			Name: m.name, URL: "http://" + m.client, Admin: "http://" + m.admin, PID: m.pid(),
		})
	}
	return e
}

// obey carries out commands until the input ends.
func (c *cluster) obey(input io.Reader) {
	for lines := bufio.NewScanner(input); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if err := c.command(fields); err != nil {
			c.report.note("%v", err)
		}
	}
}

func (c *cluster) command(fields []string) error {
	if len(fields) != 2 {
		return fmt.Errorf("cannot read %q: kill NAME, stop NAME or start NAME", strings.Join(fields, " "))
	}
	p := c.find(fields[1])
	if p == nil {
		return fmt.Errorf("no process is called %q: node-1 (or 1) and so on, or redis", fields[1])
	}
	switch fields[0] {
	case "kill":
		return p.signal(syscall.SIGKILL, false)
	case "stop":
		return p.signal(syscall.SIGTERM, false)
	case "start":
		return p.start()
	default:
		return fmt.Errorf("cannot %s: kill, stop and start are what can be done", fields[0])
	}
}

func (c *cluster) find(name string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.redisProc != nil && name == c.redisProc.name {
		return c.redisProc
	}
	for _, m := range c.members {
		if name == m.name || "node-"+name == m.name {
			return m.process
		}
	}
	return nil
}

// stopNodes asks all nodes at once, and waits.
func (c *cluster) stopNodes() {
	c.mu.Lock()
	members := c.members
	c.mu.Unlock()
	var stopping sync.WaitGroup
	for _, m := range members {
		stopping.Go(m.stop)
	}
	stopping.Wait()
}

// stopAll is the end: nodes first, while Redis is still there for their goodbyes.
func (c *cluster) stopAll() {
	c.stopNodes()
	c.mu.Lock()
	p := c.redisProc
	c.mu.Unlock()
	if p != nil {
		p.stop()
	}
}

func (c *cluster) killAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		m.kill()
	}
	if c.redisProc != nil {
		c.redisProc.kill()
	}
}

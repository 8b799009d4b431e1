package deploytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/internal/roundrobin"
	"github.com/hubfleet/hubfleet/pkg/client"
)

// patience is how long the test waits for Prometheus to have seen enough; it is done as soon as all queries have data.
const patience = 90 * time.Second

// quiet are metrics whose numbers stay away while nothing is wrong, with the reason.
var quiet = map[string]string{
	"hubfleet_auth_failures_total": "its series exist on nodes that want tokens, and these let everyone in",
	"ALERTS":                       "nodes that are well bring no alert",
}

// reasonFor is why a query may be empty, or "".
func reasonFor(q query) string {
	for name, reason := range quiet {
		if strings.Contains(q.expr, name) {
			return reason
		}
	}
	return ""
}

// TestDashboardsHaveData runs every query of every dashboard against a real Prometheus that has read real nodes with clients on
// all transports. None may be empty, or give no number, unless the list says why; and every variable has something to choose from.
func TestDashboardsHaveData(t *testing.T) {
	dir := t.TempDir()
	redis := redistest.Start(t)
	var clients, admins []string
	for i := range 3 {
		listen, admin := freeAddress(t), freeAddress(t)
		start(t, binary, []string{"--listen=" + listen, "--admin-listen=" + admin, "--peer-listen=" + freeAddress(t), "--redis=" + redis.URL(),
			"--demo", "--node-name=node-" + strconv.Itoa(i+1), "--log-level=error"}, "GOMEMLIMIT=460MiB")
		clients, admins = append(clients, listen), append(admins, admin)
	}
	for _, admin := range admins {
		until(t, "the node to be ready", func() error {
			_, err := fetch(t.Context(), "http://"+admin+"/readyz")
			return err
		})
	}

	address := freeAddress(t)
	config := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: ['" + absolute(t, rulesFile) + "']\nscrape_configs:\n  - job_name: hubfleet\n    static_configs:\n"
	for i, admin := range admins {
		config += fmt.Sprintf("      - {targets: ['%s'], labels: {namespace: %s, pod: node-%d}}\n", admin, namespace, i+1)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "prometheus", []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=error"})

	balancer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := roundrobin.New(clients, roundrobin.Options{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = proxy.Serve(balancer) })
	t.Cleanup(func() { _ = proxy.Close(); serving.Wait() })
	load(t, "http://"+balancer.Addr().String()+"/chat")

	var left map[query]error
	var asked []query
	for _, q := range panelQueries(t) {
		asked = append(asked, beneath(t, q))
	}
	offered := choices(t)
	deadline := time.Now().Add(patience)
	for {
		left = make(map[query]error)
		for _, q := range asked {
			if err := ask(t.Context(), "http://"+address, q.expr); err != nil && reasonFor(q) == "" {
				left[q] = err
			}
		}
		for _, c := range offered {
			if err := offers(t.Context(), "http://"+address, c); err != nil {
				left[query{c.where, c.selection}] = err
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Second) // Prometheus reads once a second
	}
	for q, err := range left {
		t.Errorf("%s: %v: %s", q.where, err, q.expr)
	}
	for name := range quiet {
		if !slices.ContainsFunc(asked, func(q query) bool {
			return strings.Contains(q.expr, name) && ask(t.Context(), "http://"+address, q.expr) != nil
		}) {
			t.Errorf("no query of %s needs an excuse", name)
		}
	}
}

// ask runs a query; that it gives no number is an error.
func ask(ctx context.Context, prometheus, expr string) error {
	body, err := fetch(ctx, prometheus+"/api/v1/query?query="+url.QueryEscape(expr))
	if err != nil {
		return err
	}
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Data.Result) == 0 {
		return fmt.Errorf("empty")
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			return nil
		}
	}
	return fmt.Errorf("no number among %d series", len(answer.Data.Result))
}

// offers asks for what a variable offers, as Grafana does; that there is nothing is an error.
func offers(ctx context.Context, prometheus string, c choice) error {
	body, err := fetch(ctx, prometheus+"/api/v1/series?match[]="+url.QueryEscape(c.selection))
	if err != nil {
		return err
	}
	var answer struct{ Data []map[string]string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if !slices.ContainsFunc(answer.Data, func(labels map[string]string) bool { return labels[c.label] != "" }) {
		return fmt.Errorf("none of %d series has a label %s", len(answer.Data), c.label)
	}
	return nil
}

// load keeps clients on all transports busy until the test ends.
func load(t *testing.T, hub string) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	// A TCP connection for each request: the balancer then hands each to another node, and nodes forward.
	requests := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i, transport := range []client.Transport{client.WebSockets, client.ServerSentEvents, client.LongPolling, client.WebSockets, client.LongPolling, client.ServerSentEvents} {
		running.Go(func() {
			for ctx.Err() == nil {
				visit(ctx, hub+"?user=user-"+strconv.Itoa(i), client.Options{Transports: []client.Transport{transport}, HTTPClient: requests})
			}
		})
	}
}

// visit is one client, from its start to its end a second later.
func visit(ctx context.Context, hub string, o client.Options) {
	c, err := client.New(hub, o)
	if err != nil {
		panic(err) // a mistake of the test
	}
	if c.Start(ctx) != nil {
		return
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = c.Stop(ending)
	}()
	for range 10 {
		for _, call := range [][]any{
			{"SendMessage", "a", "hello"}, {"JoinRoom", "room"}, {"SendToRoom", "room", "a", "hello"}, {"SendToUser", "user-0", "a", "hello"},
			{"Echo", 1}, {"Fail", "on purpose"}, {"NoSuchMethod"},
		} {
			_ = c.Invoke(ctx, nil, call[0].(string), call[1:]...) // that some fail is part of it
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start runs a program until the test ends, and shows what it said when the test has failed.
func start(t *testing.T, program string, args []string, env ...string) {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make setup installs what is missing)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.String())
		}
	})
}

// until tries until there is no error.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress is one on loopback where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

package presence_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/freeze"
	"github.com/hubfleet/hubfleet/internal/presencetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

var kills = flag.Int("kills", 1, "how many processes TestKilledProcess kills")

// process starts a node of its own process, which has these users.
func process(t *testing.T, url string, users ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childURL+"="+url, childURL+"_USERS="+strings.Join(users, ","))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
	return cmd
}

// observer is a node with times as in production.
func observer(t *testing.T, url string) *presence.Redis {
	t.Helper()
	c, err := cluster.NewRedis(cluster.RedisOptions{URL: url, Prefix: "x:", NodeID: cluster.NewNodeID("observer")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := presence.NewRedis(presence.RedisOptions{URL: url, Prefix: "x:", Lease: c})
	if err != nil {
		t.Fatal(err)
	}
	stopCluster := runPart(t, c.Run)
	stopPresence := runPart(t, r.Run)
	t.Cleanup(func() {
		stopPresence()
		stopCluster()
	})
	presencetest.Eventually(t, "in touch with Redis", func() bool { _, _, ok := c.Lease(); return ok && r.State().Up })
	return r
}

// settle makes Redis believe that its partitions have been looked after for a while, as in a cluster that has been running: before that, nobody's
// remains are swept.
func settle(t *testing.T, server *redistest.Server) {
	t.Helper()
	for partition := range 16 {
		key := fmt.Sprintf("x:{%d}:seen", partition)
		seen := strings.Fields(server.Do(t, "GET", key).(string))
		since, err := strconv.ParseInt(seen[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seen[1] = strconv.FormatInt(since-2*presence.DefaultLeaseLife.Milliseconds(), 10)
		server.Do(t, "SET", key, strings.Join(seen, " "))
	}
}

// TestKilledProcess kills node processes, with times as in production: their users are offline within 10 s, and no event tells of
// those who are also elsewhere. With -kills 20 it prints how long it took.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := observer(t, server.URL())
	w := presencetest.NewRecorder(t, r)
	r.Add(presence.Connection{ID: "own", User: "both"})
	w.Want("both", "+")
	var all sync.WaitGroup
	var mu sync.Mutex
	var longest, sum time.Duration
	for i := range *kills {
		user := fmt.Sprint("user-", i)
		p := process(t, server.URL(), user, "both")
		w.Want(user, "+")
		if i == 0 {
			settle(t, server)
		}
		all.Go(func() {
			time.Sleep(time.Duration(i) * 137 * time.Millisecond) // at different moments between two renewals
			killed := time.Now()
			if err := p.Process.Kill(); err != nil {
				t.Error(err)
			}
			presencetest.Eventually(t, user+" is offline", func() bool { return w.Of(user) == "+-" })
			took := time.Since(killed)
			mu.Lock()
			defer mu.Unlock()
			sum += took
			longest = max(longest, took)
		})
	}
	all.Wait()
	t.Logf("%d nodes killed: offline after %v at most, %v on average", *kills, longest.Round(10*time.Millisecond), (sum / time.Duration(*kills)).Round(10*time.Millisecond))
	if longest > 10*time.Second {
		t.Errorf("a user was offline after %v, want at most 10 s", longest)
	}
	if got := w.Of("both"); got != "+" {
		t.Errorf("changes of a user who is also elsewhere: %q", got)
	}
}

// TestStoppedProcess stops a node process for longer than its lease, and lets it go on.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := observer(t, server.URL())
	w := presencetest.NewRecorder(t, r)
	r.Add(presence.Connection{ID: "own", User: "both"})
	w.Want("both", "+")
	p := process(t, server.URL(), "ann", "both")
	w.Want("ann", "+")
	settle(t, server)
	if err := freeze.Process(p.Process); err != nil {
		t.Fatal(err)
	}
	w.Want("ann", "+-")
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.Want("ann", "+-+") // it has lost nobody
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.Want("ann", "+-+-")
	if got := w.Of("both"); got != "+" {
		t.Errorf("changes of a user who is also elsewhere: %q", got)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

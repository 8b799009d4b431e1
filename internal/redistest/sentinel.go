package redistest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PrimaryName is what the sentinels of a test call the primary.
const PrimaryName = "main"

// Sentinels are a primary with one replica, and sentinels that make the replica the primary when it is gone for 300 ms.
type Sentinels struct {
	Primary, Replica *Server // their first roles
	Sentinels        []*Server
	guard            Guard
}

// StartSentinels starts a set-up with so many sentinels, a majority of which must agree. They know each other when it returns.
// args are further arguments of both servers. A single sentinel is the fastest, and fails over like three.
func StartSentinels(t testing.TB, sentinels int, args ...string) *Sentinels {
	t.Helper()
	return StartGuardedSentinels(t, Guard{}, sentinels, args...)
}

// StartGuardedSentinels starts one that not everybody may use, in the same way.
func StartGuardedSentinels(t testing.TB, guard Guard, sentinels int, args ...string) *Sentinels {
	t.Helper()
	args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, args...)
	s := &Sentinels{guard: guard}
	s.Primary = guard.start(t, func(*Server) []string { return args })
	s.Replica = guard.start(t, func(*Server) []string {
		return slices.Concat(args, []string{"--replicaof", "127.0.0.1", strconv.Itoa(s.Primary.port)})
	})
	s.Replica.wait(t, contains("master_link_status:up"), "INFO", "replication")
	for range sentinels {
		s.Sentinels = append(s.Sentinels, s.sentinel(t, sentinels/2+1))
	}
	for _, sentinel := range s.Sentinels {
		sentinel.wait(t, contains(fmt.Sprintf("OK %d usable", sentinels)), "SENTINEL", "CKQUORUM", PrimaryName)
		sentinel.wait(t, contains("slave-priority"), "SENTINEL", "REPLICAS", PrimaryName)
	}
	return s
}

func contains(text string) func(string) bool {
	return func(answer string) bool { return strings.Contains(answer, text) }
}

func (s *Sentinels) sentinel(t testing.TB, quorum int) *Server {
	t.Helper()
	return launch(t, func(sentinel *Server) []string {
		sentinel.guard, sentinel.sentinel = s.guard, filepath.Join(sentinel.dir, "sentinel.conf")
		if err := os.WriteFile(sentinel.sentinel, []byte(strings.Join(s.config(sentinel, quorum), "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return nil
	})
}

// config is the configuration of a sentinel.
func (s *Sentinels) config(sentinel *Server, quorum int) []string {
	const name = PrimaryName
	lines := []string{
		"bind 127.0.0.1", "dir " + sentinel.dir, "unixsocket " + sentinel.Socket(),
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", name, s.Primary.port, quorum),
		"sentinel down-after-milliseconds " + name + " 300", "sentinel failover-timeout " + name + " 3000",
	}
	if s.guard.TLS == nil {
		lines = append(lines, fmt.Sprint("port ", sentinel.port))
	} else {
		lines = append(lines, "port 0")
		for args := s.guard.TLS.args(sentinel.port); len(args) > 0; args = args[2:] {
			lines = append(lines, strings.TrimPrefix(args[0], "--")+" "+args[1])
		}
	}
	if s.guard.Password != "" {
		password := s.guard.sentinelPassword()
		lines = append(lines, "sentinel auth-pass "+name+" "+s.guard.Password,
			"sentinel sentinel-user "+SentinelUser, "sentinel sentinel-pass "+password,
			"user "+SentinelUser+" on >"+password+" ~* &* +@all", "user default off")
	}
	return append(lines, "")
}

// URL names the primary through the sentinels.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, sentinel := range s.Sentinels {
		addrs = append(addrs, sentinel.Addr())
	}
	query := url.Values{}
	if s.guard.Password != "" {
		query = url.Values{"sentinel_username": {SentinelUser}, "sentinel_password": {s.guard.sentinelPassword()}}
	}
	return s.guard.url("redis+sentinel", strings.Join(addrs, ","), PrimaryName, query)
}

// Current is the server that the sentinels call the primary now.
func (s *Sentinels) Current(t testing.TB) *Server {
	t.Helper()
	for _, sentinel := range s.Sentinels {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		v, err := sentinel.try(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PrimaryName)
		cancel()
		if parts, ok := v.([]any); err == nil && ok && len(parts) == 2 {
			if fmt.Sprint(parts[1]) == strconv.Itoa(s.Replica.port) {
				return s.Replica
			}
			return s.Primary
		}
	}
	t.Fatal("redistest: no sentinel answers")
	return nil
}

// WaitPrimary waits until the sentinels have made a server the primary, and it knows.
func (s *Sentinels) WaitPrimary(t testing.TB, server *Server) {
	t.Helper()
	_, port, _ := net.SplitHostPort(server.Addr())
	for _, sentinel := range s.Sentinels {
		sentinel.wait(t, contains(port), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PrimaryName)
	}
	server.wait(t, contains("role:master"), "INFO", "replication")
}

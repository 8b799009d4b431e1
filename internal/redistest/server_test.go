package redistest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ping(addr string, config *tls.Config) error {
	c := redis.NewClient(&redis.Options{
		Addr: addr, TLSConfig: config, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, MinIdleConns: 0,
	})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Ping(ctx).Err()
}

func TestServer(t *testing.T) {
	s := Start(t)
	if err := ping(s.Addr(), nil); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "SET", "key", "value")
	s.Restart()
	if got := s.Do(t, "DBSIZE"); got != int64(0) {
		t.Errorf("%v keys after a restart, want none", got)
	}
	s.Pause()
	if err := ping(s.Addr(), nil); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("a paused server says %v", err)
	}
	s.Resume()
	if err := ping(s.Addr(), nil); err != nil {
		t.Error(err)
	}
	s.Stop()
	if err := ping(s.Addr(), nil); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestServerTLS(t *testing.T) {
	s, pool := StartTLS(t)
	if err := ping(s.Addr(), &tls.Config{RootCAs: pool}); err != nil {
		t.Error(err)
	}
	if err := ping(s.Addr(), &tls.Config{}); err == nil {
		t.Error("its certificate is trusted by everyone")
	}
}

func TestProxy(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr())
	dial := func() (net.Conn, func(string) string) {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		in := bufio.NewReader(conn)
		return conn, func(command string) string {
			_, _ = conn.Write([]byte(command))
			line, err := in.ReadString('\n')
			if err != nil {
				return "cut"
			}
			return line
		}
	}
	_, say := dial()
	if got := say("INCR n\r\n"); got != ":1\r\n" {
		t.Fatalf("%q", got)
	}
	p.Inject("+hello\r\n")
	if got := say(""); got != "+hello\r\n" {
		t.Errorf("injected: %q", got)
	}
	cut := p.CutAfter("BY")
	if got := say("INCR n\r\n"); got != ":2\r\n" {
		t.Fatalf("%q", got)
	}
	if got := say("INCRBY n 5\r\n"); got != "cut" {
		t.Errorf("%q came back", got)
	}
	<-cut
	_, say = dial()
	if got := say("INCR n\r\n"); got != ":8\r\n" {
		t.Errorf("%q; the cut command should have had its effect once", got)
	}
	p.CutAll()
	if got := say("PING\r\n"); got != "cut" {
		t.Errorf("%q after CutAll", got)
	}
	if p.Dials() != 2 {
		t.Errorf("%d dials", p.Dials())
	}
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	s := StartSentinels(t, 3)
	if s.Current(t) != s.Primary {
		t.Fatal("the primary is not what it was")
	}
	s.Primary.Stop()
	s.WaitPrimary(t, s.Replica)
	if s.Current(t) != s.Replica {
		t.Error("the sentinels still name the old primary")
	}
}

// TestGuards: what is guarded works like what is not, and nobody comes in otherwise.
func TestGuards(t *testing.T) {
	t.Parallel()
	guard := Guard{TLS: NewTLS(t), Password: "secret"}
	trusting := &tls.Config{RootCAs: guard.TLS.Pool}
	refused := func(what string, s *Server) {
		t.Helper()
		if err := ping(s.Addr(), nil); err == nil || redis.HasErrorPrefix(err, "NOAUTH") {
			t.Errorf("%s without TLS: %v", what, err)
		}
		if err := ping(s.Addr(), trusting); !redis.HasErrorPrefix(err, "NOAUTH") {
			t.Errorf("%s without a password: %v", what, err)
		}
	}
	t.Run("Sentinel", func(t *testing.T) {
		s := StartGuardedSentinels(t, guard, 2)
		refused("the primary", s.Primary)
		refused("a sentinel", s.Sentinels[0])
		s.Primary.Stop()
		s.WaitPrimary(t, s.Replica)
	})
	t.Run("Cluster", func(t *testing.T) {
		c := StartGuardedCluster(t, guard, 3, true)
		refused("a master", c.Masters[0])
		c.Masters[2].Stop()
		c.Replicas[2].wait(t, contains("role:master"), "INFO", "replication")
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, true)
	if c.Owner(t, 0) != c.Masters[0] || c.Owner(t, Slots-1) != c.Masters[2] {
		t.Error("the slots are not where they belong")
	}
	c.MoveSlot(t, 0, c.Masters[1])
	if c.Owner(t, 0) != c.Masters[1] {
		t.Error("the slot was not moved")
	}
	c.Masters[2].Stop()
	c.Replicas[2].wait(t, contains("role:master"), "INFO", "replication")
	c.WaitWhole(t)
	if c.Owner(t, Slots-1) != c.Replicas[2] {
		t.Error("the slots did not move to the replica")
	}
}

func TestProxyFaults(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr())
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	p.Freeze()
	if _, err := conn.Write([]byte("INCR n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := in.ReadString('\n'); err == nil {
		t.Errorf("%q came through", line)
	}
	_ = conn.SetReadDeadline(time.Time{})
	p.Thaw()
	if line, err := in.ReadString('\n'); line != ":1\r\n" {
		t.Errorf("%q, %v afterwards", line, err)
	}
	p.Delay(20 * time.Millisecond)
	began := time.Now()
	_, _ = conn.Write([]byte("INCR n\r\n"))
	if line, err := in.ReadString('\n'); line != ":2\r\n" || time.Since(began) < 40*time.Millisecond {
		t.Errorf("%q, %v after %v", line, err, time.Since(began))
	}
}

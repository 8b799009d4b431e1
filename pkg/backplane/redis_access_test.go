package backplane

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
)

func TestRedisContractTLS(t *testing.T) {
	s, pool := redistest.StartTLS(t)
	contract(t, func(testing.TB) RedisOptions {
		return RedisOptions{URL: "rediss://" + s.Addr(), TLS: &tls.Config{RootCAs: pool}}
	})
}

// The contract needs no more than these permissions.
func TestRedisContractACL(t *testing.T) {
	s := redistest.Start(t)
	s.Do(t, "ACL", "SETUSER", "fleet", "on", ">p@ss:/w#rd", "resetchannels", "&test-*", "resetkeys", "nocommands",
		"+publish", "+subscribe", "+unsubscribe", "+ping", "+pubsub|numsub", "+select")
	s.Do(t, "ACL", "SETUSER", "default", "off")
	contract(t, func(testing.TB) RedisOptions {
		return RedisOptions{URL: "redis://fleet:p%40ss%3A%2Fw%23rd@" + s.Addr() + "/3"}
	})
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// What keeps Redis from being used is said in words that help, once, without the password; attempts go on, and the moment
// at which it works is said as well.
func TestRedisRefusals(t *testing.T) {
	plain := redistest.Start(t)
	closed := redistest.Start(t, "--requirepass", "right")
	secure, pool := redistest.StartTLS(t)
	gone := redistest.Start(t)
	gone.Stop()
	for _, c := range []struct {
		name string
		o    RedisOptions
		want string
		heal func(t *testing.T) // makes it work after all
	}{
		{"nobody listens", RedisOptions{URL: gone.URL()}, "connection refused", func(*testing.T) { gone.Restart() }},
		{"no socket", RedisOptions{URL: "unix:///nonexistent/r.sock"}, "no such socket", nil},
		{"no such host", RedisOptions{URL: "redis://name.invalid"}, "host name cannot be resolved", nil},
		{"wrong password", RedisOptions{URL: "redis://:hidden@" + closed.Addr()}, "refused the user name or password", nil},
		{"wrong user", RedisOptions{URL: "redis://nobody:hidden@" + plain.Addr()}, "refused the user name or password", func(t *testing.T) {
			plain.Do(t, "ACL", "SETUSER", "nobody", "on", ">hidden", "allchannels", "allcommands")
		}},
		{"no password", RedisOptions{URL: closed.URL()}, "requires a password", nil},
		{"no such database", RedisOptions{URL: plain.URL() + "/99"}, "has no database 99", nil},
		{"TLS to a plain port", RedisOptions{URL: "rediss://" + plain.Addr(), ConnectTimeout: 10 * quick}, "is this a port for TLS?", nil},
		{"untrusted certificate", RedisOptions{URL: "rediss://" + secure.Addr()}, "certificate is not accepted", nil},
		{"plain to a TLS port", RedisOptions{URL: "redis://" + secure.Addr()}, "connection was closed", nil},
		{"trusted certificate", RedisOptions{URL: "rediss://" + secure.Addr(), TLS: &tls.Config{RootCAs: pool}}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log syncBuffer
			c.o.Logger = log.logger()
			c.o.RetryMin, c.o.RetryMax = quick, quick
			r, stop := run(t, c.o, nil, nil)
			defer stop()
			if c.want == "" {
				waitReady(t, r)
				return
			}
			eventually(t, "explained", func() bool { return strings.Contains(r.State().Err.Error(), c.want) },
				func() any { return r.State().Err })
			if s := r.State(); s.Up || s.EverUp || s.Since.IsZero() {
				t.Errorf("state %+v", s)
			}
			_, err := r.Publish(t.Context(), nil, "x")
			checkUnavailable(t, err)
			checkUnavailable(t, r.Subscribe(t.Context(), "x"))
			for range 20 { // let it try some more
				sleep(t.Context(), quick)
			}
			text := log.String()
			if n := strings.Count(text, c.want); n != 1 {
				t.Errorf("%d log lines say why, want 1:\n%s", n, text)
			}
			if strings.Contains(text+err.Error(), "hidden") {
				t.Errorf("a password is shown:\n%s\n%v", text, err)
			}
			if c.heal == nil {
				return
			}
			c.heal(t)
			waitReady(t, r)
			if !strings.Contains(log.String(), "connected to Redis") {
				t.Errorf("it does not say that it is connected:\n%s", log.String())
			}
			// The channel stayed wanted.
			if n, err := r.Subscribers(t.Context(), "x"); n != 1 || err != nil {
				t.Errorf("%d subscribers, %v; want 1", n, err)
			}
		})
	}
}

func checkUnavailable(t testing.TB, err error) {
	t.Helper()
	checkKind(t, err, ErrUnavailable, false)
}

// A channel that the user may not have costs only itself, and Ready says so until it is allowed.
func TestRedisForbiddenChannel(t *testing.T) {
	s := redistest.Start(t)
	s.Do(t, "ACL", "SETUSER", "default", "resetchannels", "&p:ok*")
	admin := s.Client(t, nil)
	rec := backplanetest.NewRecorder()
	var log syncBuffer
	r := start(t, RedisOptions{URL: s.URL(), Prefix: "p:", Logger: log.logger()}, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	err := r.Subscribe(ctx, "ok1", "bad", "ok2")
	checkUnavailable(t, err)
	if !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "lacks a permission") {
		t.Errorf("error %v", err)
	}
	if err := r.Subscribe(ctx, "ok1", "ok2"); err != nil {
		t.Error(err)
	}
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("Ready says %v", err)
	}
	_, err = r.Publish(ctx, nil, "bad")
	checkUnavailable(t, err)
	if _, err := r.Publish(ctx, []byte("1"), "ok1"); err != nil {
		t.Error(err)
	}
	rec.WaitFor(t, "ok1", "1")
	if err := admin.Do(ctx, "ACL", "SETUSER", "default", "&p:bad").Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Subscribe(ctx, "bad"); err != nil {
		t.Error("allowed now, but", err)
	}
	if err := r.Ready(); err != nil {
		t.Error(err)
	}
}

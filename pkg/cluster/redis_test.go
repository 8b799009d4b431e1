package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// start makes a node and runs it until the test ends; it waits for nothing.
func start(t *testing.T, o cluster.RedisOptions) *cluster.Redis {
	t.Helper()
	if o.NodeID == "" {
		o.NodeID = cluster.NewNodeName()
	}
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	c, err := cluster.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	runUntilStopped(t, c)
	return c
}

// runUntilStopped runs a node until stop is called, or the test ends.
func runUntilStopped(t *testing.T, c *cluster.Redis) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = func() {
		cancel()
		run.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// running is a node that is in touch with Redis.
func running(t *testing.T, o cluster.RedisOptions) *cluster.Redis {
	t.Helper()
	c := start(t, o)
	eventually(t, "in touch with Redis", func() bool { return c.State().Up })
	return c
}

// eventually polls for something that Redis, another process, does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in time", what)
		}
	}
}

func secretOf(t *testing.T, c *cluster.Redis) string {
	t.Helper()
	s, err := c.Secret()
	if err != nil {
		t.Fatal(err)
	}
	return string(s)
}

func TestSecretIsOfferedAgain(t *testing.T) {
	server := redistest.Start(t)
	secret := strings.Repeat("made by a node that is no more ", 2) // so that those left can only have adopted it
	server.Do(t, "SET", "x:secret", secret)
	o := cluster.RedisOptions{URL: server.URL(), Prefix: "x:"}
	a, b := running(t, o), running(t, o)

	server.Do(t, "FLUSHALL")
	eventually(t, "back after FLUSHALL", func() bool { return server.Do(t, "GET", "x:secret") == secret })
	server.Restart() // empty
	eventually(t, "back after a restart", func() bool { return server.Do(t, "GET", "x:secret") == secret })
	eventually(t, "up again", func() bool { return a.State().Up && b.State().Up })
	if secretOf(t, a) != secret || secretOf(t, b) != secret {
		t.Error("the secret has changed")
	}
	if got := secretOf(t, running(t, o)); got != secret {
		t.Error("a newcomer has another secret")
	}
}

func TestSecretOfAnotherIsAdopted(t *testing.T) {
	server := redistest.Start(t)
	c := running(t, cluster.RedisOptions{URL: server.URL()})
	other := strings.Repeat("other", 10)
	server.Do(t, "SET", "secret", other)
	eventually(t, "adopted", func() bool { return secretOf(t, c) == other })
}

func TestSecretTooShort(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "SET", "p:secret", "short")
	c := start(t, cluster.RedisOptions{URL: server.URL(), Prefix: "p:"})
	eventually(t, "complaining", func() bool { return c.State().Err != nil })
	if text := c.State().Err.Error(); !strings.Contains(text, "p:secret") || !strings.Contains(text, "5 bytes") {
		t.Errorf("%q does not name the key and its fault", text)
	}
	if _, err := c.Secret(); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Secret: %v", err)
	}
	server.Do(t, "DEL", "p:secret")
	eventually(t, "up", func() bool { return c.State().Up })
}

func TestSecretGiven(t *testing.T) {
	server := redistest.Start(t)
	given := []byte(strings.Repeat("given", 10))
	c, err := cluster.NewRedis(cluster.RedisOptions{URL: server.URL(), NodeID: "n", Secret: given})
	if err != nil {
		t.Fatal(err)
	}
	if got := secretOf(t, c); got != string(given) {
		t.Errorf("before Run: %q", got)
	}
	r := running(t, cluster.RedisOptions{URL: server.URL(), Secret: given})
	if got := secretOf(t, r); got != string(given) {
		t.Errorf("after contact: %q", got)
	}
	if n := server.Do(t, "EXISTS", "secret"); n != int64(0) {
		t.Error("a secret that was given is written to Redis")
	}
}

func TestClaimIsForgotten(t *testing.T) {
	server := redistest.Start(t)
	c := running(t, cluster.RedisOptions{URL: server.URL(), Prefix: "x:"})
	if ok, err := c.Claim(t.Context(), "abc"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ttl := server.Do(t, "TTL", "x:tok:abc").(int64); ttl < 30 || ttl > 60 {
		t.Errorf("the id is remembered for %d s, want at most a minute", ttl)
	}
}

// TestClaimSurvivesALostReply: whose reply is lost must not find its own mark and take it for a stranger's.
func TestClaimSurvivesALostReply(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	c := running(t, cluster.RedisOptions{URL: proxy.URL()})
	lost := proxy.CutAfter("tok:abc")
	ok, err := c.Claim(t.Context(), "abc")
	if !ok || err != nil {
		t.Errorf("Claim says %v, %v to the first user", ok, err)
	}
	<-lost
	if ok, err := c.Claim(t.Context(), "abc"); ok || err != nil {
		t.Errorf("Claim says %v, %v to the second user", ok, err)
	}
}

func TestRedisAway(t *testing.T) {
	server := redistest.Start(t)
	c := running(t, cluster.RedisOptions{URL: server.URL(), Timeout: 200 * time.Millisecond})
	secret := secretOf(t, c)
	up := c.State().Since

	server.Pause() // answers nothing, and refuses nothing
	began := time.Now()
	_, err := c.Claim(t.Context(), "abc")
	if took := time.Since(began); !errors.Is(err, cluster.ErrUnavailable) || took > 2*time.Second {
		t.Errorf("Claim: %v after %v", err, took)
	}
	eventually(t, "down", func() bool { s := c.State(); return !s.Up && s.Err != nil && s.EverUp && s.Since.After(up) })
	began = time.Now()
	if _, err := c.Claim(t.Context(), "abc"); err == nil || time.Since(began) > 100*time.Millisecond {
		t.Errorf("Claim: %v after %v, though Redis is known to be away", err, time.Since(began))
	}
	if secretOf(t, c) != secret {
		t.Error("the secret is forgotten while Redis is away")
	}
	server.Resume()
	eventually(t, "up again", func() bool { return c.State().Up })
}

func TestClaimEndsWithItsContext(t *testing.T) {
	server := redistest.Start(t)
	c := running(t, cluster.RedisOptions{URL: server.URL()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Claim(ctx, "abc"); !errors.Is(err, cluster.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// lockedBuffer lets a test read what a logger writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestUnreachableAtStart(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	var log lockedBuffer
	url := strings.Replace(server.URL(), "redis://", "redis://user:hunter2@", 1)
	c := start(t, cluster.RedisOptions{URL: url, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "complaining", func() bool { return strings.Contains(log.String(), "cannot be reached") })
	if s := c.State(); s.Up || s.EverUp {
		t.Errorf("state %+v", s)
	}
	if _, err := c.Secret(); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("Secret: %v", err)
	}
	if text := log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, server.Addr()) {
		t.Errorf("the log must name the address without the password: %s", text)
	}
	server.Restart()
	server.Do(t, "ACL", "SETUSER", "user", "on", ">hunter2", "~*", "+@all")
	eventually(t, "in touch", func() bool { return c.State().Up })
}

func TestNewRedisRefuses(t *testing.T) {
	for name, o := range map[string]cluster.RedisOptions{
		"no URL":       {NodeID: "n"},
		"bad URL":      {URL: "http://h", NodeID: "n"},
		"no node id":   {URL: "redis://h"},
		"short secret": {URL: "redis://h", NodeID: "n", Secret: []byte("short")},
	} {
		if _, err := cluster.NewRedis(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

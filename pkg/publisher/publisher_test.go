package publisher_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/client"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/publisher"
)

// TestPublisher reaches clients of two nodes in every way.
func TestPublisher(t *testing.T) {
	server := redistest.Start(t)
	hears := func(c chan string) string {
		t.Helper()
		select {
		case text := <-c:
			return text
		case <-time.After(patience):
			t.Fatal("nothing came")
			return ""
		}
	}
	ada, bob := make(chan string, 10), make(chan string, 10)
	a := connect(t, startNode(t, server.URL()), "ada", ada)
	b := connect(t, startNode(t, server.URL()), "bob", bob)
	b.On("Ask", func(n int) (int, error) { return 2 * n, nil })
	clients := map[*client.Client]chan string{a: ada, b: bob}

	p, err := publisher.Connect(t.Context(), publisher.Options{Redis: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, chat := t.Context(), p.Hub("Chat")
	for c := range clients {
		if err := chat.Groups().Add(ctx, c.ConnectionID(), "g"); err != nil {
			t.Fatal(err)
		}
	}
	for _, send := range []hub.Target{chat.Clients().All(), chat.Clients().Group("g"), chat.Clients().Users("ada", "bob")} {
		if err := send.Send(ctx, "ReceiveMessage", "ops", "hello"); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			if got := hears(c); got != "ops: hello" {
				t.Errorf("heard %q", got)
			}
		}
	}
	n := 0
	if err := chat.Clients().Client(b.ConnectionID()).Invoke(ctx, &n, "Ask", 21); n != 42 || err != nil {
		t.Errorf("asked a client: %d, %v", n, err)
	}
	if err := chat.Groups().Add(ctx, "nobody", "g"); !errors.Is(err, hub.ErrNoConnection) {
		t.Errorf("Add of nobody: %v", err)
	}
	members, err := chat.Groups().Members(ctx, "g", "", 0)
	if len(members.List) != 2 || !members.Complete() || members.Nodes != 2 || err != nil {
		t.Errorf("members %+v, %v", members, err)
	}
	if m, err := chat.Clients().Find(ctx, a.ConnectionID()); m.UserID != "ada" || err != nil {
		t.Errorf("found %+v, %v", m, err)
	}
	nodes, err := p.Nodes(ctx)
	if len(nodes) != 2 || err != nil {
		t.Errorf("nodes %+v, %v: the publisher is none", nodes, err)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	online, changes, err := chat.Presence().Watch(watch)
	if len(online) != 2 || err != nil {
		t.Errorf("online %q, %v", online, err)
	}
	o, err := chat.Clients().User("ada").Disconnect(ctx)
	if o.Connections != 1 || err != nil {
		t.Errorf("disconnected %+v, %v", o, err)
	}
	<-a.Done()
	for batch := range changes { // after the grace period
		if len(batch) != 1 || batch[0] != (hub.PresenceChange{User: "ada"}) {
			t.Errorf("changed: %+v", batch)
		}
		stop()
	}
	if p.Hub("") != nil || p.Hub("a:b") != nil {
		t.Error("there is a hub without a name, or with a colon")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := chat.Clients().All().Send(ctx, "ReceiveMessage", "ops", "late"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// TestGuardedRedis: TLS and passwords, of sentinels too, are no obstacle.
func TestGuardedRedis(t *testing.T) {
	for kind, start := range map[string]func(testing.TB, redistest.Guard) string{
		"Sentinel": func(t testing.TB, g redistest.Guard) string { return redistest.StartGuardedSentinels(t, g, 1).URL() },
		"Cluster": func(t testing.TB, g redistest.Guard) string {
			return redistest.StartGuardedCluster(t, g, 3, false).URL()
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := start(t, redistest.Guard{TLS: redistest.NewTLS(t), Password: "secret"})
			heard := make(chan string, 1)
			connect(t, startNode(t, url), "ada", heard)
			p, err := publisher.Connect(t.Context(), publisher.Options{Redis: url})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			chat := p.Hub("Chat")
			if err := chat.Clients().User("ada").Send(t.Context(), "ReceiveMessage", "ops", "hello"); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-heard:
				if got != "ops: hello" {
					t.Errorf("heard %q", got)
				}
			case <-time.After(patience):
				t.Error("nothing came")
			}
			if online, err := chat.Presence().Online(t.Context(), "ada", "bob"); err != nil || !online[0] || online[1] {
				t.Errorf("online %v, %v", online, err)
			}
		})
	}
}

// TestSilentRedis: when Redis is known to say nothing, nobody waits for it.
func TestSilentRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p, err := publisher.Connect(t.Context(), publisher.Options{Redis: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	chat := p.Hub("Chat")
	questions := map[string]func() error{
		"Online": func() error { _, err := chat.Presence().Online(t.Context(), "ada"); return err },
		"Nodes":  func() error { _, err := p.Nodes(t.Context()); return err },
		"Watch": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, changes, err := chat.Presence().Watch(ctx)
			if err == nil {
				cancel()
				for range changes {
				}
			}
			return err
		},
	}
	server.Pause()
	known := false
	for deadline := time.Now().Add(patience); !known && time.Now().Before(deadline); {
		known = true
		for name, ask := range questions {
			began := time.Now()
			if err := ask(); !errors.Is(err, hub.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
			known = known && time.Since(began) < 500*time.Millisecond // the timeout is 2 s
		}
	}
	if !known {
		t.Error("every question waits, though Redis is known to be silent")
	}
	server.Resume()
	for name, ask := range questions {
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if err := ask(); err == nil {
				break
			} else if time.Now().After(deadline) {
				t.Errorf("%s, when Redis is back: %v", name, err)
				break
			}
		}
	}
}

// TestConnectFails says what is the matter, and leaves nothing behind.
func TestConnectFails(t *testing.T) {
	for _, url := range []string{"", "http://h", "redis://127.0.0.1:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := publisher.Connect(ctx, publisher.Options{Redis: url})
		cancel()
		if err == nil {
			t.Errorf("%q: no error", url)
		} else if url == "redis://127.0.0.1:1" && (!errors.Is(err, hub.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

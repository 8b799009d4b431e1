package node

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/publisher"
)

// documentedRights are the ACL commands of docs/operations.md, each under the comment before it.
func documentedRights(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rights, about := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if rest, found := strings.CutPrefix(line, "# "); found {
			about = rest
		}
		if rest, found := strings.CutPrefix(line, "ACL SETUSER hubfleet "); found {
			rights[about] = rest
		}
	}
	return rights
}

// TestDocumentedRights runs nodes and a publisher as a user of Redis who has the rights that the document names, and no others: nothing
// that they do is refused.
func TestDocumentedRights(t *testing.T) {
	rights := documentedRights(t)
	const all = "every kind"
	t.Run("scripts", func(t *testing.T) { // some of what they may do is rare
		granted := strings.Fields(rights[all])
		for _, pattern := range []string{"../cluster/*.lua", "../presence/*.lua"} {
			files, err := filepath.Glob(pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %v", pattern, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, call := range regexp.MustCompile(`redis\.p?call\('(\w+)'`).FindAllStringSubmatch(string(text), -1) {
					if !slices.Contains(granted, "+"+strings.ToLower(call[1])) {
						t.Errorf("%s calls %s, for which there is no right", file, call[1])
					}
				}
			}
		}
	})
	for name, c := range map[string]struct {
		begin  func(t *testing.T) (url string, servers, sentinels []*redistest.Server)
		rights []string
		with   Config
	}{
		"one server": {func(t *testing.T) (string, []*redistest.Server, []*redistest.Server) {
			s := redistest.Start(t)
			return s.URL() + "/3", []*redistest.Server{s}, nil
		}, []string{all, "with a number of a database in the URL"}, Config{}},
		"Sentinel": {func(t *testing.T) (string, []*redistest.Server, []*redistest.Server) {
			s := redistest.StartSentinels(t, 1)
			return s.URL() + "?sentinel_username=hubfleet&sentinel_password=PASSWORD", []*redistest.Server{s.Primary, s.Replica}, s.Sentinels
		}, []string{all, "behind Sentinel, primary and replicas"}, Config{}},
		"Cluster": {func(t *testing.T) (string, []*redistest.Server, []*redistest.Server) {
			s := redistest.StartCluster(t, 3, false)
			return s.URL(), s.Masters, nil
		}, []string{all, "Redis Cluster, all its servers"}, Config{}},
		"Cluster, sharded": {func(t *testing.T) (string, []*redistest.Server, []*redistest.Server) {
			s := redistest.StartCluster(t, 3, false)
			return s.URL(), s.Masters, nil
		}, []string{all, "Redis Cluster, all its servers", "with sharded Pub/Sub"}, Config{RedisSharded: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, servers, sentinels := c.begin(t)
			grant := func(s *redistest.Server, about string) {
				t.Helper()
				if rights[about] == "" {
					t.Fatalf("docs/operations.md has no rights under %q", about)
				}
				args := []any{"ACL", "SETUSER", "hubfleet"}
				for _, word := range strings.Fields(rights[about]) {
					args = append(args, word)
				}
				s.Do(t, args...)
			}
			for _, s := range servers {
				for _, about := range c.rights {
					grant(s, about)
				}
			}
			for _, s := range sentinels {
				grant(s, "sentinels that know users")
			}
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("hubfleet", "PASSWORD")
			c.with.Redis = u.String()
			useEverything(t, c.with)
			if name == "one server" {
				sweep(t, c.with, servers[0])
			}
			for _, s := range append(servers, sentinels...) {
				if refused := s.Do(t, "ACL", "LOG").([]any); len(refused) > 0 {
					t.Errorf("%s refused something: %v", s.Addr(), refused)
				}
			}
		})
	}
}

// useEverything makes nodes do all that they do with Redis.
func useEverything(t *testing.T, config Config) {
	ctx := t.Context()
	config.Authenticate, config.PresenceGrace = byQuery, 10*time.Millisecond
	config.DrainTimeout = 2 * time.Second
	made := make1(t, config)
	if err := made.Map("/room", room{}); err != nil {
		t.Fatal(err)
	}
	made.holdEvery = 10 * time.Millisecond // claims are held
	a, b := run(t, made), start(t, config)
	for _, n := range []started{a, b} {
		eventually(t, "ready", func() bool { status, body := n.askAdmin(t, "/readyz"); return status == 200 && body == "ok\n" })
	}
	p, err := publisher.Connect(ctx, publisher.Options{Redis: config.Redis, RedisSharded: config.RedisSharded})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	onA, onB := a.connect(t, "?user=ann"), b.connect(t, "?user=bob")
	heard := func(text string) {
		t.Helper()
		for _, c := range []*client{onA, onB} {
			if got := c.next(); got != `{"type":1,"target":"heard","arguments":["`+text+`"]}` {
				t.Errorf("got %s, want %s", got, text)
			}
		}
	}
	onA.send(`{"type":1,"target":"Say","arguments":["from a client"]}`)
	heard("from a client")
	must(p.Hub("room").Clients().Users("ann", "bob").Send(ctx, "heard", "from outside"))
	heard("from outside")

	// Users and connections, asked of the other node and of the publisher; stateful ones, used where they were not negotiated.
	token, _ := negotiateStateful(t, a)
	b.openStateful(t, token)
	there := a.Hub("/room")
	bobs, err := there.Presence().Connections(ctx, "bob")
	if err != nil || len(bobs) != 1 {
		t.Fatalf("bob's connections: %v, %v", bobs, err)
	}
	_, err = there.Presence().Users(ctx, "", 10)
	must(err)
	_, err = there.Clients().Find(ctx, bobs[0].ID)
	must(err)
	must(there.Groups().Add(ctx, bobs[0].ID, "g"))
	_, err = p.Hub("room").Groups().AddUser(ctx, "ann", "g")
	must(err)
	must(there.Clients().Group("g").Send(ctx, "heard", "to a group"))
	heard("to a group")
	_, err = there.Groups().Members(ctx, "g", "", 0)
	must(err)
	_, err = p.Nodes(ctx)
	must(err)

	// A lease that was lost: another is taken, and all is said anew.
	incarnation, _, _ := b.cluster.Lease()
	b.cluster.Renounce(incarnation)
	eventually(t, "another lease", func() bool { now, _, ok := b.cluster.Lease(); return ok && now != incarnation })

	// Watching, from the publisher: bob goes, and so does the node.
	watch, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	online, changes, err := p.Hub("room").Presence().Watch(watch)
	if err != nil || len(online) != 2 {
		t.Fatalf("online %q, %v", online, err)
	}
	_, err = there.Clients().User("bob").Disconnect(ctx)
	must(err)
	for batch := range changes {
		if len(batch) > 0 && batch[0].User == "bob" && !batch[0].Online {
			break
		}
	}
	must(b.stop())
}

// sweep has one node take away what another one, which is gone, has left.
func sweep(t *testing.T, config Config, server *redistest.Server) {
	config.DrainTimeout = time.Second
	proxy := redistest.NewProxy(t, server.Addr())
	stays := start(t, config)
	config.Redis = strings.Replace(config.Redis, server.Addr(), proxy.Addr(), 1)
	goes := start(t, config)
	for _, n := range []started{stays, goes} {
		eventually(t, "ready", func() bool { status, body := n.askAdmin(t, "/readyz"); return status == 200 && body == "ok\n" })
	}
	goes.connect(t, "?user=cid")
	proxy.Freeze()
	defer proxy.Thaw()
	client := server.Client(t, func(o *redis.Options) { o.DB = 3 })
	if err := client.Del(t.Context(), "hubfleet:node:"+goes.cluster.NodeID()).Err(); err != nil { // its lease, which would last for a while
		t.Fatal(err)
	}
	eventually(t, "swept", func() bool {
		online, err := stays.Hub("/room").Presence().Online(t.Context(), "cid")
		return err == nil && !online[0]
	})
}

package node

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// Two nodes meet in every kind of Redis, and find their way through a failover with their clients: messages pass, and users are
// seen to be online. Where there is TLS, servers and sentinels speak nothing else and want passwords.
func TestKindsOfRedis(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T) (config Config, fail func()){
		"Sentinel, TLS": func(t *testing.T) (Config, func()) {
			s := redistest.StartGuardedSentinels(t, redistest.Guard{TLS: redistest.NewTLS(t), Password: "secret"}, 1)
			return Config{Redis: s.URL()}, s.Primary.Stop
		},
		"Redis Cluster, TLS": func(t *testing.T) (Config, func()) {
			c := redistest.StartGuardedCluster(t, redistest.Guard{TLS: redistest.NewTLS(t), Password: "secret"}, 3, true)
			return Config{Redis: c.URL(), RedisConnections: 2}, c.Masters[0].Stop
		},
		"Redis Cluster, sharded": func(t *testing.T) (Config, func()) {
			c := redistest.StartCluster(t, 3, true)
			return Config{Redis: c.URL(), RedisSharded: true}, c.Masters[0].Stop
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, fail := begin(t)
			config.Authenticate = byQuery
			a, b := start(t, config), start(t, config)
			ready := func(n started, want string) func() bool {
				return func() bool {
					status, body := n.askAdmin(t, "/readyz")
					return status == http.StatusOK && (want == "" || body == want)
				}
			}
			eventually(t, "ready", ready(a, ""))
			eventually(t, "ready", ready(b, ""))
			sender, receiver := a.connect(t, "?user=ann"), b.connect(t, "?user=bob")
			online := func(want ...bool) {
				t.Helper()
				eventually(t, "seen to be online", func() bool {
					got, err := a.Hub("/room").Presence().Online(t.Context(), "ann", "bob", "cid")
					return err == nil && slices.Equal(got, want)
				})
			}
			const say = `{"type":1,"target":"Say","arguments":["%s"]}`
			const heard = `{"type":1,"target":"heard","arguments":["%s"]}`
			said := func(text string) {
				t.Helper()
				sender.send(fmt.Sprintf(say, text))
				if got := receiver.next(); got != fmt.Sprintf(heard, text) {
					t.Errorf("%s", got)
				}
			}
			said("before")
			online(true, true, false)
			fail()
			degraded := func(n started) func() bool { return func() bool { return !ready(n, "ok\n")() } }
			eventually(t, "seen to be gone", degraded(a))
			eventually(t, "whole again", ready(a, "ok\n"))
			eventually(t, "whole again", ready(b, "ok\n"))
			said("after")
			b.connect(t, "?user=cid")
			online(true, true, true)
		})
	}
}

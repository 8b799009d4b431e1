package node

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// Two nodes meet in every kind of Redis, and find their way through a failover with their clients.
func TestKindsOfRedis(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T) (config Config, fail func()){
		"Sentinel": func(t *testing.T) (Config, func()) {
			s := redistest.StartSentinels(t, 1)
			return Config{Redis: s.URL()}, s.Primary.Stop
		},
		"Redis Cluster": func(t *testing.T) (Config, func()) {
			c := redistest.StartCluster(t, 3, true)
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
			a, b := start(t, config), start(t, config)
			ready := func(n started, want string) func() bool {
				return func() bool {
					status, body := n.askAdmin(t, "/readyz")
					return status == http.StatusOK && (want == "" || body == want)
				}
			}
			eventually(t, "ready", ready(a, ""))
			eventually(t, "ready", ready(b, ""))
			sender, receiver := a.connect(t, ""), b.connect(t, "")
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
			fail()
			degraded := func(n started) func() bool { return func() bool { return !ready(n, "ok\n")() } }
			eventually(t, "seen to be gone", degraded(a))
			eventually(t, "whole again", ready(a, "ok\n"))
			eventually(t, "whole again", ready(b, "ok\n"))
			said("after")
		})
	}
}

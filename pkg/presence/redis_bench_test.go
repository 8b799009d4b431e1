package presence_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/presencetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// usage is what a server has done: commands, those run by scripts included; calls of scripts; bytes; seconds of CPU.
type usage struct{ commands, scripts, in, out, cpu float64 }

func usageOf(b *testing.B, server *redistest.Server) (u usage) {
	b.Helper()
	for _, line := range strings.Split(server.Do(b, "INFO", "everything").(string), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		number, _ := strconv.ParseFloat(value, 64)
		switch command, isCommand := strings.CutPrefix(name, "cmdstat_"); {
		case isCommand:
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, _ := strconv.ParseFloat(calls, 64)
			if u.commands += n; command == "evalsha" || command == "eval" {
				u.scripts += n
			}
		case name == "total_net_input_bytes":
			u.in = number
		case name == "total_net_output_bytes":
			u.out = number
		case name == "used_cpu_user", name == "used_cpu_sys":
			u.cpu += number
		}
	}
	return u
}

// per reports what has been used since, for each of n things.
func (u usage) per(b *testing.B, server *redistest.Server, n float64, what string) {
	now := usageOf(b, server)
	b.ReportMetric((now.commands-u.commands)/n, "commands/"+what)
	b.ReportMetric((now.scripts-u.scripts)/n, "scripts/"+what)
	b.ReportMetric((now.in-u.in)/n, "B-in/"+what)
	b.ReportMetric((now.out-u.out)/n, "B-out/"+what)
	b.ReportMetric((now.cpu-u.cpu)/n*1e6, "µs-redis/"+what)
}

// productionNode is a node with times as in production. settled is called whenever Redis has answered all that it was told.
func productionNode(b *testing.B, server *redistest.Server) (r *presence.Redis, settled chan struct{}) {
	c, err := cluster.NewRedis(cluster.RedisOptions{URL: server.URL(), Prefix: "hubfleet:", NodeID: cluster.NewNodeID("node")})
	if err != nil {
		b.Fatal(err)
	}
	settled = make(chan struct{}, 1)
	r, err = presence.NewRedis(presence.RedisOptions{URL: server.URL(), Prefix: "hubfleet:", Lease: c, Hooks: presence.Hooks{Pending: func(changes int) {
		if changes == 0 {
			select {
			case settled <- struct{}{}:
			default:
			}
		}
	}}})
	if err != nil {
		b.Fatal(err)
	}
	stopCluster, stopPresence := runPart(b, c.Run), runPart(b, r.Run)
	b.Cleanup(func() {
		stopPresence()
		stopCluster()
	})
	r.Add(presence.Connection{ID: "first", User: "first"})
	presencetest.Eventually(b, "in touch with Redis", func() bool {
		online, err := r.Online(b.Context(), "first")
		return err == nil && online[0]
	})
	return r, settled
}

// BenchmarkRedis measures what Redis has to do for connections that come and leave: one at a time, or a thousand at once; as their
// user's first and last, or beside another one.
func BenchmarkRedis(b *testing.B) {
	for _, leaves := range []bool{false, true} {
		for _, at := range []int{1, 1000} {
			for _, others := range []bool{false, true} {
				what := "connect"
				if leaves {
					what = "disconnect"
				}
				b.Run(fmt.Sprintf("%s, %d at once, user there before: %v", what, at, others), func(b *testing.B) {
					server := redistest.Start(b)
					r, settled := productionNode(b, server)
					id := func(prefix string, i int) string { return prefix + fmt.Sprintf("bCdEfGhIjKlMnOpQr%05d", i) }
					user := func(i int) string { return fmt.Sprintf("user-%08d", i) }
					wait := func() {
						select {
						case <-settled:
						default:
						}
						r.Add(presence.Connection{ID: "first", User: "first"})
						<-settled
					}
					n := b.N * at
					if others {
						for i := range n {
							r.Add(presence.Connection{ID: id("o", i), User: user(i), Hub: "ChatHub", Transport: "WebSockets"})
						}
						wait()
					}
					come := func(i int) {
						r.Add(presence.Connection{ID: id("c", i), User: user(i), Hub: "ChatHub", Transport: "WebSockets"})
					}
					if leaves {
						for i := range n {
							come(i)
						}
						wait()
					}
					before := usageOf(b, server)
					b.ResetTimer()
					for i := range n {
						if leaves {
							r.Remove(id("c", i))
						} else {
							come(i)
						}
						if (i+1)%at == 0 {
							<-settled
						}
					}
					b.StopTimer()
					before.per(b, server, float64(n), what)
				})
			}
		}
	}
}

// BenchmarkRedisIdle measures what a node costs Redis on which nothing happens, alone and watched. What a Redis without a node takes
// is not counted.
func BenchmarkRedisIdle(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched: %v", watched), func(b *testing.B) {
			server, empty := redistest.Start(b), redistest.Start(b)
			r, _ := productionNode(b, server)
			if watched {
				presencetest.NewRecorder(b, r)
			}
			const seconds = 9
			for b.Loop() {
				before, without := usageOf(b, server), usageOf(b, empty)
				time.Sleep(seconds * time.Second)
				before.cpu += usageOf(b, empty).cpu - without.cpu
				before.per(b, server, seconds, "second")
			}
		})
	}
}

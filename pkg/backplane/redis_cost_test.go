package backplane

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// BenchmarkRedisCost is what publishing costs Redis and how many messages a second get through, beside redis-benchmark, which does
// nothing else. Nobody is subscribed; payloads have 200 bytes. The table in docs/performance.md is made of it.
func BenchmarkRedisCost(b *testing.B) {
	s := redistest.Start(b)
	payload := bytes.Repeat([]byte("x"), 200)
	for _, depth := range []int{1, 64} {
		b.Run(fmt.Sprintf("redis-benchmark/pipeline=%d", depth), func(b *testing.B) {
			before := redisCPU(b, s)
			b.ResetTimer()
			out, err := exec.Command("redis-benchmark", "-s", s.Socket(), "-c", "4", "-P", strconv.Itoa(depth), "-n", strconv.Itoa(b.N), "-q",
				"PUBLISH", "channel", string(payload)).CombinedOutput()
			if err != nil {
				b.Fatalf("redis-benchmark: %v\n%s", err, out)
			}
			report(b, s, before)
		})
	}
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("Publish/callers=%d", callers), func(b *testing.B) {
			r := start(b, RedisOptions{URL: "unix://" + s.Socket()}, nil, nil)
			channels := some()
			before := redisCPU(b, s)
			var next atomic.Int64
			b.ResetTimer()
			done := make(chan error, callers)
			for i := range callers {
				go func() {
					var err error
					for next.Add(1) <= int64(b.N) && err == nil {
						_, err = r.Publish(context.Background(), payload, channels[i%len(channels)])
					}
					done <- err
				}()
			}
			for range callers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			report(b, s, before)
		})
	}
}

func report(b *testing.B, s *redistest.Server, before time.Duration) {
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	b.ReportMetric(float64((redisCPU(b, s)-before).Nanoseconds())/1000/float64(b.N), "redis-µs/publish")
}

// redisCPU is the processor time that the server has used.
func redisCPU(t testing.TB, s *redistest.Server) (used time.Duration) {
	for line := range strings.Lines(fmt.Sprint(s.Do(t, "INFO", "cpu"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			used += time.Duration(seconds * float64(time.Second))
		}
	}
	return used
}

// BenchmarkResubscribe is how long it takes from the loss of the link until 20,000 channels are confirmed again, the new connection
// included.
func BenchmarkResubscribe(b *testing.B) {
	for _, connections := range []int{1, 4} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := redistest.Start(b)
			whole := make(chan time.Duration, 1)
			o := RedisOptions{URL: s.URL(), SubscribeConnections: connections}
			o.Hooks.Gap = func(d time.Duration) { whole <- d }
			r := start(b, o, nil, nil)
			names := make([]string, 20_000)
			for i := range names {
				names[i] = fmt.Sprintf("hubfleet:ChatHub:connection:%032d", i)
			}
			if err := r.Subscribe(context.Background(), names...); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s.Do(b, "CLIENT", "KILL", "TYPE", "pubsub")
				<-whole
				b.StopTimer()
				waitReady(b, r)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/resubscription")
		})
	}
}

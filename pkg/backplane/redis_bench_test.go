package backplane

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkPublish compares what a Publish costs when many callers publish at once with what the client library's bare
// pipeline of full batches costs, which is the floor, and with one call each, which is what it is there to beat.
func BenchmarkPublish(b *testing.B) {
	s := redistest.Start(b)
	payload := bytes.Repeat([]byte("x"), 200)
	ctx := context.Background()
	for _, lanes := range []int{1, 4} {
		b.Run(fmt.Sprintf("lanes=%d/callers=256", lanes), func(b *testing.B) {
			var commands, batches atomic.Int64
			hooks := Hooks{Pipelined: func(n int) { commands.Add(int64(n)); batches.Add(1) }}
			r := start(b, RedisOptions{URL: "unix://" + s.Socket(), Lanes: lanes, Hooks: hooks}, nil, nil)
			channels := make([]string, 64)
			for i := range channels {
				channels[i] = fmt.Sprint("channel ", i)
			}
			b.SetParallelism(128)
			b.ReportAllocs()
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				channel := channels[next.Add(1)%int64(len(channels))]
				for pb.Next() {
					if _, err := r.Publish(ctx, payload, channel); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(commands.Load())/float64(batches.Load()), "commands/batch")
		})
	}
	client := s.Client(b, func(o *redis.Options) { o.PipelinePoolSize = -1 })
	b.Run("bare pipeline of 256", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; {
			pipe := client.Pipeline()
			for ; pipe.Len() < 256 && n < b.N; n++ {
				pipe.Publish(ctx, "channel", payload)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one call each", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Publish(ctx, "channel", payload).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDeliver is what a message costs from Redis to deliver.
func BenchmarkDeliver(b *testing.B) {
	// Without a limit: Redis would cut a subscriber that falls 32 MB behind, and the script below is faster than anybody.
	s := redistest.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	ctx := context.Background()
	var got atomic.Int64
	done := make(chan struct{})
	want := int64(-1)
	flushes := 0
	r := start(b, RedisOptions{URL: "unix://" + s.Socket()},
		func(string, []byte) {
			if got.Add(1) == atomic.LoadInt64(&want) {
				close(done)
			}
		},
		func() { flushes++ })
	if err := r.Subscribe(ctx, "channel"); err != nil {
		b.Fatal(err)
	}
	atomic.StoreInt64(&want, int64(b.N))
	client := s.Client(b, nil)
	payload := bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	b.ResetTimer()
	// A script publishes, so that the cost of publishing is not ours.
	script := redis.NewScript(`for i = 1, ARGV[1] do redis.call('publish', 'channel', ARGV[2]) end`)
	for n := b.N; n > 0; n -= 2000 {
		if err := script.Run(ctx, client, nil, min(n, 2000), payload).Err(); err != nil && err != redis.Nil {
			b.Fatal(err)
		}
	}
	<-done
	b.ReportMetric(float64(b.N)/float64(max(1, flushes)), "messages/flush")
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory()
	n := m.Node()
	defer n.Close()
	n.Attach(func(string, []byte) {}, func() {})
	ctx := context.Background()
	if err := n.Subscribe(ctx, "channel"); err != nil {
		b.Fatal(err)
	}
	payload := bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Publish(ctx, payload, "channel"); err != nil {
			b.Fatal(err)
		}
	}
}

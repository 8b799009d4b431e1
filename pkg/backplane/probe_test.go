package backplane_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/pkg/backplane"
)

// slowChannels is a backplane on which messages take their time, or are lost.
type slowChannels struct {
	backplane.Channels
	takes   atomic.Int64 // nanoseconds; negative: the message is lost
	away    atomic.Bool
	deliver func(channel string, payload []byte)
}

func (s *slowChannels) Attach(deliver func(channel string, payload []byte), flush func()) {
	s.deliver = deliver
}

func (s *slowChannels) Subscribe(context.Context, ...string) error { return nil }
func (s *slowChannels) Unsubscribe(...string)                      {}

func (s *slowChannels) Publish(_ context.Context, payload []byte, channels ...string) (int, error) {
	if s.away.Load() {
		return 0, errors.New("away")
	}
	if takes := time.Duration(s.takes.Load()); takes >= 0 {
		time.AfterFunc(takes, func() { s.deliver(channels[0], payload) })
	}
	return 1, nil
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		lost, others := 0, 0
		channels := &slowChannels{}
		p := backplane.NewProbe(channels, "probe:a", backplane.ProbeHooks{
			Returned: func(d time.Duration) { took = append(took, d) },
			Lost:     func() { lost++ },
		})
		p.Attach(func(string, []byte) { others++ }, func() {})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()

		channels.takes.Store(int64(3 * time.Millisecond))
		time.Sleep(2500 * time.Millisecond) // two probes
		channels.takes.Store(-1)
		time.Sleep(4 * time.Second) // one that is lost, for which the next ones wait
		channels.takes.Store(int64(20 * time.Millisecond))
		time.Sleep(3 * time.Second) // two more
		channels.deliver("probe:a", []byte("nonsense"))
		channels.deliver("ChatHub:all", []byte("a message"))
		channels.away.Store(true)
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if others != 1 {
			t.Errorf("%d messages were handed on; want 1", others)
		}
		if lost != 2 {
			t.Errorf("%d probes were lost; want the one that did not come back, and one that could not be published", lost)
		}
		want := []time.Duration{3 * time.Millisecond, 3 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond}
		if diff := cmp.Diff(want, took); diff != "" {
			t.Errorf("how long probes took (-want +got):\n%s", diff)
		}
	})
}

// TestProbeOverMemory passes everything else through.
func TestProbeOverMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := backplane.NewMemory()
		node := memory.Node()
		defer node.Close()
		returned := make(chan time.Duration, 10)
		p := backplane.NewProbe(node, "probe:a", backplane.ProbeHooks{Returned: func(d time.Duration) { returned <- d }})
		got := make(chan string, 1)
		p.Attach(func(channel string, payload []byte) { got <- channel + " " + string(payload) }, func() {})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		if err := p.Subscribe(ctx, "ChatHub:all"); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Publish(ctx, []byte("hello"), "ChatHub:all"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if diff := cmp.Diff("ChatHub:all hello", <-got); diff != "" {
			t.Error(diff)
		}
		<-returned
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n, _ := node.Subscribers(context.Background(), "probe:a"); n != 0 {
			t.Errorf("%d nodes are still subscribed to the probe's channel", n)
		}
	})
}

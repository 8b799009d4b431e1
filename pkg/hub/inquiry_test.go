package hub_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/backplane"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// mute is a node that hears what is asked, and answers as the test wants.
type mute struct {
	t     *testing.T
	node  *backplane.MemoryNode
	asked chan protocol.FleetRequest
}

func newMute(t *testing.T, f fleet) mute {
	m := mute{t, f.memory.Node(), make(chan protocol.FleetRequest, 100)}
	t.Cleanup(m.node.Close)
	m.node.Attach(func(_ string, payload []byte) {
		q, err := protocol.DecodeFleetRequest(payload)
		if err != nil {
			t.Error(err)
		}
		m.asked <- q
	}, func() {})
	if err := m.node.Subscribe(t.Context(), "hubfleet:ask"); err != nil {
		t.Fatal(err)
	}
	return m
}

// answer tells that the node has n connections of the kind asked for.
func (m mute) answer(q protocol.FleetRequest, n uint32) {
	m.t.Helper()
	p := protocol.AppendFleetReply(nil, protocol.FleetReply{ID: q.ID, Node: "mute", Name: "mute", Count: n})
	if _, err := m.node.Publish(m.t.Context(), p, "hubfleet:reply:"+q.From); err != nil {
		m.t.Error(err)
	}
}

// TestQuietNode: a node that does not answer costs the first question its time, and those behind it a part, whether or not it still
// holds its lease; when it has said something, it is waited for again.
func TestQuietNode(t *testing.T) {
	t.Parallel()
	live := []string{"mute"}
	f := newFleet(t, 1, hub.Options{Nodes: func(context.Context) ([]string, error) { return live, nil }})
	m := newMute(t, f)
	count := func(want int, missing ...string) (took time.Duration) {
		t.Helper()
		began := time.Now()
		n, answered, err := f.hub(0).Groups().Count(t.Context(), "g")
		if n != want || !slices.Equal(answered.Missing, missing) || err != nil {
			t.Errorf("%d, %+v, %v; want %d without %q", n, answered, err, want, missing)
		}
		return time.Since(began)
	}
	if took := count(0, "mute"); took < 1900*time.Millisecond {
		t.Errorf("not waited for: %v", took)
	}
	first := <-m.asked
	if took := count(0, "mute"); took > time.Second {
		t.Errorf("waited for again: %v", took)
	}
	live = nil // its lease has ended, its link to the others has not
	if took := count(0, "unknown"); took > time.Second {
		t.Errorf("waited for without its lease: %v", took)
	}
	m.answer(first, 1) // so late that it says nothing of now
	if took := count(0, "unknown"); took > time.Second {
		t.Errorf("waited for because of an old answer: %v", took)
	}

	for len(m.asked) > 1 {
		<-m.asked
	}
	m.answer(<-m.asked, 1)
	live = []string{"mute"}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		q := <-m.asked
		time.Sleep(700 * time.Millisecond) // slow on purpose: later than a quiet node is waited for
		m.answer(q, 7)
	}()
	count(7)
	<-answered
}

// countless is a backplane that does not know how many nodes have got a message, as a Redis Cluster does not.
type countless struct{ *backplane.MemoryNode }

func (c countless) Publish(ctx context.Context, payload []byte, channels ...string) (int, error) {
	_, err := c.MemoryNode.Publish(ctx, payload, channels...)
	return -1, err
}

// TestUncountedNode: where the broker does not count who gets a request, a node without a lease is missed all the same.
func TestUncountedNode(t *testing.T) {
	t.Parallel()
	memory := backplane.NewMemory()
	s := newServer(t, &chat{}, hub.Options{Backplane: countless{memory.Node()}})
	m := newMute(t, fleet{memory: memory})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		m.answer(<-m.asked, 7)
	}()
	groups := s.Hub("/chat").Groups()
	if n, from, err := groups.Count(t.Context(), "g"); n != 7 || !from.Complete() || err != nil {
		t.Errorf("%d, %+v, %v", n, from, err)
	}
	<-answered
	if n, from, err := groups.Count(t.Context(), "g"); n != 0 || !slices.Equal(from.Missing, []string{"unknown"}) || err != nil {
		t.Errorf("when it is mute: %d, %+v, %v", n, from, err)
	}
}

// TestDeadNode: a node that is known to be dead is not missed. One that has not got the question is not waited for.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	for name, counts := range map[string]bool{"counted": true, "countless": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := []string{"dead"}
			memory := backplane.NewMemory()
			o := hub.Options{
				Nodes:     func(context.Context) ([]string, error) { return live, nil },
				Gone:      func(_ context.Context, id string) bool { return id == "dead" },
				Backplane: memory.Node(),
			}
			if !counts {
				o.Backplane = countless{memory.Node()}
			}
			s := newServer(t, &chat{}, o)
			c := dial(t, serve(t, s)+"/chat", asUser("ada"))
			c.wantCall("result: null", "Join", "g")
			groups := s.Hub("/chat").Groups()
			began := time.Now()
			for range 3 {
				n, answered, err := groups.Count(t.Context(), "g")
				if n != 1 || answered.Nodes != 1 || !answered.Complete() || err != nil {
					t.Errorf("%d, %+v, %v", n, answered, err)
				}
			}
			live = append(live, "cut off")
			n, answered, err := groups.Count(t.Context(), "g")
			if n != 1 || !slices.Equal(answered.Missing, []string{"cut off"}) || err != nil {
				t.Errorf("%d, %+v, %v", n, answered, err)
			}
			if took := time.Since(began); counts && took > time.Second {
				t.Errorf("waited for who cannot answer: %v", took)
			}
		})
	}
}

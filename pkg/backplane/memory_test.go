package backplane

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/hubfleet/hubfleet/internal/backplanetest"
)

func TestMemoryContract(t *testing.T) {
	backplanetest.Run(t, backplanetest.Traits{}, func(testing.TB) backplanetest.Join {
		m := NewMemory()
		return func(t testing.TB, deliver func(string, []byte), flush func()) backplanetest.Backplane {
			n := m.Node()
			n.Attach(deliver, flush)
			t.Cleanup(n.Close)
			return n
		}
	})
}

func TestMemoryClose(t *testing.T) {
	m := NewMemory()
	a, b := m.Node(), m.Node()
	got := 0
	b.Attach(func(string, []byte) { got++ }, func() {})
	ctx := t.Context()
	if err := b.Subscribe(ctx, "x", "y"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := a.Publish(ctx, nil, "x"); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	b.Close()
	if got != 10 {
		t.Errorf("%d messages delivered before Close returned, want 10", got)
	}
	if n, err := a.Publish(ctx, nil, "x", "y"); n != 0 || err != nil {
		t.Errorf("a closed node receives: %d, %v", n, err)
	}
	if len(m.subscribers) > 0 {
		t.Errorf("%d channels left behind", len(m.subscribers))
	}
	_, err := b.Publish(ctx, nil, "x")
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("Publish on a closed node: %v", err)
	}
	if err := b.Subscribe(ctx, "x"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Subscribe on a closed node: %v", err)
	}
	if _, err := b.Subscribers(ctx, "x"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Subscribers on a closed node: %v", err)
	}
}

// A node that does not get on with delivering makes publishers wait when its inbox is full, and their contexts bound that.
func TestMemoryFull(t *testing.T) { synctest.Test(t, memoryFull) }

func memoryFull(t *testing.T) {
	m := NewMemory()
	a := m.Node()
	goOn := make(chan struct{})
	got := 0
	a.Attach(func(string, []byte) {
		<-goOn
		got++
	}, nil)
	if err := a.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	publish := func(ctx context.Context) {
		_, err := a.Publish(ctx, nil, "x")
		result <- err
	}
	for i := range 1 + maxInbox {
		if publish(t.Context()); i == 0 {
			synctest.Wait() // the first is being delivered, the others fill the inbox
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	waits := func() {
		t.Helper()
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go publish(ctx)
	waits()
	why := errors.New("enough")
	cancel(why)
	if err := <-result; !errors.Is(err, ErrUnavailable) || !errors.Is(err, why) {
		t.Errorf("full inbox: %v", err)
	}
	go publish(t.Context())
	waits()
	close(goOn)
	if err := <-result; err != nil {
		t.Error(err)
	}
	a.Close()
	if want := 1 + maxInbox + 1; got != want {
		t.Errorf("%d delivered, want %d", got, want)
	}
}

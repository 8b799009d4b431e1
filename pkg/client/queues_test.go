package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutboxOrder(t *testing.T) {
	o := newOutbox(1000)
	ctx := t.Context()
	for _, frame := range []string{"a", "b", "c"} {
		if _, err := o.add(ctx, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	o.hurry([]byte("!"))
	batch, upTo, err := o.take(ctx, nil)
	if string(batch) != "!abc" || upTo != 3 || err != nil {
		t.Fatalf("%s up to %d, %v", batch, upTo, err)
	}
	o.sent(upTo)
	if o.bytes != 0 || len(o.frames) != 0 {
		t.Errorf("%d bytes are kept", o.bytes)
	}
	if err := o.await(ctx, 3); err != nil {
		t.Error(err)
	}

	large := strings.Repeat("x", maxBatch)
	for _, frame := range []string{"d", large, "e"} {
		o.insert([]byte(frame))
	}
	for _, want := range []string{"d", large, "e"} {
		batch, upTo, err = o.take(ctx, batch[:0])
		if string(batch) != want || err != nil {
			t.Fatalf("%d bytes, %v, want %d", len(batch), err, len(want))
		}
		o.sent(upTo)
	}
}

func TestOutboxFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(1000)
		o.insert([]byte("a"))
		finished := make(chan error, 1)
		go func() { finished <- o.finish(t.Context(), []byte("bye")) }()
		synctest.Wait()
		if _, err := o.add(t.Context(), []byte("b")); !errors.Is(err, ErrClosed) {
			t.Errorf("behind the last message: %v", err)
		}
		batch, upTo, _ := o.take(t.Context(), nil)
		if string(batch) != "abye" {
			t.Errorf("got %s", batch)
		}
		synctest.Wait()
		if len(finished) != 0 {
			t.Error("it is finished before it is sent")
		}
		o.sent(upTo)
		if err := <-finished; err != nil {
			t.Error(err)
		}
	})
}

func TestOutboxBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(2)
		o.stateful = true
		var waiting []chan error
		for i := range 5 { // three fit: one may go over the bound
			done := make(chan error, 1)
			waiting = append(waiting, done)
			go func() {
				_, err := o.add(t.Context(), fmt.Appendf(nil, "%d", i))
				done <- err
			}()
			synctest.Wait()
		}
		if len(waiting[2]) != 1 || len(waiting[3]) != 0 {
			t.Error("the bound is not kept")
		}
		if batch, upTo, _ := o.take(t.Context(), nil); string(batch) != "012" {
			t.Errorf("got %s", batch)
		} else {
			o.sent(upTo)
		}
		synctest.Wait()
		if len(waiting[3]) != 0 {
			t.Error("what is sent is not kept")
		}
		o.acked(1)
		synctest.Wait()
		if len(waiting[3])+len(waiting[4]) != 1 {
			t.Error("room for one does not let one in")
		}
		o.hurry([]byte("ping")) // of the old link: the sequence must come first
		o.rewind(func(first int64) []byte { return fmt.Appendf(nil, "[%d]", first) })
		o.acked(99) // comes before the server is sent again what it has
		batch, upTo, _ := o.take(t.Context(), nil)
		if !strings.HasPrefix(string(batch), "[2]12") || len(batch) != len("[2]123") {
			t.Errorf("got %s", batch)
		}
		o.sent(upTo)
		synctest.Wait()
		if len(waiting[3])+len(waiting[4]) != 2 || len(o.frames) != 2 || o.first != 4 {
			t.Errorf("kept %q from %d on", o.frames, o.first)
		}
		if _, err := o.add(t.Context(), []byte("5")); err != nil {
			t.Error(err)
		}
		end := make(chan error, 1)
		go func() { _, err := o.add(t.Context(), nil); end <- err }()
		synctest.Wait()
		o.close(ErrClosed)
		synctest.Wait()
		if err := <-end; !errors.Is(err, ErrClosed) {
			t.Errorf("what waits for room: %v", err)
		}
		if _, _, err := o.take(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("take: %v", err)
		}
	})
}

func TestInboxBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		b := inbox[int]{limit: 10}
		put := func(n int) error { return b.put(t.Context(), n, 10, time.Minute, &c) }
		if err := errors.Join(put(0), put(1)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := put(2); !errors.Is(err, ErrSlow) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// Somebody takes one.
		done := make(chan error, 1)
		go func() { done <- put(3) }()
		synctest.Wait()
		if n, ok, err := b.take(t.Context()); n != 0 || !ok || err != nil {
			t.Errorf("%d, %v, %v", n, ok, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		// A call begins, and lets more in.
		go func() { done <- put(4) }()
		synctest.Wait()
		if len(done) != 0 {
			t.Error("there is room")
		}
		call := &pending{answer: make(chan answer, 1)}
		if err := c.begin(call); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.take(call.id)
		// The context ends.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.put(ctx, 5, 10, time.Minute, &c); !errors.Is(err, context.Canceled) {
			t.Errorf("put: %v", err)
		}
		// The end comes behind what is there, and nothing behind the end.
		b.close(ErrSlow)
		if err := put(6); err != nil {
			t.Error(err)
		}
		for _, want := range []int{1, 3, 4} {
			if n, ok, err := b.take(t.Context()); n != want || !ok || err != nil {
				t.Errorf("%d, %v, %v, want %d", n, ok, err, want)
			}
		}
		if _, ok, err := b.take(t.Context()); ok || !errors.Is(err, ErrSlow) {
			t.Errorf("the end: %v, %v", ok, err)
		}
	})
}

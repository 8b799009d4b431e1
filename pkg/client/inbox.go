package client

import (
	"context"
	"sync"
	"time"
)

// leeway is how many times its limit an inbox may hold while a call is waiting for its answer: its reader may be the one
// that waits, and the answer lies behind.
const leeway = 16

// inbox is what has been received and waits for a reader. It is bounded in bytes.
type inbox[T any] struct {
	limit int

	mu      sync.Mutex
	items   []T
	sizes   []int
	bytes   int
	closed  bool
	err     error // with which it was closed
	changed signal
}

// put adds an item. While there is no room it waits, up to patience; zero or less is for ever. It returns ErrSlow when there was no
// room in time, and nil when the inbox is closed, as nobody wants the item then.
func (b *inbox[T]) put(ctx context.Context, item T, size int, patience time.Duration, calls *calls) error {
	var timeout <-chan time.Time
	for {
		waiting, anotherCall := calls.waiting()
		b.mu.Lock()
		limit := b.limit
		if waiting {
			limit *= leeway
		}
		switch {
		case b.closed:
			b.mu.Unlock()
			return nil
		case b.bytes <= limit:
			b.items, b.sizes = append(b.items, item), append(b.sizes, size)
			b.bytes += size
			b.changed.notify()
			b.mu.Unlock()
			return nil
		}
		changed := b.changed.wait()
		b.mu.Unlock()
		if timeout == nil && patience > 0 {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-anotherCall:
		case <-timeout:
			return ErrSlow
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// push adds an item that has to be told, room or not.
func (b *inbox[T]) push(item T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.items, b.sizes = append(b.items, item), append(b.sizes, 0)
		b.changed.notify()
	}
}

// take waits for an item. After close it returns what is left, and then ok is false and err what it was closed with. The
// context's end is told before what is left.
func (b *inbox[T]) take(ctx context.Context) (item T, ok bool, err error) {
	for {
		if ctx.Err() != nil {
			return item, false, context.Cause(ctx)
		}
		b.mu.Lock()
		if len(b.items) > 0 {
			item, b.bytes = b.items[0], b.bytes-b.sizes[0]
			var zero T
			b.items[0] = zero
			b.items, b.sizes = b.items[1:], b.sizes[1:]
			b.changed.notify()
			b.mu.Unlock()
			return item, true, nil
		}
		if b.closed {
			b.mu.Unlock()
			return item, false, b.err
		}
		changed := b.changed.wait()
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// close ends the inbox behind what it holds.
func (b *inbox[T]) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed, b.err = true, err
		b.changed.notify()
	}
}

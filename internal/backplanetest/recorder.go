package backplanetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// Patience is how long the suite waits for what must happen. It is long: a busy machine is no failure.
const Patience = 20 * time.Second

// Message is one delivery.
type Message struct{ Channel, Payload string }

// Recorder keeps what a node delivers. Its Deliver and Flush are for Attach.
type Recorder struct {
	// React, if set before Attach, is called for each message after it was recorded, from Deliver.
	React func(Message)

	mu       sync.Mutex
	messages []Message
	inside   int // Deliver and Flush calls going on now
	overlaps int // with any other; a fault, unless several connections deliver
	busy     map[string]bool
	mixed    int // with another of the same channel; a fault always
	unsaid   int // delivered since the last flush
	flushes  int
	changed  chan struct{} // closed and replaced at every change
}

// NewRecorder makes an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{changed: make(chan struct{}), busy: make(map[string]bool)}
}

// Deliver records one message.
func (r *Recorder) Deliver(channel string, payload []byte) {
	m := Message{channel, string(payload)}
	r.enter()
	r.mu.Lock()
	if r.busy[channel] {
		r.mixed++
	}
	r.busy[channel] = true
	r.mu.Unlock()
	if r.React != nil {
		r.React(m)
	}
	r.leave(func() {
		delete(r.busy, channel)
		r.messages = append(r.messages, m)
		r.unsaid++
	})
}

// Flush records a flush.
func (r *Recorder) Flush() {
	r.enter()
	r.leave(func() { r.unsaid, r.flushes = 0, r.flushes+1 })
}

func (r *Recorder) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside++; r.inside > 1 {
		r.overlaps++
	}
}

func (r *Recorder) leave(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside--
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Messages is what came so far.
func (r *Recorder) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// On is the payloads that came on one channel so far.
func (r *Recorder) On(channel string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var payloads []string
	for _, m := range r.messages {
		if m.Channel == channel {
			payloads = append(payloads, m.Payload)
		}
	}
	return payloads
}

// Wait waits until n messages have come and the last of them was flushed, and gives all that came.
func (r *Recorder) Wait(t testing.TB, n int) []Message {
	t.Helper()
	r.until(t, "messages", func() bool { return len(r.messages) >= n && r.unsaid == 0 })
	return r.Messages()
}

// WaitFor waits until a payload has come on a channel.
func (r *Recorder) WaitFor(t testing.TB, channel, payload string) {
	t.Helper()
	at := 0
	r.until(t, channel+" "+payload, func() bool {
		for ; at < len(r.messages); at++ {
			if r.messages[at] == (Message{channel, payload}) {
				return true
			}
		}
		return false
	})
}

func (r *Recorder) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		ok, changed, got := done(), r.changed, len(r.messages)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("waited in vain for %s; %d messages came", what, got)
		}
	}
}

// check fails the test if deliveries overlapped that must not.
func (r *Recorder) check(t testing.TB, parallel bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlaps > 0 && !parallel {
		t.Errorf("deliver and flush overlapped %d times", r.overlaps)
	}
	if r.mixed > 0 {
		t.Errorf("messages of one channel were delivered at the same time %d times", r.mixed)
	}
}

// Context gives a context that ends with the suite's patience.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

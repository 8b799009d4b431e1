package hub

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestPause lets somebody who waits for the network go first, while something is always ready to run.
func TestPause(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var heard atomic.Bool
	waits, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		var b [1]byte
		close(waits)
		if _, err := r.Read(b[:]); err != nil {
			t.Error(err)
		}
		heard.Store(true)
	}()
	<-waits
	p := newPause()
	defer p.close()
	if p.r == nil {
		t.Fatal("there is no pipe to be had")
	}
	p.take() // the other one now waits for the network
	if _, err := w.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may find out in the first, and run in the second
		p.take()
	}
	if !heard.Load() {
		t.Error("two pauses have passed, and what had come from the network before was not seen")
	}
	<-over
}

// TestPauseWithoutPipe makes pauses that let only those go first who can run.
func TestPauseWithoutPipe(t *testing.T) {
	p := newPause()
	p.close()
	p.take()
}

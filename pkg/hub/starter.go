package hub

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// startAtOnce is how many writers are started for each core before what has come from the network gets its turn. A few
// writes take as long as a message needs to get here through Redis.
const startAtOnce = 4

// shortList is how many writers are started at once whatever else there is: for so few, a pause costs more than what it lets join.
const shortList = 32

// starter starts the writers of long lists a few at a time. Go looks at the network only when nothing else is to run, so
// that a thousand writers started together would all write the first of several messages before the second was even read,
// and then all of them again. In between it is looked at: what comes meanwhile is queued for those that have not begun, and
// leaves with what waits there. No writer waits for anything but others' writing, which it would otherwise do as well.
type starter struct {
	server *Server

	mu      sync.Mutex
	lists   []*wakeList
	running bool
}

// start takes a list over. Short ones are started at once, also past long ones that are under way.
func (s *starter) start(w *wakeList) {
	if len(w.conns) <= max(shortList, startAtOnce*runtime.GOMAXPROCS(0)) {
		w.flush()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists = append(s.lists, w)
	if !s.running {
		s.running = true
		s.server.work.Add(1) // never the first: connections that have something to write are at work
		go s.run()
	}
}

// run starts what waits, and ends.
func (s *starter) run() {
	defer s.server.leave()
	pause := newPause()
	defer pause.close()
	for w := s.next(); w != nil; w = s.next() {
		for len(w.conns) > 0 {
			n := min(startAtOnce*runtime.GOMAXPROCS(0), len(w.conns))
			for _, c := range w.conns[len(w.conns)-n:] {
				go c.out.run()
			}
			clear(w.conns[len(w.conns)-n:])
			if w.conns = w.conns[:len(w.conns)-n]; len(w.conns) > 0 {
				pause.take()
			}
		}
		w.flush()
	}
}

func (s *starter) next() *wakeList {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lists) == 0 {
		s.lists, s.running = nil, false
		return nil
	}
	w := s.lists[0]
	s.lists = s.lists[1:]
	return w
}

// pause lets others go first: all that can run, and all that the network has something for. It waits for a byte in a pipe, for
// which the runtime has to look at the network.
type pause struct {
	r, w  *os.File // nil when there is no pipe to be had
	raw   syscall.RawConn
	asked bool
	ask   func(uintptr) bool // made once, so that a pause allocates nothing
	b     [1]byte
}

func newPause() *pause {
	p := &pause{}
	var err error
	if p.r, p.w, err = os.Pipe(); err != nil {
		p.r, p.w = nil, nil
		return p
	}
	if p.raw, err = p.r.SyscallConn(); err != nil {
		p.close()
		return p
	}
	// The first time nothing has been written, and the byte then wakes whoever waits; the second time it is there.
	p.ask = func(uintptr) bool {
		if p.asked {
			return true
		}
		p.asked = true
		_, err := p.w.Write(p.b[:])
		return err != nil
	}
	return p
}

// take makes a pause. Without a pipe only what can run already goes first.
func (p *pause) take() {
	if p.r == nil {
		runtime.Gosched()
		return
	}
	p.asked = false
	err := p.raw.Read(p.ask)
	if err == nil {
		_, err = p.r.Read(p.b[:])
	}
	if err != nil {
		p.close()
	}
}

func (p *pause) close() {
	if p.r == nil {
		return
	}
	_ = p.r.Close() // nothing can be lost with them
	_ = p.w.Close()
	p.r, p.w = nil, nil
}

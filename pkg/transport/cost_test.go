package transport

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestWriteDoesNotAllocate(t *testing.T) {
	s := newSite(t)
	_, br, conn := s.rawClient(t, "")
	go func() { _, _ = io.Copy(io.Discard, br) }()
	lone := []*Frame{text("hello")}
	several := []*Frame{text("hello"), text(strings.Repeat("x", 1000)), text(strings.Repeat("y", maxJoined))}
	for name, frames := range map[string][]*Frame{"a lone frame": lone, "joined frames": several} {
		if n := testing.AllocsPerRun(500, func() {
			if err := conn.Write(frames); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per Write", name, n)
		}
	}
	conn.Abort()
}

func TestReadDoesNotAllocate(t *testing.T) {
	s := newSite(t)
	nc, _, conn := s.rawClient(t, "")
	message, b := []byte(masked(0x81, "hello")), make([]byte, 100)
	if n := testing.AllocsPerRun(500, func() {
		if _, err := nc.Write(message); err != nil {
			t.Fatal(err)
		}
		r, err := conn.Next()
		for err == nil {
			_, err = r.Read(b)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

// TestIdleConnection guards what makes an idle connection cheap: no HTTP request, no handler and no large buffer survive the
// upgrade. What is measured is the heap and the stacks of connections with a reader each, the clients' ends of the TCP
// connections included, which take about 0.3 KiB.
func TestIdleConnection(t *testing.T) {
	perConnection := idleCost(t, 1000)
	t.Logf("%d bytes per idle connection", perConnection)
	most := 7 << 10
	if raceDetector {
		most += 3 << 10 // stacks are twice as large
	}
	if perConnection > most {
		t.Errorf("%d bytes per idle connection, more than %d: what keeps a buffer or a request alive, or makes the stack grow?", perConnection, most)
	}
}

// TestIdlePolls guards what a client costs between two polls: nothing but a session and its reader, and whatever it may have posted.
func TestIdlePolls(t *testing.T) {
	const connections = 1000
	var readers sync.WaitGroup
	s := newSite(t)
	conns, requests := make([]Conn, 0, connections), make([]*Request, 0, connections)
	one := func() {
		token, _ := s.token(t)
		s.ask(t, "POST", "/chat?id="+token, "")
		s.ask(t, "GET", "/chat?id="+token, "")
		conn := receive(t, s.accepted)
		conns, requests = append(conns, conn), append(requests, receive(t, s.requests))
		readers.Go(func() { _, _ = conn.Next() })
	}
	for range 10 { // what is allocated once
		one()
	}
	before, goroutines := inUse(), runtime.NumGoroutine()
	for range connections {
		one()
	}
	perConnection, more := int(inUse()-before)/connections, runtime.NumGoroutine()-goroutines
	runtime.KeepAlive(requests)
	t.Logf("%d bytes per idle connection", perConnection)
	most := 6 << 10
	if raceDetector {
		most += 6 << 10
	}
	if perConnection > most {
		t.Errorf("%d bytes per idle connection, more than %d", perConnection, most)
	}
	if more > connections+10 {
		t.Errorf("%d goroutines for %d connections", more, connections)
	}
	for _, c := range conns {
		c.Abort()
	}
	readers.Wait()
}

func BenchmarkIdleConnection(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(idleCost(b, 4000)), "bytes/conn")
	}
}

func idleCost(t testing.TB, connections int) int {
	var readers sync.WaitGroup
	s := newSite(t)
	conns := make([]Conn, 0, connections)
	clients := make([]net.Conn, 0, connections)
	requests := make([]*Request, 0, connections) // a hub keeps them
	one := func() {
		nc, _ := s.upgrade(t, masked(0x81, "hello"))
		conn := receive(t, s.accepted)
		clients = append(clients, nc)
		conns, requests = append(conns, conn), append(requests, receive(t, s.requests))
		read := make(chan struct{})
		readers.Go(func() {
			b := make([]byte, 16)
			r, err := conn.Next()
			for err == nil {
				_, err = r.Read(b)
			}
			close(read)
		})
		<-read
		readers.Go(func() { // on a stack of its own
			conn.Rest()
			_, _ = conn.Next()
		})
	}
	for range 10 { // what is allocated once
		one()
	}
	before := inUse()
	for range connections {
		one()
	}
	cost := int(inUse()-before) / connections
	runtime.KeepAlive(requests)
	for _, c := range conns {
		c.Abort()
	}
	for _, c := range clients {
		_ = c.Close()
	}
	readers.Wait()
	return cost
}

func inUse() uint64 {
	var m runtime.MemStats
	for range 3 { // finalizers and pools take more than one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func BenchmarkWrite(b *testing.B) {
	for name, n := range map[string]int{"one": 1, "ten": 10} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b)
			_, br, conn := s.rawClient(b, "")
			done := make(chan struct{})
			go func() { defer close(done); _, _ = io.Copy(io.Discard, br) }()
			frames := make([]*Frame, n)
			for i := range frames {
				frames[i] = text(strings.Repeat("x", 100))
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := conn.Write(frames); err != nil {
					b.Fatal(err)
				}
			}
			conn.Abort()
			<-done
		})
	}
}

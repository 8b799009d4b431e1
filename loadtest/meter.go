package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// meter samples members and processes, and sums up.
type meter struct {
	members []member
	pids    []int
	start   time.Time
	last    time.Time
	cpu     []int64 // of pids, at the last sample
	own     int64
	errors  map[string]int64
	points  []point
	usage   []usage
	ended   map[int]bool // processes that are there no more
}

// window is what was measured between two moments.
type window struct {
	seconds               float64
	sent, delivered       int64
	bytes, pings          int64
	latency               *hdrhistogram.Histogram
	cpu                   []int64
	own                   int64
	from                  time.Time
	startCPU              []int64
	startOwn, connections int64
}

func newMeter(members []member, pids, beside []int) (*meter, error) {
	m := &meter{members: members, pids: slices.Concat(pids, beside), start: time.Now(), errors: make(map[string]int64), ended: make(map[int]bool)}
	m.last = m.start
	for i, pid := range m.pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return nil, err
		}
		memory, err := processMemory(pid)
		if err != nil {
			return nil, err
		}
		m.cpu = append(m.cpu, cpu)
		m.usage = append(m.usage, usage{PID: pid, Name: processName(pid), MemoryBefore: memory, MemoryPeak: memory, Beside: i >= len(pids)})
	}
	m.own = ownCPU()
	return m, nil
}

// begin starts a window, behind a sample that was just taken.
func (m *meter) begin() *window {
	return &window{from: m.last, latency: newHistogram(), startCPU: append([]int64(nil), m.cpu...), startOwn: m.own}
}

// end closes a window, behind a sample that was just taken.
func (m *meter) end(w *window) {
	w.seconds = m.last.Sub(w.from).Seconds()
	for i, cpu := range m.cpu {
		w.cpu = append(w.cpu, cpu-w.startCPU[i])
	}
	w.own = m.own - w.startOwn
}

// sample takes one, and adds it to the window, if there is one.
func (m *meter) sample(phase string, w *window) (point, error) {
	sum, h := sample{}, newHistogram()
	failures := int64(0)
	own := int64(0)
	for _, mb := range m.members {
		s, err := mb.sample()
		if err != nil {
			return point{}, err
		}
		sum.Open += s.Open
		sum.Sent += s.Sent
		sum.Delivered += s.Delivered
		sum.Bytes += s.Bytes
		sum.Pings += s.Pings
		for text, n := range s.Errors {
			m.errors[text] += n
			failures += n
		}
		own += s.CPU
		if s.Latency == nil {
			continue
		}
		part, err := hdrhistogram.Decode(s.Latency)
		if err != nil {
			return point{}, fmt.Errorf("a worker's histogram: %w", err)
		}
		h.Merge(part)
	}
	if m.members[0].pid() != 0 {
		own += ownCPU()
	}
	at := time.Now()
	pt := point{
		At: at.Sub(m.start).Seconds(), Phase: phase, Measured: w != nil, Seconds: at.Sub(m.last).Seconds(),
		Open: sum.Open, Sent: sum.Sent, Delivered: sum.Delivered, Errors: failures, Own: share(own-m.own, at.Sub(m.last)),
	}
	l := summarize(h, false)
	pt.P50, pt.P99, pt.Max = l.P50, l.P99, l.Max
	for i, pid := range m.pids {
		cpu, memory := m.process(pid, m.cpu[i])
		pt.CPU, pt.Memory = append(pt.CPU, share(cpu-m.cpu[i], at.Sub(m.last))), append(pt.Memory, memory)
		m.cpu[i] = cpu
		m.usage[i].Memory, m.usage[i].MemoryPeak = memory, max(m.usage[i].MemoryPeak, memory)
	}
	m.own, m.last = own, at
	m.points = append(m.points, pt)
	if w != nil {
		w.sent += sum.Sent
		w.delivered += sum.Delivered
		w.bytes += sum.Bytes
		w.pings += sum.Pings
		w.connections = sum.Open
		w.latency.Merge(h)
	}
	return pt, nil
}

// process is the CPU time and the memory of a process. One that has ended uses no more than before, and is an error of the run, once.
func (m *meter) process(pid int, before int64) (cpu, memory int64) {
	cpu, err := processCPU(pid)
	if err == nil {
		memory, err = processMemory(pid)
	}
	if err == nil {
		return cpu, memory
	}
	if !m.ended[pid] {
		m.ended[pid] = true
		m.errors[fmt.Sprintf("process %d has ended", pid)]++
	}
	return before, 0
}

// share is how much of one core was used.
func share(cpu int64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return float64(cpu) / float64(span)
}

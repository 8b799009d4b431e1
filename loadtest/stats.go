package main

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of latencies, in microseconds.
const (
	leastLatency = 1
	mostLatency  = 10 * 60 * 1_000_000
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(leastLatency, mostLatency, 3) }

// stats is what the connections of one worker have seen since the last sample.
type stats struct {
	shards [statShards]statShard
	sent   atomic.Int64
	open   atomic.Int64 // connections that are up; not reset

	mu     sync.Mutex
	errors map[string]int64
}

// statShards keeps connections from waiting for each other's lock.
const statShards = 4

type statShard struct {
	mu        sync.Mutex
	latency   *hdrhistogram.Histogram
	delivered int64
	bytes     int64
	pings     int64
	_         [64]byte
}

func newStats() *stats {
	s := &stats{errors: make(map[string]int64)}
	for i := range s.shards {
		s.shards[i].latency = newHistogram()
	}
	return s
}

// count notes what one read brought: how many messages of ours, and the latency of each, in nanoseconds.
func (s *stats) count(connection, bytes int, latencies []int64) {
	sh := &s.shards[connection%statShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.bytes += int64(bytes)
	sh.delivered += int64(len(latencies))
	for _, ns := range latencies {
		_ = sh.latency.RecordValue(min(max(ns/1000, leastLatency), mostLatency)) // it fails out of range only
	}
}

func (s *stats) pinged(connection int) {
	sh := &s.shards[connection%statShards]
	sh.mu.Lock()
	sh.pings++
	sh.mu.Unlock()
}

// maxErrors bounds how many texts of errors are told apart.
const maxErrors = 50

// fail counts an error by its text.
func (s *stats) fail(what string, err error) {
	text := what
	if err != nil {
		text += ": " + shorten(err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.errors[text]; !known && len(s.errors) >= maxErrors {
		text = "other errors"
	}
	s.errors[text]++
}

// shorten takes what differs from connection to connection out of an error's text: "read tcp 127.0.0.1:53124->127.0.0.1:8080: …".
func shorten(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		if from, _, ok := strings.Cut(w, "->"); ok && strings.Contains(from, ":") {
			words[i] = ""
		}
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// sample is what has happened in a stretch of time. It travels from workers to the coordinator.
type sample struct {
	Open      int64
	Sent      int64
	Delivered int64
	Bytes     int64
	Pings     int64
	Errors    map[string]int64
	Latency   []byte // an encoded histogram; nil when empty
	CPU       int64  // of the worker, nanoseconds since it started; not of the stretch
}

// take returns what has happened since the last take.
func (s *stats) take() (sample, error) {
	out := sample{Open: s.open.Load(), Sent: s.sent.Swap(0), Errors: make(map[string]int64)}
	sum := newHistogram()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		if sh.latency.TotalCount() > 0 {
			sum.Merge(sh.latency)
			sh.latency.Reset()
		}
		out.Delivered += sh.delivered
		out.Bytes += sh.bytes
		out.Pings += sh.pings
		sh.delivered, sh.bytes, sh.pings = 0, 0, 0
		sh.mu.Unlock()
	}
	s.mu.Lock()
	out.Errors, s.errors = s.errors, out.Errors
	s.mu.Unlock()
	if sum.TotalCount() == 0 {
		return out, nil
	}
	var err error
	out.Latency, err = sum.EncodeV2()
	return out, err
}

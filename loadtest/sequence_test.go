package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSequence(t *testing.T) {
	for _, test := range []struct {
		name    string
		arrived []uint64
		sent    uint64
		want    verdict
	}{
		{"all", []uint64{0, 1, 2}, 3, verdict{}},
		{"nothing", nil, 0, verdict{}},
		{"none of them", nil, 3, verdict{Lost: 3}},
		{"one lost", []uint64{0, 2}, 3, verdict{Lost: 1}},
		{"the last lost", []uint64{0, 1}, 3, verdict{Lost: 1}},
		{"one doubled", []uint64{0, 1, 1, 2}, 3, verdict{Doubled: 1}},
		{"one doubled later", []uint64{0, 1, 2, 0}, 3, verdict{Doubled: 1}},
		{"two swapped", []uint64{0, 2, 1, 3}, 4, verdict{OutOfOrder: 1}},
		{"late and doubled", []uint64{0, 2, 1, 1}, 3, verdict{OutOfOrder: 1, Doubled: 1}},
	} {
		var s sequence
		var v verdict
		for _, n := range test.arrived {
			s.arrived(n, &v)
		}
		s.finish(test.sent, &v)
		if diff := cmp.Diff(test.want, v); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestStamp(t *testing.T) {
	s := newStamper(0xabcd, 100)
	want := stamp{sender: 7, channel: 1234, number: 56789, due: now()}
	text := s.append(nil, want)
	if len(text) != 100 {
		t.Errorf("a message has %d bytes, want 100", len(text))
	}
	got, intact, ok := s.find([]byte(`{"type":1,"target":"X","arguments":["u","` + string(text) + `"]}`))
	if got != want || !intact || !ok {
		t.Errorf("found %+v, intact %v, ok %v; want %+v", got, intact, ok, want)
	}
	text[len(text)-1] = 'y'
	if _, intact, ok = s.find(text); intact || !ok {
		t.Errorf("a message with another end: intact %v, ok %v", intact, ok)
	}
	if _, intact, ok = s.find(text[:20]); intact || !ok {
		t.Errorf("half a message: intact %v, ok %v", intact, ok)
	}
	if _, _, ok = newStamper(0xabce, 100).find(text); ok {
		t.Error("found a message of another run")
	}
}

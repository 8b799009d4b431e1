package clustertest

import (
	"errors"
	"strings"
	"testing"
)

// TestCheck holds the checks to what they are for: each defect is found, and what is right is not one.
func TestCheck(t *testing.T) {
	type world struct {
		*model
		ann, ben, eve *conn // eve is in no room
	}
	send := func(w world, from *conn, channel string, err error) string {
		msg := from.send(channel, nil)
		w.sent(msg, err)
		return "m" + string(rune('0'+msg.id))
	}
	give := func(to *conn, texts ...string) {
		for _, text := range texts {
			to.receive(text)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(w world)
		want string // in the only problem; empty for none
	}{
		{"right", func(w world) {
			a, b := send(w, w.ann, "group:r", nil), send(w, w.ann, "group:r", nil)
			give(w.ann, a, b)
			give(w.ben, a, b)
		}, ""},
		{"twice", func(w world) {
			a := send(w, w.ann, "user:ben", nil)
			give(w.ben, a, a)
		}, "twice: m0, number 0 to user:ben"},
		{"twice, in another round", func(w world) {
			a := send(w, w.ann, "user:ben", nil)
			give(w.ben, a)
			w.check()
			w.endRound()
			give(w.ben, a)
		}, "twice"},
		{"wrong order", func(w world) {
			a, b := send(w, w.ann, "user:ben", nil), send(w, w.ann, "user:ben", nil)
			give(w.ben, b, a)
		}, "wrong order, number 1 before number 0"},
		{"wrong order, in another round", func(w world) {
			a, b := send(w, w.ann, "user:ben", errors.New("maybe")), send(w, w.ann, "user:ben", nil)
			give(w.ben, b)
			w.check()
			w.endRound()
			give(w.ben, a)
		}, "wrong order"},
		{"two orders", func(w world) {
			a, b := send(w, w.ann, "group:r", nil), send(w, w.ben, "group:r", nil)
			give(w.ann, a, b)
			give(w.ben, b, a)
		}, "disagree about the order on group:r"},
		{"another user's", func(w world) {
			a := send(w, w.ann, "user:ben", nil)
			give(w.ben, a)
			give(w.eve, a)
		}, "another user's"},
		{"another connection's", func(w world) {
			a := send(w, w.ann, "connection:ben-id", nil)
			give(w.ben, a)
			give(w.eve, a)
		}, "another id"},
		{"no member", func(w world) {
			a := send(w, w.ann, "group:r", nil)
			give(w.ann, a)
			give(w.ben, a)
			give(w.eve, a)
		}, "no member"},
		{"a member no more", func(w world) {
			w.ben.leaving("r")
			w.ben.left("r")
			a := send(w, w.ann, "group:r", nil)
			give(w.ann, a)
			give(w.ben, a)
		}, "no member"},
		{"a member until a moment ago", func(w world) {
			a := send(w, w.ann, "group:r", nil)
			w.ben.leaving("r")
			w.ben.left("r")
			give(w.ann, a)
			give(w.ben, a)
		}, ""},
		{"excepted", func(w world) {
			msg := w.ann.send(toAll, w.ann)
			w.sent(msg, nil)
			give(w.ann, "m0")
			give(w.ben, "m0")
			give(w.eve, "m0")
		}, "excepted"},
		{"invented", func(w world) { give(w.ben, "m7") }, "nobody sent"},
		{"garbled", func(w world) { give(w.ben, "hello") }, "nobody sent"},
		{"a failed send need not arrive", func(w world) { send(w, w.ann, "user:ben", errors.New("maybe")) }, ""},
		{"nor one during an outage", func(w world) {
			end := w.outage()
			send(w, w.ann, "user:ben", nil)
			end()
		}, ""},
		{"who was not there yet", func(w world) {
			a := send(w, w.ann, "user:ben", nil)
			give(w.ben, a)
			late := w.open(&conn{actor: "late", user: "ben"})
			late.is("late-id")
		}, ""},
		{"who has left", func(w world) {
			send(w, w.ann, "user:ben", nil)
			w.ben.ends("left")
		}, ""},
		{"who joined in doubt", func(w world) {
			w.eve.joining("r")
			a := send(w, w.ann, "group:r", nil)
			give(w.ann, a)
			give(w.ben, a)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := world{model: newModel()}
			for who, c := range map[string]**conn{"ann": &w.ann, "ben": &w.ben, "eve": &w.eve} {
				*c = w.open(&conn{actor: who, user: who})
				(*c).is(who + "-id")
			}
			for _, c := range []*conn{w.ann, w.ben} {
				c.joined(c.joining("r"))
			}
			tt.do(w)
			w.check()
			switch {
			case tt.want == "" && len(w.problems) > 0:
				t.Errorf("%s", w.problems[0])
			case tt.want != "" && (len(w.problems) != 1 || !strings.Contains(w.problems[0], tt.want)):
				t.Errorf("%q\nwant one with %q", w.problems, tt.want)
			}
		})
	}
}

// TestCheckMissing: what did not come is missed. It is not waited for.
func TestCheckMissing(t *testing.T) {
	m := newModel()
	c := m.open(&conn{actor: "ann", user: "ann"})
	c.is("ann-id")
	m.sent(c.send(toAll, nil), nil)
	wants := m.wants()
	if len(wants[c]) != 1 || len(c.missing(wants[c])) != 1 {
		t.Fatalf("%v", wants)
	}
	if text := m.explain(c, wants[c][0]); !strings.Contains(text, "number 0 to all") {
		t.Error(text)
	}
	c.receive("m0")
	if missing := c.missing(wants[c]); len(missing) != 0 {
		t.Errorf("%v", missing)
	}
}

// TestExcuses: trouble of one node excuses what happened there, and presence only if it was the lease.
func TestExcuses(t *testing.T) {
	none, a := map[string]bool{}, map[string]bool{"a-1": true}
	for _, tt := range []struct {
		name                string
		s                   suspicion
		troubled, leaseless map[string]bool
		want                bool
	}{
		{"a call on a node that works", suspicion{nodes: []string{"b-1"}}, a, a, false},
		{"a call on a node in trouble", suspicion{nodes: []string{"a-1"}}, a, none, true},
		{"a call, nobody knows where, and all work", suspicion{nodes: []string{""}}, none, none, false},
		{"a call, nobody knows where, and one does not", suspicion{nodes: []string{""}}, a, none, true},
		{"a user on a node with slow clients", suspicion{nodes: []string{"a-1"}, lease: true}, a, none, false},
		{"a user on a node that lost its lease", suspicion{nodes: []string{"a-1"}, lease: true}, a, a, true},
		{"a user on another one too", suspicion{nodes: []string{"a-1", "b-1"}, lease: true}, a, a, false},
	} {
		if got := tt.s.excused(tt.troubled, tt.leaseless); got != tt.want {
			t.Errorf("%s: excused: %v", tt.name, got)
		}
	}
}

package backplane

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// send takes the next command of a table, as "+a b" or "-a b".
func send(tb *table) string {
	cmd := tb.next()
	if cmd == nil {
		return ""
	}
	text := "-"
	if cmd.subscribe {
		text = "+"
	}
	for i, c := range cmd.channels {
		if i > 0 {
			text += " "
		}
		text += c.name
	}
	return text
}

func linked(t *testing.T, standing ...string) *table {
	tb := newTable()
	if _, _, err := tb.want(standing); len(standing) > 0 && !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	tb.begin()
	return tb
}

// outcome is what a waiter has heard so far.
func outcome(w *waiter) string {
	select {
	case err := <-w.done:
		w.done <- err
		if err != nil {
			return err.Error()
		}
		return "confirmed"
	default:
		return "waits"
	}
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// Subscribe, unsubscribe and subscribe again, each sent before the first is confirmed: only the third confirmation is the
// one that the second Subscribe waits for.
func TestTableQuickChanges(t *testing.T) {
	tb := linked(t)
	w1, _, _ := tb.want([]string{"a"})
	check(t, "first", send(tb), "+a")
	tb.forget([]string{"a"})
	check(t, "first waiter", outcome(w1), "backplane: subscribe to a: it was unsubscribed meanwhile")
	check(t, "second", send(tb), "-a")
	w2, _, _ := tb.want([]string{"a"})
	check(t, "third", send(tb), "+a")
	for i, step := range []struct {
		subscribe bool
		want      string
	}{{true, "waits"}, {false, "waits"}, {true, "confirmed"}} {
		if _, err := tb.confirm(step.subscribe, "a"); err != nil {
			t.Fatal(i, err)
		}
		check(t, "second waiter", outcome(w2), step.want)
	}
	if w, _, err := tb.want([]string{"a"}); w != nil || err != nil {
		t.Error("a confirmed channel is waited for", err)
	}
}

// What changes back before it is sent is not sent, and what nobody wants leaves nothing behind.
func TestTableForgets(t *testing.T) {
	tb := linked(t)
	_, _, _ = tb.want([]string{"a", "b"})
	tb.forget([]string{"a"})
	check(t, "command", send(tb), "+b")
	tb.forget([]string{"b"})
	_, _, _ = tb.want([]string{"b"})
	check(t, "nothing to do", send(tb), "")
	tb.forget([]string{"b"})
	check(t, "command", send(tb), "-b")
	_, _ = tb.confirm(true, "b")
	_, _ = tb.confirm(false, "b")
	check(t, "channels left", len(tb.channels), 0)
	check(t, "wanted", tb.count(), 0)
}

// Any confirmation but the next one expected means that the link is not what we think it is.
func TestTableUnexpected(t *testing.T) {
	for name, c := range map[string]struct {
		subscribe bool
		channel   string
	}{
		"another channel": {true, "b"}, "an unknown channel": {true, "x"}, "the other kind": {false, "a"},
	} {
		tb := linked(t)
		_, _, _ = tb.want([]string{"a", "b"})
		check(t, "command", send(tb), "+a b")
		if _, err := tb.confirm(c.subscribe, c.channel); !errors.Is(err, errGap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tb := linked(t, "a")
	check(t, "command", send(tb), "+a")
	if _, err := tb.confirm(true, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := tb.confirm(true, "a"); !errors.Is(err, errGap) {
		t.Errorf("confirmed again: %v", err)
	}
}

// A link is whole once, when the last standing channel is confirmed, refused or given up; channels added later do not count.
func TestTableWhole(t *testing.T) {
	tb := linked(t, "a", "b", "c")
	if cmd := tb.next(); cmd == nil || len(cmd.channels) != 3 {
		t.Fatalf("%+v", cmd)
	}
	_, _, _ = tb.want([]string{"later"})
	known, whole := tb.refuse(errNoReply) // refused together: asked for one by one
	check(t, "refused together", []bool{known, whole}, []bool{true, false})
	unsettled := map[string]bool{"+a": true, "+b": true, "+c": true}
	n := 0
	count := func(whole bool) {
		if whole {
			n++
		}
		if whole && len(unsettled) > 0 {
			t.Errorf("whole before %v", unsettled)
		}
	}
	for text := send(tb); text != ""; text = send(tb) {
		delete(unsettled, text)
		switch text {
		case "+a":
			_, whole = tb.refuse(errNoReply)
		case "+b":
			_, whole = tb.forget([]string{"b"})
			count(whole)
			whole, _ = tb.confirm(true, "b")
		case "-b":
			whole, _ = tb.confirm(false, "b")
		case "+c", "+later":
			whole, _ = tb.confirm(true, text[1:])
		default:
			t.Fatalf("command %q", text)
		}
		count(whole)
	}
	check(t, "times whole", n, 1)
	if err := tb.refusal(); err == nil {
		t.Error("no refusal is reported")
	}
	tb.end(errSilent)
	check(t, "wanted", tb.count(), 3)
	check(t, "refusal after the end", tb.refusal(), nil)
}

package presence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/presencetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/presence"
)

// asker asks again and again whether users are online, and fails the test when one of them is said not to be.
func asker(t *testing.T, tracker presence.Tracker, users ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			online, err := tracker.Online(ctx, users...)
			switch {
			case err == nil && slices.Contains(online, false):
				t.Errorf("somebody is said to be offline: %v", online)
				return
			case err != nil && !errors.Is(err, presence.ErrUnavailable):
				t.Errorf("Online: %v", err)
			}
			time.Sleep(time.Millisecond) // on purpose: others need the machine, too
		}
	})
	stop = func() {
		cancel()
		asking.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// answers waits until a node can be asked again.
func answers(t *testing.T, n presence.Tracker) {
	t.Helper()
	presencetest.Eventually(t, "answers", func() bool {
		_, err := n.Online(t.Context(), "ann", "bob", "both")
		return err == nil
	})
}

// TestRedisLosesAll: a Redis that comes back empty changes nobody's state: no question is answered wrongly, no watcher is told
// anything.
func TestRedisLosesAll(t *testing.T) {
	for name, lose := range map[string]func(*redistest.Server){
		"emptied":   func(s *redistest.Server) { s.Do(t, "FLUSHALL") },
		"restarted": func(s *redistest.Server) { s.Restart() },
		"away": func(s *redistest.Server) {
			s.Stop()
			time.Sleep(2 * life) // it is to be away for longer than the leases
			s.Restart()
		},
		"stopped": func(s *redistest.Server) {
			s.Pause()
			time.Sleep(2 * life) // likewise
			s.Resume()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			a, b := runningNode(t, server, presence.RedisOptions{}), runningNode(t, server, presence.RedisOptions{})
			wa, wb := presencetest.NewRecorder(t, a), presencetest.NewRecorder(t, b)
			users := []string{"both"}
			for i := range 50 {
				user := fmt.Sprint("user-", i)
				users = append(users, user)
				[]*node{a, b}[i%2].Add(presence.Connection{ID: user, User: user})
			}
			a.Add(presence.Connection{ID: "1", User: "both"})
			b.Add(presence.Connection{ID: "2", User: "both"})
			presencetest.Eventually(t, "all are online", func() bool { return len(wa.Online()) == 51 && len(wb.Online()) == 51 })
			presencetest.Eventually(t, "they know each other", func() bool { return presence.Knows(a.Redis, 2) && presence.Knows(b.Redis, 2) })
			first, _, _ := a.cluster.Lease()
			outside, err := presence.NewRedis(presence.RedisOptions{URL: server.URL(), Prefix: "x:", Interval: interval, LeaseLife: life})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(runPart(t, outside.Run))
			presencetest.Eventually(t, "a program that is no node has looked", func() bool { return outside.State().Up })
			asker(t, a, users...)
			asker(t, b, users...)
			asker(t, outside, users...)
			lose(server)
			presencetest.Eventually(t, "another lease", func() bool { now, _, ok := a.cluster.Lease(); return ok && now != first })
			answers(t, a)
			answers(t, b)
			answers(t, outside)
			// The watchers follow the log again.
			a.Add(presence.Connection{ID: "new", User: "ann"})
			wa.Want("ann", "+")
			wb.Want("ann", "+")
			for _, w := range []*presencetest.Recorder{wa, wb} {
				for _, user := range users {
					if got := w.Of(user); got != "+" {
						t.Errorf("changes of %s: %q", user, got)
					}
				}
			}
			list, err := b.Connections(t.Context(), "both")
			if err != nil || len(list) != 2 {
				t.Errorf("connections: %v, %v", list, err)
			}
		})
	}
}

// TestBeginsAfterALoss: who begins while the nodes tell an empty Redis again what there is does not believe it yet.
func TestBeginsAfterALoss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := runningNode(t, server, presence.RedisOptions{}), runningNode(t, server, presence.RedisOptions{})
	b.Add(presence.Connection{ID: "1", User: "ann"})
	presencetest.Eventually(t, "online", func() bool {
		online, err := a.Online(t.Context(), "ann")
		return err == nil && online[0]
	})
	first, _, _ := a.cluster.Lease()
	b.proxy.Freeze()
	server.Do(t, "FLUSHALL")
	presencetest.Eventually(t, "one node is back", func() bool {
		now, _, ok := a.cluster.Lease()
		return ok && now != first && len(server.Do(t, "KEYS", "x:*:inc").([]any)) == 16
	})
	// It waits for longer than the nodes do, so that a busy machine does not make it believe too early for this test.
	late, err := presence.NewRedis(presence.RedisOptions{URL: server.URL(), Prefix: "x:", Interval: time.Second, LeaseLife: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runPart(t, late.Run))
	presencetest.Eventually(t, "it has looked", func() bool { return late.State().Up })
	if online, err := late.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("what a Redis that is being filled says is believed: %v, %v", online, err)
	}
	b.proxy.Thaw()
	presencetest.Eventually(t, "online again", func() bool {
		online, err := late.Online(t.Context(), "ann")
		return err == nil && online[0]
	})
}

// TestIdleOutsider: a program that is no node, and that nobody asks meanwhile, believes Redis again when the nodes have told it everything.
func TestIdleOutsider(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := runningNode(t, server, presence.RedisOptions{})
	n.Add(presence.Connection{ID: "1", User: "ann"})
	if err := n.Settle(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	outsider := func() *presence.Redis {
		r, err := presence.NewRedis(presence.RedisOptions{URL: server.URL(), Prefix: "x:", Interval: interval, LeaseLife: life})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(runPart(t, r.Run))
		return r
	}
	// believes waits, without a question, until all is believed that is of another epoch than before.
	believes := func(r *presence.Redis, before [16]string) [16]string {
		t.Helper()
		presencetest.Eventually(t, "believing", func() bool {
			now := presence.Believed(r)
			for k := range now {
				if now[k] == "" || now[k] == before[k] {
					return false
				}
			}
			return true
		})
		return presence.Believed(r)
	}
	online := func(r *presence.Redis) {
		t.Helper()
		if got, err := r.Online(t.Context(), "ann"); err != nil || !got[0] {
			t.Errorf("Online: %v, %v", got, err)
		}
	}
	was := outsider()
	before := believes(was, [16]string{})
	first, _, _ := n.cluster.Lease()
	server.Do(t, "FLUSHALL")
	if got, err := was.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("Online, of a Redis that has lost all: %v, %v", got, err)
	}
	presencetest.Eventually(t, "the node is back", func() bool {
		now, _, ok := n.cluster.Lease()
		return ok && now != first && len(server.Do(t, "KEYS", "x:*:inc").([]any)) == 16
	})
	begins := outsider()
	believes(was, before)
	online(was)
	believes(begins, before)
	online(begins)

	// Without any node there is nothing to be told. It looks on for one, but not as often as while nodes are coming back.
	n.kill()
	server.Do(t, "FLUSHALL")
	if got, err := was.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("Online, of a Redis that has lost all: %v, %v", got, err)
	}
	presencetest.Eventually(t, "doubting", func() bool { return presence.Believed(was) == [16]string{} })
	presencetest.Eventually(t, "looking less often", func() bool { return presence.Pause(was) >= interval/2 })
	back := runningNode(t, server, presence.RedisOptions{})
	back.Add(presence.Connection{ID: "2", User: "ann"})
	believes(was, [16]string{})
	online(was)
}

// TestFailoverLosesWrites: the replica that becomes the primary has not got the last writes. Nobody goes offline who is connected, and
// everybody is known again.
func TestFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinels(t, 1)
	options := presence.RedisOptions{Grace: 2 * time.Second}
	a, b := startNodeAt(t, s.URL(), "x:", options), startNodeAt(t, s.URL(), "x:", options)
	a.wait(t)
	b.wait(t)
	w := presencetest.NewRecorder(t, a)
	a.Add(presence.Connection{ID: "1", User: "stays"})
	a.Add(presence.Connection{ID: "2", User: "comes back"})
	w.Want("stays", "+")
	w.Want("comes back", "+")
	a.Remove("2")
	connections := func(user string) int {
		list, err := a.Connections(t.Context(), user)
		if err != nil {
			return -1
		}
		return len(list)
	}
	presencetest.Eventually(t, "leaving", func() bool { return connections("comes back") == 0 })
	s.Primary.Do(t, "WAIT", 1, 10_000)
	s.Replica.Pause()
	b.Add(presence.Connection{ID: "3", User: "comes back"}) // the replica will not know
	b.Add(presence.Connection{ID: "4", User: "new"})
	presencetest.Eventually(t, "back", func() bool { return connections("comes back") == 1 && connections("new") == 1 })
	s.Primary.Stop()
	s.Replica.Resume()
	s.WaitPrimary(t, s.Replica)
	presencetest.Eventually(t, "all are known to the new primary", func() bool {
		return connections("stays") == 1 && connections("comes back") == 1 && connections("new") == 1
	})
	a.Add(presence.Connection{ID: "5", User: "later"})
	w.Want("later", "+") // and followed again
	for _, user := range []string{"stays", "comes back", "new"} {
		if got := w.Of(user); got != "+" {
			t.Errorf("changes of %q: %q", user, got)
		}
	}
}

// TestNodeCutOff: a node that cannot reach Redis for longer than its lease loses its users there, not its connections, and is itself
// again afterwards.
func TestNodeCutOff(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var mu sync.Mutex
	causes := make(map[presence.Cause]int)
	a := runningNode(t, server, presence.RedisOptions{Grace: -1})
	b := runningNode(t, server, presence.RedisOptions{Grace: -1, Hooks: presence.Hooks{Announced: func(_ int, cause presence.Cause) {
		mu.Lock()
		defer mu.Unlock()
		causes[cause]++
	}}})
	w := presencetest.NewRecorder(t, a)
	b.Add(presence.Connection{ID: "1", User: "ann"})
	b.Add(presence.Connection{ID: "2", User: "bob"})
	b.Add(presence.Connection{ID: "3", User: "both"})
	a.Add(presence.Connection{ID: "4", User: "both"})
	w.Want("ann", "+")
	w.Want("bob", "+")
	presencetest.Eventually(t, "both connections", func() bool {
		list, err := a.Connections(t.Context(), "both")
		return len(list) == 2 && err == nil
	})
	first, _, _ := b.cluster.Lease()
	b.proxy.Freeze()
	w.Want("ann", "+-")
	w.Want("bob", "+-")
	if _, err := b.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("the node that is cut off says %v", err)
	}
	b.Remove("2") // while nobody can be told
	b.Add(presence.Connection{ID: "5", User: "eve"})
	b.proxy.Thaw()
	w.Want("ann", "+-+")
	w.Want("eve", "+")
	presencetest.Eventually(t, "bob is not there", func() bool {
		list, err := a.Connections(t.Context(), "bob")
		return len(list) == 0 && err == nil
	})
	if second, _, _ := b.cluster.Lease(); second == first {
		t.Error("the node is the same as before")
	}
	if got := w.Of("both"); got != "+" {
		t.Errorf("changes of a user who was also elsewhere: %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if causes[presence.Started] != 1 || causes[presence.Lost] == 0 {
		t.Errorf("announced: %v", causes)
	}
}

// TestLostReplies: what was not answered is sent again, and counts once.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var mu sync.Mutex
	outcomes := make(map[presence.Outcome]int)
	n := runningNode(t, server, presence.RedisOptions{Grace: -1, Hooks: presence.Hooks{Batch: func(_ int, o presence.Outcome, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[o]++
	}}})
	other := runningNode(t, server, presence.RedisOptions{})
	w := presencetest.NewRecorder(t, other)
	n.Add(presence.Connection{ID: "first", User: "first"})
	w.Want("first", "+")
	for i := range 10 {
		id := fmt.Sprint("id-", i)
		lost := n.proxy.CutAfter(id)
		n.Add(presence.Connection{ID: id, User: "ann"})
		<-lost
		w.Want("ann", strings.Repeat("+-", i)+"+")
		n.Remove(id)
		w.Want("ann", strings.Repeat("+-", i+1))
	}
	mu.Lock()
	defer mu.Unlock()
	if outcomes[presence.Repeated] < 10 || outcomes[presence.Refused] > 0 {
		t.Errorf("batches: %v", outcomes)
	}
}

// TestTooManyChanges: when more waits than may, the node announces what is there instead.
func TestTooManyChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	overflows := make(chan int, 10)
	n := runningNode(t, server, presence.RedisOptions{Hooks: presence.Hooks{Announced: func(connections int, cause presence.Cause) {
		if cause == presence.Overflow {
			overflows <- connections
		}
	}}})
	w := presencetest.NewRecorder(t, n)
	n.Add(presence.Connection{ID: "first", User: "ann"})
	w.Want("ann", "+")
	server.Pause()
	for i := range 20_000 {
		id := fmt.Sprint(i)
		n.Add(presence.Connection{ID: id, User: "ann"})
		if i%2 == 0 {
			n.Remove(id)
		}
	}
	server.Resume()
	if got := <-overflows; got != 10_001 {
		t.Errorf("%d connections announced", got)
	}
	presencetest.Eventually(t, "all are known", func() bool {
		list, err := n.Connections(t.Context(), "ann")
		return len(list) == 10_001 && err == nil
	})
	if got := w.Of("ann"); got != "+" {
		t.Errorf("changes: %q", got)
	}
}

// TestNothingIsLeft: when all nodes have left and nobody is in its grace period, what stays in Redis ends by itself.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := runningNode(t, server, presence.RedisOptions{Grace: -1}), runningNode(t, server, presence.RedisOptions{Grace: -1})
	w := presencetest.NewRecorder(t, a)
	for i := range 600 {
		[]*node{a, b}[i%2].Add(presence.Connection{ID: fmt.Sprint(i), User: fmt.Sprint("user-", i%100)})
	}
	b.Add(presence.Connection{ID: "anonymous"})
	presencetest.Eventually(t, "all are online", func() bool { return len(w.Online()) == 100 })
	b.stop() // its connections have not been removed before
	presencetest.Eventually(t, "only those of the other node are there", func() bool {
		list, err := a.Connections(t.Context(), "user-7")
		return err == nil && len(list) == 0 && len(w.Online()) == 50
	})
	a.stop()
	var lasting []string
	for _, key := range server.Do(t, "KEYS", "*").([]any) {
		switch ttl := server.Do(t, "PTTL", key).(int64); {
		case ttl < 0:
			lasting = append(lasting, key.(string))
		case ttl > (24 * time.Hour).Milliseconds():
			t.Errorf("%s stays for %d ms", key, ttl)
		}
	}
	slices.Sort(lasting)
	if !slices.Equal(lasting, []string{"x:meta", "x:secret"}) {
		t.Errorf("left for ever: %v", lasting)
	}
}

// TestWithoutANode: a program with nothing but a Redis address asks and watches.
func TestWithoutANode(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	outside, err := presence.NewRedis(presence.RedisOptions{URL: server.URL(), Prefix: "x:", Interval: interval, LeaseLife: life})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := outside.Online(t.Context(), "ann"); err != nil || got[0] {
		t.Errorf("in an empty cluster: %v, %v", got, err)
	}
	n := runningNode(t, server, presence.RedisOptions{Grace: -1})
	n.Add(presence.Connection{ID: "1", User: "ann"})
	presencetest.Eventually(t, "online", func() bool {
		got, err := outside.Online(t.Context(), "ann")
		return err == nil && got[0]
	})
	stop := runPart(t, outside.Run)
	w := presencetest.NewRecorder(t, outside)
	n.Add(presence.Connection{ID: "2", User: "bob"})
	w.Want("bob", "+")
	server.Do(t, "FLUSHALL")
	n.Add(presence.Connection{ID: "3", User: "eve"})
	w.Want("eve", "+")
	if w.Of("bob") != "+" || w.Of("ann") != "" {
		t.Errorf("changes of ann and bob: %q, %q", w.Of("ann"), w.Of("bob"))
	}
	outside.Add(presence.Connection{ID: "4", User: "nobody"})
	presencetest.Eventually(t, "what a program adds that is no node means nothing", func() bool {
		got, err := outside.Online(t.Context(), "nobody")
		return err == nil && !got[0]
	})
	stop()
	if _, err := outside.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// TestOtherLayout: a version of the program that means something else by the keys is refused.
func TestOtherLayout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "SET", "x:meta", "9 64")
	n := startNode(t, server, presence.RedisOptions{})
	presencetest.Eventually(t, "complaining", func() bool {
		err := n.State().Err
		return err != nil && strings.Contains(err.Error(), "x:meta") && strings.Contains(err.Error(), "9 64")
	})
	n.Add(presence.Connection{ID: "1", User: "ann"})
	if _, err := n.Online(t.Context(), "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("Online: %v", err)
	}
	server.Do(t, "DEL", "x:meta")
	answers(t, n)
}

// TestGraceInRedis: a user goes offline when its grace period is over, and soon after.
func TestGraceInRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const grace = 700 * time.Millisecond
	n := runningNode(t, server, presence.RedisOptions{Grace: grace})
	w := presencetest.NewRecorder(t, n)
	// At first, nobody goes offline: another node might not have come back yet.
	n.Add(presence.Connection{ID: "0", User: "first"})
	n.Remove("0")
	w.Want("first", "+-")
	for i := range 3 {
		id := fmt.Sprint(i)
		n.Add(presence.Connection{ID: id, User: "ann"})
		w.Want("ann", strings.Repeat("+-", i)+"+")
		n.Remove(id)
		left := time.Now()
		w.Want("ann", strings.Repeat("+-", i+1))
		if took := time.Since(left); took < grace {
			t.Errorf("offline after %v", took)
		}
	}
}

func TestNewRedisRefuses(t *testing.T) {
	for name, o := range map[string]presence.RedisOptions{
		"no URL":        {},
		"bad URL":       {URL: "http://h"},
		"rare renewals": {URL: "redis://h", Interval: 2 * time.Second},
		"a short lease": {URL: "redis://h", LeaseLife: time.Second},
	} {
		if _, err := presence.NewRedis(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r, err := presence.NewRedis(presence.RedisOptions{URL: "redis://h"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hubfleet/hubfleet/internal/backplanetest"
	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// arrives publishes to every channel until each has brought a message, and fails the test if one brings a message twice.
func arrives(t testing.TB, r *Redis, rec *backplanetest.Recorder, what string, channels []string) {
	t.Helper()
	ctx := backplanetest.Context(t)
	for i, channel := range channels {
		for try := 0; ; try++ {
			payload := fmt.Sprint(what, " ", try)
			_, err := r.Publish(ctx, []byte(payload), channel)
			if err == nil {
				rec.WaitFor(t, channel, payload)
				break
			}
			if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrMaybeSent) || ctx.Err() != nil {
				t.Fatalf("channel %d: %v", i, err)
			}
			sleep(ctx, quick)
		}
		got := rec.On(channel)
		slices.Sort(got)
		if once := slices.Compact(slices.Clone(got)); len(once) != len(got) {
			t.Errorf("some messages came twice: %q", got)
		}
	}
}

// some are channels that fall into all shards and lanes.
func some() []string {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprint("channel ", i)
	}
	return names
}

func TestRedisSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinels(t, 3)
	var seen observer
	var log syncBuffer
	rec := backplanetest.NewRecorder()
	o := quickly(s.URL(), &seen)
	o.Logger = log.logger()
	r := start(t, o, rec.Deliver, rec.Flush)
	if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
		t.Fatal(err)
	}
	s.Sentinels[0].Stop() // the others will do
	s.Primary.Stop()
	_, err := r.Publish(t.Context(), nil, "x")
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrMaybeSent) {
		t.Errorf("without a primary: %v", err)
	}
	seen.waitGap(t, 1)
	waitReady(t, r)
	arrives(t, r, rec, "after the failover", some())
	if n := len(s.Replica.Do(t, "PUBSUB", "CHANNELS", "channel *").([]any)); n != len(some()) {
		t.Errorf("%d channels on the new primary, want %d", n, len(some()))
	}
	if seen.gaps.Load() != 1 || time.Duration(seen.lastGap.Load()) < 300*time.Millisecond {
		t.Errorf("%d gaps, the last of %v", seen.gaps.Load(), time.Duration(seen.lastGap.Load()))
	}
}

// Sentinels name another primary while the old one goes on as if nothing had happened: nothing comes through it any more, and
// the silence must not last.
func TestRedisSentinelNamesAnother(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinels(t, 1)
	other := redistest.Start(t)
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(s.URL(), &seen)
	r := start(t, o, rec.Deliver, rec.Flush)
	if err := r.Subscribe(backplanetest.Context(t), "x"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, port, _ := strings.Cut(other.Addr(), ":")
	s.Sentinels[0].Do(t, "SENTINEL", "REMOVE", redistest.PrimaryName)
	s.Sentinels[0].Do(t, "SENTINEL", "MONITOR", redistest.PrimaryName, "127.0.0.1", port, 1)
	seen.waitGap(t, 1)
	waitReady(t, r)
	arrives(t, r, rec, "there", []string{"x"})
	if n := other.Do(t, "PUBSUB", "NUMSUB", "x").([]any)[1]; n != int64(1) {
		t.Errorf("%v subscribers at the new primary", n)
	}
	if gap := time.Duration(seen.lastGap.Load()); gap > time.Since(began)+2*lookEvery {
		t.Errorf("a gap of %v, in a test of %v", gap, time.Since(began))
	}
}

// What keeps a kind of Redis from being used is said in words that help.
func TestRedisKindsRefused(t *testing.T) {
	plain := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, 1)
	nobody := redistest.Start(t)
	nobody.Stop()
	for _, c := range []struct {
		name, url, want string
	}{
		{"no cluster", plain.URL() + "?cluster=true", "it is no cluster"},
		{"nobody of a cluster", nobody.URL() + "?cluster=true", "connection refused"},
		{"no sentinel", "redis+sentinel://" + plain.Addr() + "/main", plain.Addr() + " is no sentinel"},
		{"unknown primary", "redis+sentinel://" + sentinels.Sentinels[0].Addr() + "/other", `knows no primary \"other\"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log syncBuffer
			r, stop := run(t, RedisOptions{URL: c.url, RetryMin: quick, RetryMax: quick, Logger: log.logger()}, nil, nil)
			defer stop()
			eventually(t, "explained", func() bool { return strings.Contains(log.String(), c.want) }, func() any { return log.String() })
			_, err := r.Publish(t.Context(), nil, "x")
			checkUnavailable(t, err)
		})
	}
}

func TestRedisClusterFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, true)
	for _, sharded := range []bool{false, true} {
		var seen observer
		rec := backplanetest.NewRecorder()
		o := quickly(c.URL(), &seen)
		o.Sharded, o.Prefix = sharded, fmt.Sprint(sharded, ":")
		r := start(t, o, rec.Deliver, rec.Flush)
		if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
			t.Fatal(err)
		}
		arrives(t, r, rec, "before", some())
		if !sharded {
			continue // one failover does for both
		}
		c.Owner(t, 0).Stop()
		eventually(t, "down", func() bool { return seen.downs.Load() > 0 }, func() any { return r.State() })
		seen.waitGap(t, 1)
		waitReady(t, r)
		arrives(t, r, rec, "after", some())
	}
}

// The ordinary kind survives the loss of the server that it subscribes at, and of those that it publishes through.
func TestRedisClusterOrdinaryFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, true)
	var seen observer
	rec := backplanetest.NewRecorder()
	r := start(t, quickly(c.URL(), &seen), rec.Deliver, rec.Flush)
	if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Masters {
		if n := len(s.Do(t, "PUBSUB", "CHANNELS").([]any)); n == 0 {
			continue
		}
		s.Stop()
		break
	}
	seen.waitGap(t, 1)
	waitReady(t, r)
	arrives(t, r, rec, "after", some())
	c.WaitWhole(t)
	if n, err := r.Subscribers(backplanetest.Context(t), some()[0]); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
}

// A shard whose slot is given to another server follows it, with all its channels.
func TestRedisShardMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, false)
	var seen observer
	rec := backplanetest.NewRecorder()
	o := quickly(c.URL(), &seen)
	o.Sharded = true
	r := start(t, o, rec.Deliver, rec.Flush)
	if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
		t.Fatal(err)
	}
	shard := shardTable[0]
	c.MoveSlot(t, shard.slot, c.Masters[2])
	seen.waitGap(t, 1)
	arrives(t, r, rec, "moved", some())
	waitReady(t, r)
	found := false
	for _, channel := range c.Masters[2].Do(t, "PUBSUB", "SHARDCHANNELS").([]any) {
		found = found || strings.HasPrefix(channel.(string), shard.tag)
	}
	if !found {
		t.Error("the channels of the shard are not where its slot is")
	}
}

// Sharded Pub/Sub spreads both subscriptions and messages over all servers, and uses nothing else.
func TestRedisShardsSpread(t *testing.T) {
	c := redistest.StartCluster(t, 3, false)
	rec := backplanetest.NewRecorder()
	r := start(t, RedisOptions{URL: c.URL(), Sharded: true, Prefix: "p:"}, rec.Deliver, rec.Flush)
	if err := r.Subscribe(backplanetest.Context(t), some()...); err != nil {
		t.Fatal(err)
	}
	arrives(t, r, rec, "spread", some())
	for i, s := range c.Masters {
		channels := s.Do(t, "PUBSUB", "SHARDCHANNELS", "p:{lane-*").([]any)
		stats := fmt.Sprint(s.Do(t, "INFO", "commandstats"))
		if len(channels) < len(some())/10 || !strings.Contains(stats, "cmdstat_spublish") || strings.Contains(stats, "cmdstat_publish") {
			t.Errorf("server %d: %d channels; %s", i, len(channels), stats)
		}
	}
	for i, s := range shardTable {
		if got := c.Masters[0].Do(t, "CLUSTER", "KEYSLOT", "p:"+s.tag+"x{y}"); got != int64(s.slot) || s.slot*shards/slots != i {
			t.Errorf("shard %d has slot %d; Redis says %v", i, s.slot, got)
		}
	}
}

// Who is subscribed at another server of the cluster counts, and nobody is said to be there when not all servers answer.
func TestRedisClusterSubscribers(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, false)
	rec := backplanetest.NewRecorder()
	r := start(t, RedisOptions{URL: c.URL(), Silence: time.Minute, ReplyTimeout: time.Minute}, rec.Deliver, rec.Flush)
	ctx := backplanetest.Context(t)
	if err := r.Subscribe(ctx, "mine"); err != nil {
		t.Fatal(err)
	}
	for i, s := range c.Masters { // as other nodes might
		other := s.Client(t, nil).Subscribe(ctx, "theirs", fmt.Sprint("only ", i))
		defer other.Close()
		for range 2 {
			if _, err := other.Receive(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(channel string, want int) {
		t.Helper()
		if n, err := r.Subscribers(ctx, channel); n != want || err != nil {
			t.Errorf("%s: %d subscribers, %v; want %d", channel, n, err, want)
		}
	}
	for channel, want := range map[string]int{"mine": 1, "theirs": 3, "only 0": 1, "only 1": 1, "only 2": 1, "nobody's": 0} {
		count(channel, want)
	}
	if n, err := r.Publish(ctx, nil, "only 1"); n != -1 || err != nil {
		t.Errorf("Publish says %d receivers, %v; it cannot know", n, err)
	}
	c.Masters[1].Pause()
	defer c.Masters[1].Resume()
	count("only 0", 1)
	if n, err := r.Subscribers(ctx, "only 1"); err == nil {
		t.Errorf("%d subscribers, although a server did not answer", n)
	} else {
		checkUnavailable(t, err)
	}
}

func TestReadView(t *testing.T) {
	slotsOf := func(ids ...string) (all []redis.ClusterSlot) {
		for i, id := range ids {
			all = append(all, redis.ClusterSlot{Start: i * 100, End: i*100 + 99, Nodes: []redis.ClusterNode{
				{ID: id, Addr: id + ".example:6379"}, {ID: id + "r", Addr: id + "r.example:6379"}}})
		}
		return all
	}
	const line = "%s 10.0.0.1:6379@16379 %s - 0 0 %d connected 0-99\n"
	nodes := func(flags ...string) (text string) {
		for i, f := range flags {
			text += fmt.Sprintf(line, string(rune('a'+i)), f, i+1)
		}
		return text
	}
	v, err := readView("seed.example:7", slotsOf("a", "b", "c"), nodes("myself,master", "master,fail", "master"))
	if err != nil {
		t.Fatal(err)
	}
	type pick struct {
		Addr string
		OK   bool
	}
	for slot, want := range map[int]pick{0: {"a.example:6379", true}, 99: {"a.example:6379", true}, 100: {"", false}, 250: {"c.example:6379", true}, 300: {"", false}} {
		got, err := v.pick(slot)
		if diff := cmp.Diff(want, pick{got.addr, err == nil}); diff != "" {
			t.Errorf("slot %d: %s, %v", slot, diff, err)
		}
	}
	for what, want := range map[string]bool{
		"a 0": true, "c 0": false, "b 100": false, "b 300": true, fmt.Sprint("b ", anySlot): false,
		fmt.Sprint("c ", anySlot): true, fmt.Sprint("ar ", anySlot): true, fmt.Sprint("x ", anySlot): false,
	} {
		var id string
		var slot int
		_, _ = fmt.Sscan(what, &id, &slot)
		if got := v.right(slot, spot{id: id}); got != want {
			t.Errorf("%q is right for slot %d: %v", id, slot, got)
		}
	}
	if v.epoch != 3 || len(v.masters) != 2 {
		t.Errorf("epoch %d, masters %v", v.epoch, v.masters)
	}
	if _, err := readView("x:1", slotsOf("a", "b", "c"), nodes("myself,master", "master,fail?", "master,fail?")); err == nil {
		t.Error("one that is cut off is believed")
	}
	if _, err := readView("x:1", nil, nodes("myself,master")); err == nil {
		t.Error("a cluster without slots is accepted")
	}
	own := []redis.ClusterSlot{{End: 1, Nodes: []redis.ClusterNode{{ID: "a", Addr: ":6380"}}}}
	if v, err = readView("seed.example:7", own, nodes("myself,master")); err != nil || v.masters[0].addr != "seed.example:6380" {
		t.Errorf("an address without a host became %v, %v", v, err)
	}
}

func TestShare(t *testing.T) {
	for _, n := range []int{1, 2, 4, shards} {
		counts := make([]int, n)
		for i := range 1000 * n {
			counts[share(fmt.Sprintf("Hub:connection:%032x", i), n)]++
		}
		if slices.Min(counts) < 850 || slices.Max(counts) > 1150 {
			t.Errorf("%d parts: %v", n, counts)
		}
	}
	if share("Hub:all", shards) != 9 {
		t.Errorf("Hub:all falls into another part than in other versions: %d", share("Hub:all", shards))
	}
}

// A look at the servers that nobody answers leaves everything as it is.
func TestTopologyKeepsWhatItKnows(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	var seen observer
	r := start(t, quickly(s.URL(), &seen), nil, nil)
	s.Sentinels[0].Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := r.dialer.topology.look(ctx); err == nil {
		t.Error("an answer without a sentinel")
	}
	if n, err := r.Publish(t.Context(), nil, "x"); n != 0 || err != nil {
		t.Error(n, err)
	}
	if seen.downs.Load() > 0 {
		t.Error("the links were cut although they work")
	}
}

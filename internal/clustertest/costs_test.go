package clustertest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
)

// BenchmarkRedis measures what Redis does for one of each thing, one after the other, with two nodes: commands, bytes that
// nodes sent to it and it sent to them, and its CPU. What it does anyway while nothing happens is measured first, and taken off.
func BenchmarkRedis(b *testing.B) {
	f := startFleet(b, 2, false, b.TempDir())
	here := &door{fleet: f, only: f.nodes[0], open: map[net.Conn]bool{}}
	idle := f.usage(b)
	wait := time.NewTimer(10 * time.Second)
	<-wait.C
	idle = f.usage(b).less(idle, nil)
	b.Run("idle second, two nodes", func(b *testing.B) {
		for b.Loop() {
		}
		idle.report(b, idle.took.Seconds())
	})
	measure := func(name string, before func(n int), do func(i int), after func()) {
		b.Run(name, func(b *testing.B) {
			if before != nil {
				before(b.N)
			}
			start := f.usage(b)
			for i := range b.N {
				do(i)
			}
			f.settle(b)
			f.usage(b).less(start, &idle).report(b, float64(b.N))
			if after != nil {
				after()
			}
		})
	}
	var clients []*client.Client
	connect := func(i int) { clients = append(clients, here.client(b, fmt.Sprintf("user%d", i))) }
	connectAll := func(n int) {
		for i := range n {
			connect(i)
		}
		f.settle(b)
	}
	disconnect := func(i int) { stopClient(clients[i]) }
	disconnectAll := func() {
		for i := range clients {
			disconnect(i)
		}
		clients = nil
		<-time.After(6 * time.Second) // the grace period, so that nothing of it is left for the next
	}
	call := func(i int, method string, args ...any) {
		if err := clients[i].Invoke(b.Context(), nil, method, args...); err != nil {
			b.Fatal(err)
		}
	}
	measure("connect, first of a user", nil, connect, disconnectAll)
	measure("connect, another of a user", connectAll, connect, disconnectAll)
	measure("disconnect, last of a user", connectAll, disconnect, func() { clients = nil })
	measure("join a group that is new here", connectAll, func(i int) { call(i, "JoinRoom", fmt.Sprintf("room%d", i)) }, disconnectAll)
	measure("join a group that has members here", func(n int) { connectAll(n + 1); call(n, "JoinRoom", "room") },
		func(i int) { call(i, "JoinRoom", "room") }, disconnectAll)
	measure("send to all", func(int) { connectAll(1) }, func(int) { call(0, "SendMessage", "ann", "hello") }, disconnectAll)
	measure("send to a group, members on one node", func(int) { connectAll(1); call(0, "JoinRoom", "room") },
		func(int) { call(0, "SendToRoom", "room", "ann", "hello") }, disconnectAll)
	measure("send to a connection of the same node", func(int) { connectAll(1) },
		func(int) { call(0, "SendToConnection", clients[0].ConnectionID(), "ann", "hello") }, disconnectAll)
	measure("ask for 100 users at once", func(int) { connectAll(1) }, func() func(int) {
		users := make([]string, 100)
		for i := range users {
			users[i] = fmt.Sprintf("user%d", i)
		}
		return func(int) { call(0, "Online", users) }
	}(), disconnectAll)
}

// client connects a user over a WebSocket.
func (d *door) client(t testing.TB, user string) *client.Client {
	t.Helper()
	c, err := client.New("http://cluster.test/chat?user="+user, client.Options{
		Transports: []client.Transport{client.WebSockets}, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: d.dial}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.On("ReceiveMessage", func(_, _ string) {})
	c.On("SystemMessage", func(string) {})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func stopClient(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_ = c.Stop(ctx) // or its node is gone
}

// A usage is what Redis has done.
type usage struct {
	at       time.Time
	took     time.Duration // of a difference
	in, out  float64       // bytes
	cpu      float64       // seconds
	commands map[string]float64
}

// usage asks Redis. The bytes of its answers to that do not count.
func (f *fleet) usage(t testing.TB) usage {
	t.Helper()
	u := usage{at: time.Now(), commands: map[string]float64{}}
	answer := f.redis.Do(t, "INFO", "everything").(string)
	told := f.told
	f.told += float64(len(answer))
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		number, _ := strconv.ParseFloat(value, 64)
		command, isCommand := strings.CutPrefix(name, "cmdstat_")
		switch {
		case name == "total_net_input_bytes":
			u.in = number
		case name == "total_net_output_bytes":
			u.out = number - told
		case name == "used_cpu_user", name == "used_cpu_sys":
			u.cpu += number
		case isCommand:
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			u.commands[strings.ReplaceAll(command, "|", " ")], _ = strconv.ParseFloat(calls, 64)
		}
	}
	return u
}

// less is what was done since, without what is done anyway in that time.
func (u usage) less(since usage, idle *usage) usage {
	d := usage{took: u.at.Sub(since.at), in: u.in - since.in, out: u.out - since.out, cpu: u.cpu - since.cpu, commands: map[string]float64{}}
	part := 0.0
	if idle != nil {
		part = d.took.Seconds() / idle.took.Seconds()
		d.in, d.out, d.cpu = d.in-part*idle.in, d.out-part*idle.out, d.cpu-part*idle.cpu
	}
	for name, n := range u.commands {
		d.commands[name] = n - since.commands[name]
		if idle != nil {
			d.commands[name] -= part * idle.commands[name]
		}
	}
	return d
}

// report gives the numbers for one of n. Commands that scripts run count too.
func (u usage) report(b *testing.B, n float64) {
	total, text := 0.0, []string{}
	for _, name := range slices.Sorted(maps.Keys(u.commands)) {
		each := u.commands[name] / n
		if each < 0.1 || name == "info" || name == "hello" || strings.HasPrefix(name, "client ") {
			continue
		}
		total += each
		text = append(text, fmt.Sprintf("%s %.2f", name, each))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(total, "commands/op")
	b.ReportMetric(u.in/n, "in-B/op")
	b.ReportMetric(u.out/n, "out-B/op")
	b.ReportMetric(u.cpu/n*1e6, "cpu-µs/op")
	b.Logf("%s: %s", b.Name(), strings.Join(text, ", "))
}

// settle waits until what nodes do behind a call's answer, such as leaving channels, is done: until Redis has done nothing but
// what it does anyway for a moment.
func (f *fleet) settle(t testing.TB) {
	t.Helper()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	last := -1.0
	for {
		now := f.usage(t).commands
		if n := now["subscribe"] + now["unsubscribe"] + now["publish"] + now["evalsha"] + now["eval"]; n == last {
			return
		} else if last >= 0 && n-last < 3 {
			return
		} else {
			last = n
		}
		<-tick.C
	}
}

// BenchmarkOffline measures the time from kill -9 of a node until a watcher on another node has been told that each of its users is
// offline. Run it as often as wanted with -benchtime=20x.
func BenchmarkOffline(b *testing.B) {
	f := startFleet(b, 3, false, b.TempDir())
	const users = 50
	var most, sum time.Duration
	for b.Loop() {
		victim := f.nodes[0]
		gone := make(chan string, 2*users)
		there := make(chan string, 2*users)
		d := &door{fleet: f, only: f.nodes[1], open: map[net.Conn]bool{}}
		watcher := d.client(b, "watcher")
		watcher.On("PresenceChanged", func(user string, online bool) {
			if online {
				there <- user
			} else {
				gone <- user
			}
		})
		if err := watcher.Invoke(b.Context(), nil, "WatchPresence"); err != nil {
			b.Fatal(err)
		}
		d = &door{fleet: f, only: victim, open: map[net.Conn]bool{}}
		var clients []*client.Client
		for i := range users {
			clients = append(clients, d.client(b, fmt.Sprintf("u%d", i)))
		}
		awaitUsers(b, there, users)
		killed := time.Now()
		victim.kill()
		awaitUsers(b, gone, users)
		took := time.Since(killed)
		most, sum = max(most, took), sum+took
		b.Logf("%s", took.Round(time.Millisecond))
		for _, c := range append(clients, watcher) {
			stopClient(c)
		}
		victim.start()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(most.Seconds(), "s-max")
	b.ReportMetric(sum.Seconds()/float64(b.N), "s-mean")
}

func awaitUsers(b *testing.B, told <-chan string, n int) {
	b.Helper()
	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	for seen := map[string]bool{}; len(seen) < n; {
		select {
		case user := <-told:
			if user != "watcher" {
				seen[user] = true
			}
		case <-limit.C:
			b.Fatalf("only %d of %d users after %s", len(seen), n, readyTimeout)
		}
	}
}

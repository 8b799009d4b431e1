// Command rolling holds many clients of pkg/client while nodes are drained and restarted one after the other, and tells what they
// saw of it. It writes one line when all are connected, and a report when its input ends; both are JSON. It exits with 1 when a client
// gave up, or got messages twice or out of order.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubfleet/hubfleet/pkg/client"
)

const (
	// patience bounds each start, and the way back of the last client.
	patience = time.Minute
	// starters is how many clients start at the same time.
	starters = 32
	// sendEvery is the time between two messages to all.
	sendEvery = 100 * time.Millisecond
)

// delays are those of the official clients.
var delays = []time.Duration{0, 2 * time.Second, 10 * time.Second, 30 * time.Second}

// fleet is all clients, and what they have seen.
type fleet struct {
	clients []*client.Client

	received, wrong, gaveUp atomic.Int64

	mu   sync.Mutex
	gaps []time.Duration // from losing a connection to having another one
}

// report is what is written in the end. Times are in milliseconds.
type report struct {
	Clients, Connected, GaveUp, Moves int
	Sent, Received                    int
	TwiceOrOutOfOrder                 int
	GapMedian, GapP99, GapMax         float64
}

func main() {
	url := flag.String("url", "", "the hub")
	count := flag.Int("clients", 1000, "how many")
	flag.Parse()
	if err := run(*url, *count); err != nil {
		fmt.Fprintln(os.Stderr, "rolling:", err)
		os.Exit(1)
	}
}

func run(url string, count int) error {
	f := &fleet{}
	if err := f.start(url, count); err != nil {
		return err
	}
	fmt.Printf("{\"ready\":%d}\n", count)
	ctx, stop := context.WithCancel(context.Background())
	var speaking sync.WaitGroup
	sent := 0
	speaking.Go(func() { sent = f.speak(ctx) })
	_, _ = io.Copy(io.Discard, os.Stdin)
	f.settle()
	stop()
	speaking.Wait()
	r := f.report(sent)
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	f.end()
	if r.GaveUp > 0 || r.Connected < r.Clients || r.TwiceOrOutOfOrder > 0 {
		return fmt.Errorf("not all went well: %+v", r)
	}
	return nil
}

// transportOf gives most clients a WebSocket, and each tenth one of the others.
func transportOf(i int) client.Transport {
	switch i % 10 {
	case 8:
		return client.ServerSentEvents
	case 9:
		return client.LongPolling
	}
	return client.WebSockets
}

func (f *fleet) start(url string, count int) error {
	f.clients = make([]*client.Client, count)
	errs := make([]error, count)
	next := make(chan int)
	var starting sync.WaitGroup
	for range starters {
		starting.Go(func() {
			for i := range next {
				f.clients[i], errs[i] = f.one(url, i)
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	starting.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("client %d did not start: %w", i, err)
		}
	}
	return nil
}

// one starts a client that notes what happens to it. Handlers and hooks of one client run one at a time.
func (f *fleet) one(url string, i int) (*client.Client, error) {
	var lost time.Time
	c, err := client.New(url, client.Options{
		Transports:        []client.Transport{transportOf(i)},
		StatefulReconnect: i%10 == 0,
		Reconnect:         client.ReconnectAfter(delays...),
		Hooks: client.Hooks{
			Reconnecting: func(error) { lost = time.Now() },
			Reconnected: func(string) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.gaps = append(f.gaps, time.Since(lost))
			},
			Closed: func(err error) {
				if err != nil {
					f.gaveUp.Add(1)
				}
			},
		},
	})
	if err != nil {
		return nil, err
	}
	last := -1
	c.On("ReceiveMessage", func(_, text string) {
		n, err := strconv.Atoi(text)
		if err != nil || n <= last {
			f.wrong.Add(1)
		}
		last = n
		f.received.Add(1)
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c, c.Start(ctx)
}

// speak sends numbers to all until ctx ends, and returns how many. While its client moves, a send fails; its number may have gone out.
func (f *fleet) speak(ctx context.Context) (sent int) {
	ticker := time.NewTicker(sendEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return sent
		case <-ticker.C:
		}
		if f.clients[0].Invoke(ctx, nil, "SendMessage", "rolling", strconv.Itoa(n)) == nil {
			sent++
		}
	}
}

// settle waits until all are connected, or have had their time.
func (f *fleet) settle() {
	for end := time.Now().Add(patience); f.connected() < len(f.clients)-int(f.gaveUp.Load()) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
}

func (f *fleet) connected() (n int) {
	for _, c := range f.clients {
		if c.State() == client.Connected {
			n++
		}
	}
	return n
}

func (f *fleet) report(sent int) report {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.gaps)
	at := func(share float64) float64 {
		if len(f.gaps) == 0 {
			return 0
		}
		return float64(f.gaps[min(len(f.gaps)-1, int(share*float64(len(f.gaps))))].Microseconds()) / 1000
	}
	return report{
		Clients: len(f.clients), Connected: f.connected(), GaveUp: int(f.gaveUp.Load()), Moves: len(f.gaps),
		Sent: sent, Received: int(f.received.Load()), TwiceOrOutOfOrder: int(f.wrong.Load()),
		GapMedian: at(.5), GapP99: at(.99), GapMax: at(1),
	}
}

// end stops all clients.
func (f *fleet) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var ending sync.WaitGroup
	for _, c := range f.clients {
		ending.Go(func() { _ = c.Stop(ctx) })
	}
	ending.Wait()
}

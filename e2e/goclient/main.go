// Command goclient runs clients of pkg/client on behalf of the tests with real clients, so that the same checks hold for them as
// for the official client. It reads orders from standard input and writes answers and events to standard output, as one JSON
// object a line, and ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
)

// patience bounds each order, longer than the tests wait.
const patience = time.Minute

// An order is for one of the clients, or for one of its streams.
type order struct {
	ID     int    // of the answer
	Client int    // the number that the test has given to the client
	Op     string // see guest.obey
	Method string
	Args   []argument
	// Stream is the number of an upload or of a stream that was called, as the test has given it.
	Stream int
	Item   protocol.Raw // of an upload, or the answer to a question
	Error  *string      // in place of the item

	URL, Transport, Protocol string // of connect
	Reconnect, Stateful      bool
}

// An argument is a value, or the number of an upload.
type argument struct {
	Value  protocol.Raw
	Upload *int
}

// A report is the answer to an order, or an event of a client.
type report struct {
	ID     int           `json:"id,omitempty"`
	Client int           `json:"client"`
	Event  string        `json:"event,omitempty"`
	Stream int           `json:"stream,omitempty"`
	Value  *protocol.Raw `json:"value,omitempty"`
	Args   []any         `json:"args,omitempty"`
	Error  *string       `json:"error,omitempty"`
}

// bridge is where the clients' reports go.
type bridge struct {
	mu     sync.Mutex
	out    *json.Encoder
	guests map[int]*guest
}

func (b *bridge) report(r report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.out.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

// guest is the client with that number.
func (b *bridge) guest(number int) *guest {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.guests[number]
	if g == nil {
		g = &guest{bridge: b, number: number}
		b.guests[number] = g
	}
	return g
}

func main() {
	b := &bridge{out: json.NewEncoder(os.Stdout), guests: map[int]*guest{}}
	b.out.SetEscapeHTML(false)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintf(os.Stderr, "goclient: %v in %.200s\n", err, lines.Bytes())
			os.Exit(2)
		}
		b.guest(o.Client).obey(ctx, o)
	}
}

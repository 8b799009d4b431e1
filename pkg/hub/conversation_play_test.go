package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// play is a scene that is being played.
type play struct {
	t           *testing.T
	scene       *scene
	listener    net.Listener
	dial        func() (net.Conn, error)
	settle      func(want map[string]int) // waits for what comes of an action
	server      *hub.Server
	web         *http.Server
	showHeaders bool
	clients     map[string]*speaker
	tasks       sync.WaitGroup
	news        chan struct{} // something was heard

	mu    sync.Mutex
	aside []string // what the program has learnt
}

func newPlay(t *testing.T, s *scene, l net.Listener, dial func() (net.Conn, error)) *play {
	return &play{t: t, scene: s, listener: l, dial: dial, clients: map[string]*speaker{}, news: make(chan struct{}, 1)}
}

// settings are what a scene can say of its server.
var settings = map[string]func(*hub.Options, *hub.HubOptions){
	"as it comes":     func(*hub.Options, *hub.HubOptions) {},
	"detailed errors": func(o *hub.Options, _ *hub.HubOptions) { o.DetailedErrors = true },
	"users":           func(o *hub.Options, _ *hub.HubOptions) { o.Authenticate = byQuery },
	"members only": func(o *hub.Options, h *hub.HubOptions) {
		h.Admit = func(id hub.Identity) bool { return id.UserID == "ada" }
	},
	"a friend": func(o *hub.Options, _ *hub.HubOptions) { o.AllowedOrigins = []string{"https://app.example"} },
	"WebSockets only": func(_ *hub.Options, h *hub.HubOptions) {
		h.Transports = []transport.Kind{transport.WebSockets}
	},
	"no WebSockets": func(_ *hub.Options, h *hub.HubOptions) {
		h.Transports = []transport.Kind{transport.ServerSentEvents, transport.LongPolling}
	},
	"redirect": func(_ *hub.Options, h *hub.HubOptions) {
		h.Redirect = func(*http.Request) (string, string) { return "https://eu.example/chat", "a.b.c" }
	},
	"not ready": func(o *hub.Options, _ *hub.HubOptions) {
		o.Ready = func() error { return errors.New("not yet") }
	},
	"JSON only":     func(o *hub.Options, _ *hub.HubOptions) { o.Protocols = []protocol.Codec{protocol.JSON} },
	"two streams":   func(o *hub.Options, _ *hub.HubOptions) { o.MaxStreams = 2 },
	"two at a time": func(o *hub.Options, _ *hub.HubOptions) { o.ParallelCalls = 2 },
	"100 bytes":     func(o *hub.Options, _ *hub.HubOptions) { o.MaxMessageSize = 100 },
	"queue of 100":  func(o *hub.Options, _ *hub.HubOptions) { o.MaxQueue = 100 },
	"replay of 1":   func(o *hub.Options, _ *hub.HubOptions) { o.ReplayBuffer = 1 },
	"no replay":     func(o *hub.Options, _ *hub.HubOptions) { o.ReplayBuffer = -1 },
	"refuses":       func(*hub.Options, *hub.HubOptions) {}, // see talk.OnConnected
	"asks on entry": func(*hub.Options, *hub.HubOptions) {},
	"no Admin calls": func(_ *hub.Options, h *hub.HubOptions) {
		h.Authorize = func(c *hub.Call) bool { return c.Method() != "Admin" }
	},
}

// byQuery believes ?user=; nobody is unknown, and mallory is known too well.
func byQuery(r *http.Request) (hub.Identity, error) {
	switch user := r.URL.Query().Get("user"); user {
	case "nobody":
		return hub.Identity{}, errors.New("nobody is nobody")
	case "mallory":
		return hub.Identity{}, fmt.Errorf("not you: %w", hub.ErrForbidden)
	default:
		return hub.Identity{UserID: user}, nil
	}
}

// serve starts the server with settings, which are separated by commas.
func (p *play) serve(names string) error {
	var o hub.Options
	h := hub.HubOptions{Name: "Talk"}
	for name := range strings.SplitSeq(names, ", ") {
		set := settings[name]
		if set == nil {
			return fmt.Errorf("no setting is called %q", name)
		}
		set(&o, &h)
	}
	p.server = hub.NewServer(o)
	refuses, asks := strings.Contains(names, "refuses"), strings.Contains(names, "asks on entry")
	if err := p.server.Map("/chat", &talk{play: p, refuses: refuses, asks: asks}, h); err != nil {
		return err
	}
	if err := p.server.Map("/news", &talk{play: p}, hub.HubOptions{Name: "News"}); err != nil {
		return err
	}
	p.web = &http.Server{Handler: p.server}
	p.tasks.Go(func() { _ = p.web.Serve(p.listener) })
	return nil
}

// end stops everything, without a word to the clients that would be written down.
func (p *play) end() {
	for _, c := range p.clients {
		c.leave()
	}
	if p.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.server.Shutdown(ctx)
		_ = p.web.Close()
	}
	_ = p.listener.Close()
	p.tasks.Wait()
}

// client returns the client of that name, who enters when it is first spoken of.
func (p *play) client(name string) *speaker {
	c := p.clients[name]
	if c == nil {
		if p.server == nil {
			if err := p.serve("as it comes"); err != nil {
				p.t.Fatal(err)
			}
		}
		c = &speaker{play: p, name: name}
		p.clients[name] = c
	}
	return c
}

// learns writes down what the program around the hub gets to know.
func (p *play) learns(format string, args ...any) {
	p.mu.Lock()
	p.aside = append(p.aside, fmt.Sprintf(format, args...))
	p.mu.Unlock()
	p.notify()
}

func (p *play) notify() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// enough says whether everybody has heard as many lines.
func (p *play) enough(want map[string]int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for who, n := range want {
		if who == program && len(p.aside) < n {
			return false
		}
		if c := p.clients[who]; c != nil && c.lines() < n {
			return false
		}
	}
	return true
}

// collect returns what was heard since it was last called: by one client after the other, then by the program.
func (p *play) collect() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, 0, len(p.clients))
	for name := range p.clients {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		for _, line := range p.clients[name].take() {
			fmt.Fprintf(&out, "%s< %s\n", name, p.anonymous(line))
		}
	}
	slices.Sort(p.aside) // what is learnt at the same time has no order
	for _, line := range p.aside {
		fmt.Fprintf(&out, "%s< %s\n", program, p.anonymous(line))
	}
	p.aside = nil
	return out.String()
}

// anonymous puts names for what is random: the ids and tokens of the clients.
func (p *play) anonymous(line string) string {
	for name, c := range p.clients {
		if c.token != "" { // first: it holds the id
			line = strings.ReplaceAll(line, c.token, "TOKEN"+suffix(name))
		}
		if c.id != "" {
			line = strings.ReplaceAll(line, c.id, "ID"+suffix(name))
		}
	}
	return line
}

func suffix(name string) string {
	if name == "" {
		return ""
	}
	return "-" + name
}

var nameOfSecret = regexp.MustCompile(`TOKEN(-[A-Z])?|\bID(-[A-Z])?\b`)

// revealed puts the ids and tokens for their names.
func (p *play) revealed(text string) string {
	return nameOfSecret.ReplaceAllStringFunc(text, func(word string) string {
		what, name, _ := strings.Cut(word, "-")
		c := p.clients[name]
		switch {
		case c == nil:
			return word
		case what == "TOKEN":
			return c.token
		}
		return c.id
	})
}

// program does what the program around the hub does.
func (p *play) program(what string) error {
	_, plain, err := payload(p.revealed(what))
	if err != nil {
		return err
	}
	verb, rest, _ := strings.Cut(string(plain), " ")
	words := strings.SplitN(rest, " ", 3)
	clients := p.server.Hub("/chat").Clients()
	switch verb {
	case "shutdown":
		p.tasks.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			p.learns("shutdown: %v", p.server.Shutdown(ctx))
		})
		return nil
	case "all": // method, argument
		return clients.All().Send(context.Background(), words[0], json.RawMessage(strings.Join(words[1:], " ")))
	case "client": // id, method, argument
		return clients.Client(words[0]).Send(context.Background(), words[1], json.RawMessage(words[2]))
	case "ask": // id, method, argument
		p.tasks.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			var answer string
			if err := clients.Client(words[0]).Invoke(ctx, &answer, words[1], json.RawMessage(words[2])); err != nil {
				p.learns("error: %v", err)
				return
			}
			p.learns("answer: %s", answer)
		})
		return nil
	}
	return fmt.Errorf("the program cannot %q", what)
}

package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hubfleet/hubfleet/pkg/protocol"
	"github.com/hubfleet/hubfleet/pkg/transport"
)

// Server serves hubs to SignalR clients. It is an http.Handler; mount it where the hubs' paths are. It is safe for
// concurrent use.
type Server struct {
	options   Options
	limits    Limits
	invalid   error // what is wrong with options; Map says so
	log       *slog.Logger
	codecs    []protocol.Codec
	backplane Backplane
	tokens    *transport.Tokens
	epoch     time.Time

	hard     context.Context // ends when running calls shall stop
	stopHard context.CancelFunc
	beat     heartbeat
	wakes    wakes
	starter  starter
	remote   bool // it only sends: it has no connections, and hears nothing of what is sent
	fleet    fleet
	watching watching

	mu       sync.RWMutex
	byPath   map[string]*host
	byName   map[string]*host
	broken   map[string]error // paths whose hub could not be mapped
	stopping bool
	work     sync.WaitGroup // connections and the calls they have started
}

// NewServer returns a server without hubs. It starts nothing: goroutines exist only while there are connections.
// Invalid options are reported by Map.
func NewServer(o Options) *Server {
	s := &Server{
		options:   o,
		limits:    o.Limits.withDefaults(defaultLimits()),
		invalid:   o.Limits.validate(),
		log:       o.Logger,
		codecs:    o.Protocols,
		backplane: o.Backplane,
		epoch:     time.Now(),
		byPath:    map[string]*host{},
		byName:    map[string]*host{},
		broken:    map[string]error{},
	}
	if s.codecs == nil {
		s.codecs = []protocol.Codec{protocol.JSON, protocol.MessagePack}
	}
	if len(s.codecs) == 0 || len(s.codecs) > maxCodecs {
		s.invalid = errors.Join(s.invalid, fmt.Errorf("hub: Options.Protocols has %d protocols; it must have one or two", len(s.codecs)))
		s.codecs = []protocol.Codec{protocol.JSON}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.options.Presence == nil {
		s.options.Presence = absent{}
	}
	if s.options.Farewell <= 0 {
		s.options.Farewell = DefaultFarewell
	}
	if s.options.NodeName == "" {
		s.options.NodeName, _ = os.Hostname()
	}
	s.hard, s.stopHard = context.WithCancel(context.Background())
	s.beat.server = s
	s.starter.server = s
	s.tokens = newTokens(o.Cluster)
	s.fleet = fleet{server: s, id: s.options.NodeName}
	switch {
	case o.Cluster != nil:
		s.fleet.id = o.Cluster.NodeID()
	case s.backplane != nil:
		s.fleet.id = randomName() // the name may be another server's, too
	}
	s.watching.server = s
	if s.backplane != nil {
		s.backplane.Attach(s.deliver, s.flush)
	}
	return s
}

// newTokens signs connection tokens with the cluster's secret, or with one of this process.
func newTokens(c Cluster) *transport.Tokens {
	if c != nil {
		return transport.NewTokens(c.NodeID(), c.Secret)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	return transport.NewTokens(randomName(), func() ([]byte, error) { return secret, nil })
}

func randomName() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// clock is the time since the server was made, in nanoseconds. It is never 0, which stands for "not yet".
func (s *Server) clock() int64 { return 1 + int64(time.Since(s.epoch)) }

// Map makes a hub available at a path such as "/chat". The hub is one value that serves all connections: a pointer to a struct or a
// struct, whose exported methods with *Call as first parameter are what clients can invoke.
//
// The error names the method and the rule that it breaks. It need not be looked at: a path whose hub could not be mapped
// answers every request with it. Map all hubs before serving.
func (s *Server) Map(path string, hub any, options ...HubOptions) error {
	var o HubOptions
	if len(options) > 0 {
		o = options[0]
	}
	h, err := s.newHost(path, hub, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.conflict(h)
	}
	if err != nil {
		s.log.Error("hub not mapped", "path", path, "error", err)
		if s.byPath[path] == nil {
			s.broken[path] = err
		}
		return err
	}
	s.byPath[h.path], s.byName[h.name] = h, h
	if s.backplane != nil {
		s.subscribeStanding(h)
	}
	return nil
}

// subscribeStanding makes the hub's standing channels wanted. They are subscribed to when the backplane is there, which its
// owner knows; nobody waits for it here.
func (s *Server) subscribeStanding(h *host) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.backplane.Subscribe(ctx, append(h.standing(), s.fleet.standing()...)...) // its error is that ctx has ended; the channels stay wanted
}

func (s *Server) conflict(h *host) error {
	if s.byPath[h.path] != nil {
		return fmt.Errorf("hub: path %q has a hub already", h.path)
	}
	if s.byName[h.name] != nil {
		return fmt.Errorf("hub: a hub named %q is mapped already, at %q; give one of them another HubOptions.Name", h.name, s.byName[h.name].path)
	}
	return nil
}

func (s *Server) newHost(path string, value any, o HubOptions) (*host, error) {
	h := &host{server: s, path: path, name: o.Name, limits: o.Limits.withDefaults(s.limits), authorize: o.Authorize, closeExpired: o.CloseExpired}
	if err := errors.Join(s.invalid, o.validate(), checkPath(path), h.chooseCodecs(o.Protocols), h.describe(value)); err != nil {
		return nil, err
	}
	if err := h.applyFilters(o); err != nil {
		return nil, err
	}
	if h.name == "" {
		h.name = typeName(value)
	}
	if h.name == "" || strings.Contains(h.name, ":") {
		return nil, fmt.Errorf("hub: %q cannot be a hub's name: it must not be empty, nor contain a colon; set HubOptions.Name", h.name)
	}
	h.nodeName = s.options.NodeName + "_" + randomName()
	h.log = s.log.With("hub", h.name)
	h.channels.backplane = s.backplane
	if s.options.Hooks != nil {
		h.hooks = s.options.Hooks(h.name, h.methodNames())
	}
	h.endpoint = s.newEndpoint(h, o)
	return h, nil
}

// chooseCodecs takes those of the server's protocols that have these names; none means all.
func (h *host) chooseCodecs(names []string) error {
	if h.codecs = h.server.codecs; len(names) == 0 {
		return nil
	}
	h.codecs = nil
	for _, c := range h.server.codecs {
		if slices.Contains(names, c.Name()) {
			h.codecs = append(h.codecs, c)
		}
	}
	if len(h.codecs) != len(names) {
		return fmt.Errorf("hub: Protocols of the hub are %q; each must be one of the server's, once", names)
	}
	return nil
}

func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || (len(path) > 1 && strings.HasSuffix(path, "/")) {
		return fmt.Errorf("hub: %q cannot be a hub's path: it must begin with a slash, and not end with one", path)
	}
	return nil
}

func typeName(value any) string {
	t := reflect.TypeOf(value)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

func (h *host) methodNames() []string {
	names := make([]string, 0, len(h.exact))
	for n := range h.exact {
		names = append(names, n)
	}
	return names
}

func (s *Server) newEndpoint(h *host, o HubOptions) *transport.Endpoint {
	e := &transport.Endpoint{
		Path:           h.path,
		Tokens:         s.tokens,
		Accept:         h.accept,
		Ready:          s.ready,
		AllowedOrigins: s.options.AllowedOrigins,
		SendTimeout:    h.limits.SendTimeout,

		MinVersion:        o.MinNegotiateVersion,
		Transports:        o.Transports,
		DisconnectTimeout: h.limits.DisconnectTimeout,
		PollTimeout:       h.limits.PollTimeout,
		CloseTimeout:      h.limits.CloseTimeout,
		Redirect:          o.Redirect,
		Forward:           s.options.Forward,
		Holder:            s.options.Holder,
		MintFor:           s.options.MintFor,

		Hooks: transport.Hooks{Negotiated: h.hooks.Negotiated, Refused: h.hooks.Refused},
	}
	if h.limits.ReplayBuffer > 0 {
		e.Resume = h.resumable
	}
	if s.options.Cluster != nil {
		e.Claim = s.options.Cluster.Claim
	}
	if s.options.Authenticate != nil || o.Admit != nil {
		e.Authenticate = func(r *http.Request) (any, error) { return s.identify(r, o.Admit) }
		e.SameUser, e.Renew = sameUser, h.renewed
	}
	return e
}

// sameUser compares two results of identify.
func sameUser(a, b any) bool { return a.(Identity).UserID == b.(Identity).UserID }

var errAnonymous = errors.New("hub: this hub is not for anonymous clients")

// identify finds out who sends a request, and whether it may.
func (s *Server) identify(r *http.Request, admit func(Identity) bool) (id Identity, err error) {
	if auth := s.options.Authenticate; auth != nil {
		if id, err = auth(r); err != nil {
			return id, err
		}
	}
	switch {
	case admit == nil || admit(id):
		return id, nil
	case id.UserID == "":
		return id, errAnonymous
	}
	return id, fmt.Errorf("hub: %q is not admitted: %w", id.UserID, ErrForbidden)
}

// ready says why no client can be taken on.
func (s *Server) ready() error {
	s.mu.RLock()
	stopping := s.stopping
	s.mu.RUnlock()
	if stopping {
		return ErrServerClosed
	}
	if s.options.Cluster != nil {
		if _, err := s.options.Cluster.Secret(); err != nil {
			return err
		}
	}
	if s.options.Ready != nil {
		return s.options.Ready()
	}
	return nil
}

// ServeHTTP serves the hubs at their paths; any other path is answered with 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/negotiate")
	if path == "" {
		path = "/"
	}
	s.mu.RLock()
	h, err := s.byPath[path], s.broken[path]
	s.mu.RUnlock()
	switch {
	case h != nil:
		h.endpoint.ServeHTTP(w, r)
	case err != nil:
		http.Error(w, "The hub at this path could not be mapped: "+err.Error(), http.StatusInternalServerError)
	default:
		http.NotFound(w, r)
	}
}

// Hub returns the hub at a path for use from outside its methods; nil if no hub is mapped there.
func (s *Server) Hub(path string) *Context {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.byPath[path]; h != nil {
		return &Context{host: h}
	}
	return nil
}

// Named returns the hub with a name, as it is called on the backplane; nil if none that is mapped is called so.
func (s *Server) Named(name string) *Context {
	if hosts := s.named(name); name != "" && len(hosts) == 1 {
		return &Context{host: hosts[0]}
	}
	return nil
}

// Names are the names of the hubs that are mapped, in order.
func (s *Server) Names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.byName))
}

// enter counts a goroutine that Shutdown waits for; it returns false once the server is stopping.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stopping {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Server) leave() { s.work.Done() }

package backplane

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxReasons bounds the lines about one outage.
const maxReasons = 5

// health knows which of the links to Redis work, and is the only one that logs about it: one line when the whole is lost
// for each reason that there is, however many attempts are made, and one when it is back.
type health struct {
	log    *slog.Logger
	onTurn func(up bool)
	server string

	mu     sync.Mutex
	links  []error // why each link is down; nil when it is up
	downs  int     // how many of them are not nil
	since  time.Time
	everUp bool
	logged []string // the reasons logged since the links were up
}

func newHealth(o RedisOptions, server string, links int) *health {
	h := &health{log: o.Logger, onTurn: o.Hooks.State, server: server, links: make([]error, links), downs: links, since: time.Now()}
	for i := range h.links {
		h.links[i] = errNotYet
	}
	return h
}

// down notes that a link is lost, or that an attempt to make it failed.
func (h *health) down(link int, err error) {
	h.mu.Lock()
	turned := h.downs == 0
	if h.links[link] == nil {
		h.downs++
	}
	h.links[link] = err
	if turned {
		h.since = time.Now()
	}
	if text := err.Error(); !errors.Is(err, errStopped) && len(h.logged) < maxReasons && !slices.Contains(h.logged, text) {
		h.logged = append(h.logged, text)
		what := "cannot reach Redis; trying again until it answers"
		if h.everUp {
			what = "lost Redis; trying again until it answers"
		}
		h.log.Warn(what, "redis", h.server, "error", err)
	}
	h.mu.Unlock()
	if turned && h.onTurn != nil {
		h.onTurn(false)
	}
}

// up notes that a link works.
func (h *health) up(link int) {
	h.mu.Lock()
	if h.links[link] != nil {
		h.downs--
	}
	turned := h.links[link] != nil && h.downs == 0
	h.links[link] = nil
	if turned {
		now := time.Now()
		if h.everUp {
			h.log.Info("Redis is back", "redis", h.server, "after", now.Sub(h.since).Round(time.Millisecond))
		} else {
			h.log.Info("connected to Redis", "redis", h.server)
		}
		h.since, h.everUp, h.logged = now, true, nil
	}
	h.mu.Unlock()
	if turned && h.onTurn != nil {
		h.onTurn(true)
	}
}

func (h *health) state() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := State{Up: h.downs == 0, EverUp: h.everUp, Since: h.since}
	for _, err := range h.links {
		// "Not yet" says less than the reason that another link has found.
		if err != nil && (s.Err == nil || errors.Is(s.Err, errNotYet)) {
			s.Err = err
		}
	}
	return s
}

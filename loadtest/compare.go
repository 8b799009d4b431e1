package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// outcome is everything that one command found out.
type outcome struct {
	Title    string    `json:"title"`
	Machine  machine   `json:"machine"`
	Targets  []summary `json:"targets"` // medians over the rounds; the first is what the others are measured by
	Results  []*result `json:"results"`
	Failures []string  `json:"failures"`
}

// parseTarget reads the value of --target.
func parseTarget(text string) (target, error) {
	name, rest, ok := strings.Cut(text, "=")
	if !ok || name == "" || rest == "" {
		return target{}, fmt.Errorf("use NAME=URL, such as mine=http://127.0.0.1:8080/chat")
	}
	t := target{name: name}
	for i, part := range strings.Split(rest, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch {
		case i == 0:
			t.urls = splitList(part)
		case key == "sender":
			t.senderURLs = splitList(value)
		case key == "pid":
			pids, err := parsePIDs(splitList(value))
			if err != nil {
				return t, err
			}
			t.pids = pids
		default:
			return t, fmt.Errorf("behind a ; may stand pid=NUMBER,… or sender=URL,…, not %q", part)
		}
	}
	for _, u := range append(append([]string(nil), t.urls...), t.senderURLs...) {
		if err := checkURL(u); err != nil {
			return t, fmt.Errorf("%q: %w", u, err)
		}
	}
	return t, nil
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func parsePIDs(words []string) (pids []int, err error) {
	for _, w := range words {
		if err := checkPID(w); err != nil {
			return nil, fmt.Errorf("%q: %w", w, err)
		}
		pid, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// list is all targets of the command, bare servers first. stop ends what was started for it.
func (c *config) list(ctx context.Context) (targets []target, stop func(), err error) {
	var started []*bareProcess
	stop = func() {
		for _, p := range started {
			p.stop()
		}
	}
	if c.bare {
		for _, join := range []bool{false, true} {
			t := target{name: bareName(join)}
			n := 1
			if c.redis != "" {
				n = 2
			}
			for range n {
				p, err := startBare(ctx, join, c.redis, "")
				if err != nil {
					stop()
					return nil, nil, err
				}
				started = append(started, p)
				t.urls, t.pids = append(t.urls, p.url), append(t.pids, p.pid())
			}
			if n > 1 {
				t.senderURLs = t.urls[:1]
			}
			targets = append(targets, t)
		}
	}
	if len(c.plan.URLs) > 0 {
		pids, err := parsePIDs(c.pids)
		if err != nil {
			stop()
			return nil, nil, err
		}
		targets = append(targets, target{name: "target", urls: c.plan.URLs, senderURLs: c.plan.SenderURLs, pids: pids})
	}
	for _, text := range c.targets {
		t, err := parseTarget(text)
		if err != nil {
			stop()
			return nil, nil, err
		}
		targets = append(targets, t)
	}
	return targets, stop, nil
}

func bareName(join bool) string {
	if join {
		return "bare, joining"
	}
	return "bare"
}

// compare gives every target its turns, and prints what came of it.
func compare(ctx context.Context, c *config, stdout, stderr io.Writer) error {
	bar := progress{out: stderr, terminal: isTerminal(stderr)}
	limits := stderr
	if c.quiet {
		bar.out, limits = nil, io.Discard
	}
	targets, stop, err := c.list(ctx)
	if err != nil {
		return err
	}
	defer stop()
	out := &outcome{Title: c.plan.title(), Machine: thisMachine()}
	var r reach
	for i, t := range targets {
		p := c.plan
		p.URLs, p.SenderURLs = t.urls, t.senderURLs
		said := io.Discard
		if i == 0 {
			said = limits
		}
		if err := r.plan(&p, c.workers, said); err != nil {
			return &usageError{err}
		}
		r.servers(&p, t.pids, limits)
	}
	for round := range max(c.rounds, 1) {
		for _, t := range targets {
			p := c.plan
			p.Sources = r.Sources
			res, err := run(ctx, p, t, r, bar)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			res.Round = round + 1
			out.Results = append(out.Results, res)
		}
	}
	out.sumUp()
	out.writeText(stdout)
	return out.finish(c)
}

// finish writes the files asked for; it returns errFailed when a target failed.
func (o *outcome) finish(c *config) error {
	if c.json != "" {
		if err := o.writeJSON(c.json); err != nil {
			return err
		}
	}
	if c.html != "" {
		if err := o.writeHTML(c.html); err != nil {
			return err
		}
	}
	if len(o.Failures) > 0 {
		return errFailed
	}
	return nil
}

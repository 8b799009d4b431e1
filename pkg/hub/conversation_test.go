package hub_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/conversations anew")

// TestConversation plays what clients say in testdata/conversations (its README describes the notation) against a real server, and
// compares what the server says. Time is faked, so that a conversation is known to be silent where it says nothing.
func TestConversation(t *testing.T) {
	for _, file := range conversations(t) {
		t.Run(file.name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString(strings.Join(file.preface, ""))
			for _, s := range file.scenes {
				t.Run(s.title, func(t *testing.T) {
					got := s.playInMemory(t)
					b.WriteString(got)
					if diff := cmp.Diff(s.text(), got); diff != "" && !*update {
						t.Errorf("%s (-want +got; write it anew with -update):\n%s", file.name, diff)
					}
				})
			}
			if *update && !t.Failed() {
				if err := os.WriteFile(file.path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestConversationOverLoopback plays them again over real sockets, but for those that wait.
func TestConversationOverLoopback(t *testing.T) {
	for _, file := range conversations(t) {
		for _, s := range file.scenes {
			if s.timed() {
				continue
			}
			t.Run(file.name+"/"+s.title, func(t *testing.T) {
				if diff := cmp.Diff(s.text(), s.playOverLoopback(t)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// conversationFile is one theme.
type conversationFile struct {
	path, name string
	preface    []string
	scenes     []*scene
}

// scene is one conversation. Its lines end with LF.
type scene struct {
	title string
	lines []string
}

func conversations(t *testing.T) (files []conversationFile) {
	t.Helper()
	paths, err := filepath.Glob("testdata/conversations/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no conversations: ", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := conversationFile{path: path, name: strings.TrimSuffix(filepath.Base(path), ".txt")}
		for line := range strings.Lines(string(text)) {
			if title, ok := strings.CutPrefix(line, "== "); ok {
				f.scenes = append(f.scenes, &scene{title: strings.TrimSpace(title)})
			}
			if n := len(f.scenes); n > 0 {
				f.scenes[n-1].lines = append(f.scenes[n-1].lines, line)
			} else {
				f.preface = append(f.preface, line)
			}
		}
		files = append(files, f)
	}
	return files
}

func (s *scene) text() string { return strings.Join(s.lines, "") }

// timed says whether the scene depends on time, or on a network that holds nothing back: it waits, has a request that waits, stops
// reading, or has a connection that sends acks by the clock.
func (s *scene) timed() bool {
	for i, line := range s.lines {
		switch {
		case strings.HasPrefix(line, "wait "), strings.HasPrefix(line, "app> shutdown"), line == "> stall\n",
			strings.HasPrefix(line, "connect") && strings.Contains(line, "stateful"),
			i+1 < len(s.lines) && strings.HasPrefix(line, "> GET ") && strings.HasPrefix(s.lines[i+1], "> ") && !headerLine.MatchString(s.lines[i+1][2:]):
			return true
		}
	}
	return false
}

// heard splits a line of what somebody hears, such as "A< text {}".
func heard(line string) (who, what string, ok bool) {
	who, what, ok = strings.Cut(strings.TrimSuffix(line, "\n"), "<")
	if !ok || !isName(who) || what != "" && what[0] != ' ' {
		return "", "", false
	}
	return who, strings.TrimPrefix(what, " "), true
}

// said splits a line of what somebody says, such as "A> text {}".
func said(line string) (who, what string, ok bool) {
	who, what, ok = strings.Cut(strings.TrimSuffix(line, "\n"), "> ")
	return who, what, ok && isName(who)
}

// isName says whether who is a client, one of a single letter or the only one without a name, or the program around the hub.
func isName(who string) bool {
	return who == "" || who == program || len(who) == 1 && who[0] >= 'A' && who[0] <= 'Z'
}

const program = "app"

// playInMemory plays a scene in a bubble, where all that follows from a line has happened before the next one.
func (s *scene) playInMemory(t *testing.T) (got string) {
	synctest.Test(t, func(t *testing.T) {
		l := &inMemory{conns: make(chan net.Conn), closed: make(chan struct{})}
		dial := func() (net.Conn, error) {
			near, far := net.Pipe()
			l.conns <- far
			return near, nil
		}
		p := newPlay(t, s, l, dial)
		defer p.end()
		p.settle = func(map[string]int) { synctest.Wait() }
		got = p.run()
	})
	return got
}

// playOverLoopback plays a scene in real time: after each line it waits for as much as shall come of it.
func (s *scene) playOverLoopback(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	p := newPlay(t, s, l, dial)
	defer p.end()
	p.settle = func(want map[string]int) {
		timeout := time.After(patience)
		for !p.enough(want) {
			select {
			case <-p.news:
			case <-timeout:
				return // the comparison will say what is missing
			}
		}
	}
	return p.run()
}

// run plays the scene and returns it with what was heard.
func (p *play) run() string {
	var out strings.Builder
	lines := slices.Clone(p.scene.lines)
	for i := range lines {
		lines[i] = canonical(lines[i])
	}
	for len(lines) > 0 {
		n, act := p.action(lines)
		out.WriteString(strings.Join(lines[:n], ""))
		lines = lines[n:]
		want := map[string]int{}
		for len(lines) > 0 {
			who, _, ok := heard(lines[0])
			if !ok {
				break
			}
			want[who]++
			lines = lines[1:]
		}
		if act == nil {
			continue
		}
		if err := act(); err != nil {
			p.t.Fatalf("behind\n%s%v", out.String(), err)
		}
		p.settle(want)
		out.WriteString(p.collect())
	}
	return out.String()
}

// action returns how many lines make up the next thing to do, and how it is done; nil when they are for the reader only.
func (p *play) action(lines []string) (n int, act func() error) {
	first := lines[0]
	if names, ok := strings.CutPrefix(first, "server "); ok {
		return 1, func() error { return p.serve(strings.TrimSpace(names)) }
	}
	if first == "show headers\n" {
		p.showHeaders = true
		return 1, nil
	}
	if d, ok := strings.CutPrefix(first, "wait "); ok {
		return 1, func() error {
			pause, err := time.ParseDuration(strings.TrimSpace(d))
			time.Sleep(pause)
			return err
		}
	}
	if words := strings.Fields(first); len(words) > 0 && (words[0] == "connect" || words[0] == "negotiate") {
		return 1, func() error { return p.arrive(words[0], words[1:]) }
	}
	who, what, ok := said(first)
	switch {
	case !ok:
		return 1, nil
	case who == program:
		return 1, func() error { return p.program(what) }
	case !isRequest(what):
		return 1, func() error { return p.client(who).say(what) }
	}
	request := []string{what}
	for _, line := range lines[1:] {
		other, more, ok := said(line)
		if !ok || other != who || isRequest(more) || isFrame(more) {
			break
		}
		request = append(request, more)
	}
	return len(request), func() error { return p.client(who).ask(request) }
}

func isRequest(what string) bool {
	method, _, _ := strings.Cut(what, " ")
	return slices.Contains([]string{"GET", "POST", "DELETE", "OPTIONS", "PUT"}, method)
}

func isFrame(what string) bool {
	kind, _, _ := strings.Cut(what, " ")
	return slices.Contains([]string{"text", "binary", "close", "ping", "pong", "raw", "cut", "stall", "read"}, kind)
}

// canonical writes what a client says in MessagePack with its bytes, if they are left out, and with what they mean.
func canonical(line string) string {
	who, what, ok := said(line)
	value, isBinary := strings.CutPrefix(what, "binary ")
	verb := what[:len(what)-len(value)]
	switch {
	case !ok:
		return line
	case strings.HasPrefix(value, "["):
		return fmt.Sprintf("%s> %s%s\n", who, verb, notation(packed(value)))
	case isBinary:
		if _, data, err := payload(value); err == nil && isPacked(data) && len(packets(data)) == 1 {
			return fmt.Sprintf("%s> %s%s\n", who, verb, notation(data))
		}
	}
	return line
}

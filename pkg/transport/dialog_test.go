package transport

import (
	"bufio"
	"bytes"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata anew")

// dialog is a client that speaks HTTP byte by byte, and writes down what is said.
type dialog struct {
	t     testing.TB
	host  string
	conn  *net.TCPConn
	from  *bufio.Reader
	heard bytes.Buffer // since it was last written down
	log   strings.Builder
}

func (s *site) dialog(t testing.TB) *dialog {
	t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	d := &dialog{t: t, conn: conn.(*net.TCPConn), host: "hub.example"}
	d.from = bufio.NewReader(io.TeeReader(conn, &d.heard))
	return d
}

// say sends a request; the headers are lines.
func (d *dialog) say(method, target, headers, body string) {
	d.t.Helper()
	request := method + " " + target + " HTTP/1.1\nHost: " + d.host + "\n" + headers
	if method == "POST" {
		request += "Content-Length: " + strconv.Itoa(len(body)) + "\n"
	}
	if _, err := io.WriteString(d.conn, strings.ReplaceAll(request+"\n", "\n", "\r\n")+body); err != nil {
		d.t.Fatal(err)
	}
	d.note("> ", strings.ReplaceAll(request+"\n", "\n", "\r\n")+body)
}

// hear reads one whole response.
func (d *dialog) hear() {
	d.t.Helper()
	response, err := http.ReadResponse(d.from, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		d.t.Fatal(err)
	}
	d.noteHeard()
}

// hearUntil reads up to what is said last.
func (d *dialog) hearUntil(last string) {
	d.t.Helper()
	var got []byte
	for !bytes.HasSuffix(got, []byte(last)) {
		b, err := d.from.ReadByte()
		if err != nil {
			d.t.Fatalf("%v after %q", err, got)
		}
		got = append(got, b)
	}
	d.noteHeard()
}

func (d *dialog) noteHeard() {
	d.note("< ", d.heard.String())
	d.heard.Reset()
}

// note writes down what was said, each line with its CR and what cannot be read escaped.
func (d *dialog) note(who, said string) {
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "Date: ") {
			continue
		}
		quoted := strconv.Quote(strings.TrimSuffix(line, "\n"))
		d.log.WriteString(who + strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`) + "\n")
	}
}

func (d *dialog) remark(text string) { d.log.WriteString("# " + text + "\n") }

// golden compares what was said with testdata, where tokens are called TOKEN.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = regexp.MustCompile(`id=[-\w]{40,}`).ReplaceAllString(got, "id=TOKEN")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err, "(write it with -update)")
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, write it anew with -update):\n%s", file, diff)
	}
}

func TestGoldenEvents(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	d := s.dialog(t)
	d.remark("the response begins, and its first bytes make browsers say that the stream is open")
	d.say("GET", "/chat?id="+token, "Accept: text/event-stream\n", "")
	d.hearUntil(":\r\n\r\n")
	conn := s.conn(t)
	d.remark("what is written together is one event")
	if err := conn.Write([]*Frame{text("{\"type\":6}\x1e"), text("{}\x1e")}); err != nil {
		t.Fatal(err)
	}
	d.hearUntil("\r\n\r\n\r\n")
	d.remark("what the client sends")
	post := s.dialog(t)
	post.say("POST", "/chat?id="+token, "Content-Type: text/plain;charset=UTF-8\n", "{\"type\":6}\x1e")
	post.hear()
	d.log.WriteString(post.log.String())
	d.remark("the response ends")
	conn.Close(nil)
	d.hearUntil("0\r\n\r\n")
	d.say("GET", "/chat?id="+token, "Accept: text/event-stream\n", "")
	d.hear()
	golden(t, "events.txt", d.log.String())
}

func TestGoldenPolls(t *testing.T) {
	s := newSite(t)
	token, _ := s.token(t)
	url := "/chat?id=" + token
	d := s.dialog(t)
	ask := func(remark, method, url, body string) {
		d.remark(remark)
		d.say(method, url, "", body)
		d.hear()
	}
	ask("the first poll opens the connection", "GET", url+"&_=1", "")
	conn := s.conn(t)
	ask("what the client sends", "POST", url, "{\"protocol\":\"json\",\"version\":1}\x1e")
	written := write(conn, "{}\x1e", "{\"type\":1,\"target\":\"a\",\"arguments\":[]}\x1e")
	ask("what it is sent", "GET", url+"&_=2", "")
	if err := receive(t, written); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); conn.Close(nil) }()
	_, _ = conn.Next()
	ask("the connection is over", "GET", url+"&_=3", "")
	wait(t, "Close", closed)
	ask("and is no more", "GET", url+"&_=4", "")
	ask("without a token", "GET", "/chat", "")

	other, _ := s.token(t)
	url = "/chat?id=" + other
	ask("another connection", "GET", url, "")
	s.conn(t)
	ask("which the client ends", "DELETE", url, "")
	ask("and is no more", "DELETE", url, "")

	hasty := newSite(t, func(e *Endpoint) { e.PollTimeout = time.Millisecond })
	token, _ = hasty.token(t)
	heard := d.log.String()
	d = hasty.dialog(t)
	d.log.WriteString(heard)
	ask("one to which nothing happens", "GET", "/chat?id="+token, "")
	hasty.conn(t)
	ask("for the poll timeout", "GET", "/chat?id="+token, "")
	golden(t, "polls.txt", d.log.String())
}

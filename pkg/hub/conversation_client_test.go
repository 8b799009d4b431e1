package hub_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// speaker is a client in a conversation. It speaks HTTP and the frames of RFC 6455 by itself: a library would hide what it does
// on its own, and not do what is wrong.
type speaker struct {
	play      *play
	name      string
	token, id string
	wires     []*wire // the network connections that it has opened
}

// leave hangs up, whatever is still to be said.
func (c *speaker) leave() {
	for _, w := range c.wires {
		w.hangUp()
		_ = w.conn.Close()
	}
}

// lines is how many lines wait to be taken. play.mu must be held.
func (c *speaker) lines() (n int) {
	for _, w := range c.wires {
		n += len(w.heard)
	}
	return n
}

// take returns what was heard, over the newest connection first: that is where what was just said is answered. play.mu must be held.
func (c *speaker) take() (lines []string) {
	for i, w := range slices.Backward(c.wires) {
		for _, line := range w.heard {
			if status, ok := strings.CutPrefix(line, statusPrefix); ok {
				line = status
				if i < len(c.wires)-1 {
					line = "(" + w.method + ") " + status
				}
			}
			lines = append(lines, line)
		}
		w.heard = nil
	}
	return lines
}

// statusPrefix marks the first line of a response until it is known whether something else was asked behind it.
const statusPrefix = "HTTP "

// newest returns the newest WebSocket or event stream that is open; nil if there is none.
func (c *speaker) newest() *wire {
	c.play.mu.Lock()
	defer c.play.mu.Unlock()
	for _, w := range slices.Backward(c.wires) {
		if w.open && !w.hungUp {
			return w
		}
	}
	return nil
}

// arrive does what every client does first, without showing it: "negotiate [A] [stateful] [user=NAME]", or with a handshake as well,
// "connect [A] json|messagepack [stateful] [user=NAME]".
func (p *play) arrive(verb string, words []string) error {
	name, codec, version, negotiate, open := "", "", 1, "/chat/negotiate?negotiateVersion=1", "/chat?id=TOKEN"
	for _, w := range words {
		switch {
		case isName(w):
			name, open = w, open+suffix(w)
		case w == "stateful":
			version, negotiate = 2, negotiate+"&useStatefulReconnect=true"
		case strings.Contains(w, "="):
			negotiate, open = negotiate+"&"+w, open+"&"+w
		default:
			codec = w
		}
	}
	c := p.client(name)
	if err := c.ask([]string{"POST " + negotiate}); err != nil {
		return err
	}
	p.settle(map[string]int{name: 2})
	p.collect()
	if verb == "negotiate" {
		return nil
	}
	if err := c.ask([]string{"GET " + open, "Upgrade: websocket"}); err != nil {
		return err
	}
	p.settle(map[string]int{name: 1})
	if err := c.say(fmt.Sprintf(`text {"protocol":%q,"version":%d}␞`, codec, version)); err != nil {
		return err
	}
	p.settle(map[string]int{name: 2})
	p.mu.Lock()
	defer p.mu.Unlock()
	w := c.wires[len(c.wires)-1]
	if len(w.heard) < 2 || w.heard[0] != statusPrefix+"101" || !strings.HasSuffix(w.heard[1], " {}␞") {
		return fmt.Errorf("connecting was answered with %q", w.heard)
	}
	w.heard = w.heard[2:]
	return nil
}

// ask sends a request: its first line, header lines, and a body. It is answered over a connection of its own.
func (c *speaker) ask(lines []string) error {
	conn, err := c.play.dial()
	if err != nil {
		return err
	}
	var head, body strings.Builder
	method, target, _ := strings.Cut(lines[0], " ")
	socket := false
	for _, line := range lines[1:] {
		switch {
		case line == "Upgrade: websocket":
			socket = true
			head.WriteString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
		case headerLine.MatchString(line):
			head.WriteString(line + "\r\n")
		default:
			_, data, err := payload(c.play.revealed(line))
			if err != nil {
				return err
			}
			body.Write(data)
		}
	}
	if method == "POST" {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", body.Len())
	}
	w := &wire{client: c, conn: conn, method: method, writes: make(chan []byte, 1024)}
	c.play.mu.Lock()
	c.wires = append(c.wires, w)
	c.play.mu.Unlock()
	c.play.tasks.Go(w.write)
	c.play.tasks.Go(func() { w.read(socket) })
	w.writes <- []byte(method + " " + c.play.revealed(target) + " HTTP/1.1\r\nHost: hub.example\r\n" + head.String() + "\r\n" + body.String())
	return nil
}

var headerLine = regexp.MustCompile(`^[A-Z][A-Za-z-]*: `)

// say sends a frame over the client's newest connection that is open, a WebSocket, or does something to that connection.
func (c *speaker) say(what string) error {
	w := c.newest()
	if w == nil {
		return fmt.Errorf("nothing is open to say %q over", what)
	}
	verb, rest, _ := strings.Cut(what, " ")
	opcode, known := map[string]byte{"text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}[verb]
	switch {
	case verb == "cut":
		w.hangUp()
		return nil
	case verb == "stall", verb == "read":
		w.stall(verb == "stall")
		return nil
	case verb == "raw":
		_, data, err := payload(rest)
		w.writes <- data
		return err
	case !known:
		return fmt.Errorf("a client cannot %q", what)
	}
	var data []byte
	var err error
	switch verb {
	case "close":
		status, reason, _ := strings.Cut(rest, " ")
		if n, err := strconv.Atoi(status); err == nil {
			data = append([]byte{byte(n >> 8), byte(n)}, reason...)
		}
		c.play.mu.Lock()
		w.saidClose = true
		c.play.mu.Unlock()
	default:
		_, data, err = payload(c.play.revealed(rest))
	}
	w.writes <- clientFrame(opcode, data)
	return err
}

// payload is what a line stands for: text, in which ␞ is the record separator, or bytes in hex with a comment. (x*50) are
// fifty of them.
func payload(text string) (binary bool, data []byte, err error) {
	text = repeated.ReplaceAllStringFunc(text, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	if hex, _, ok := strings.Cut(text, " # "); ok && !strings.ContainsAny(hex, `"␞`) {
		data, err = fromHex(hex)
		return true, data, err
	}
	return false, []byte(strings.ReplaceAll(text, "␞", "\x1e")), nil
}

var repeated = regexp.MustCompile(`\((.)\*(\d+)\)`)

// shown is the opposite of payload, one line for each message.
func shown(data []byte) (lines []string) {
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 || len(data) > 0 && data[0] < 0x1e || isPacked(data) {
		return packets(data)
	}
	for len(data) > 0 {
		n := bytes.IndexByte(data, 0x1e) + 1
		if n == 0 {
			n = len(data)
		}
		lines = append(lines, shortened(strings.ReplaceAll(strings.TrimSuffix(string(data[:n]), "\n"), "\x1e", "␞")))
		data = data[n:]
	}
	return lines
}

// shortened collapses long runs of one letter.
func shortened(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		n := 1
		for i+n < len(text) && text[i+n] == text[i] {
			n++
		}
		if n >= 40 {
			fmt.Fprintf(&out, "(%c*%d)", text[i], n)
		} else {
			out.WriteString(text[i : i+n])
		}
		i += n
	}
	return out.String()
}

// readResponse writes down a response as it comes.
func (w *wire) readResponse(r *bufio.Reader) (*http.Response, error) {
	res, err := http.ReadResponse(r, &http.Request{Method: w.method})
	if err != nil {
		return nil, err
	}
	kind := res.Header.Get("Content-Type")
	w.client.play.mu.Lock()
	w.open = res.StatusCode == http.StatusSwitchingProtocols || kind == "text/event-stream"
	w.client.play.mu.Unlock()
	w.hear(statusPrefix + strings.TrimSpace(strconv.Itoa(res.StatusCode)+" "+kind))
	names := make([]string, 0, len(res.Header))
	for name := range res.Header {
		if telling[name] || w.client.play.showHeaders && name != "Date" && name != "Content-Type" && name != "Sec-Websocket-Accept" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		w.hear(name + ": " + strings.Join(res.Header[name], ", "))
	}
	return res, nil
}

// telling are the headers that are always shown.
var telling = map[string]bool{
	"Allow": true, "Www-Authenticate": true, "Retry-After": true, "Access-Control-Allow-Origin": true, "Access-Control-Allow-Credentials": true,
	"Access-Control-Allow-Methods": true, "Access-Control-Allow-Headers": true, "Access-Control-Max-Age": true,
}

// readBody writes down a body; what a negotiation answers is kept.
func (w *wire) readBody(res *http.Response) {
	if res.Header.Get("Content-Type") == "text/event-stream" {
		w.readEvents(bufio.NewReader(res.Body))
		return
	}
	data, err := io.ReadAll(res.Body)
	var answer struct{ ConnectionToken, ConnectionID string }
	if json.Unmarshal(data, &answer) == nil && answer.ConnectionID != "" {
		w.client.play.mu.Lock()
		w.client.id, w.client.token = answer.ConnectionID, answer.ConnectionToken
		if answer.ConnectionToken == "" {
			w.client.id, w.client.token = "", answer.ConnectionID
		}
		w.client.play.mu.Unlock()
	}
	for _, line := range shown(data) {
		w.hear(line)
	}
	if err != nil {
		w.ended()
	}
}

// readEvents writes down an event stream, without the empty lines.
func (w *wire) readEvents(r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimSuffix(line, "\r\n")
		data, isData := strings.CutPrefix(line, "data: ")
		switch {
		case isData:
			for _, message := range shown([]byte(data)) {
				w.hear("data: " + message)
			}
		case line != "":
			w.hear(line)
		}
		if err == io.EOF {
			w.hear("end of response")
			return
		} else if err != nil {
			w.ended()
			return
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// chatter is a client of the sample hub, over a WebSocket without negotiation.
type chatter struct {
	t     *testing.T
	conn  *websocket.Conn
	in    []string // frames read but not asked for yet
	calls int
}

func dial(t *testing.T, p *process, query string) *chatter {
	t.Helper()
	return dialPath(t, p, hubPath+query)
}

// dialPath does so with any hub.
func dialPath(t *testing.T, p *process, path string) *chatter {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "http://"+p.client+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	c := &chatter{t: t, conn: conn}
	c.send(`{"protocol":"json","version":1}`)
	c.expect("{}")
	return c
}

func (c *chatter) send(frame string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(frame+"\x1e")); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next frame that is no ping.
func (c *chatter) next() string {
	c.t.Helper()
	for {
		for len(c.in) > 0 {
			frame := c.in[0]
			c.in = c.in[1:]
			if frame != "" && frame != `{"type":6}` {
				return frame
			}
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
		_, data, err := c.conn.Read(ctx)
		cancel()
		if err != nil {
			c.t.Fatal(err)
		}
		c.in = strings.Split(string(data), "\x1e")
	}
}

func (c *chatter) expect(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Errorf("got %s\nwant %s", got, want)
	}
}

// call invokes a method and returns what comes before the answer, and the answer without its id.
func (c *chatter) call(method, arguments string) (before []string, answer string) {
	c.t.Helper()
	c.calls++
	id := strconv.Itoa(c.calls)
	c.send(`{"type":1,"invocationId":"` + id + `","target":"` + method + `","arguments":` + arguments + `}`)
	for {
		frame := c.next()
		if rest, ok := strings.CutPrefix(frame, `{"type":3,"invocationId":"`+id+`"`); ok {
			return before, "{" + strings.TrimPrefix(rest, ",")
		}
		before = append(before, frame)
	}
}

// invoke calls a method and expects no result.
func (c *chatter) invoke(method string, arguments ...string) []string {
	c.t.Helper()
	text, err := json.Marshal(arguments)
	if err != nil {
		c.t.Fatal(err)
	}
	before, answer := c.call(method, string(text))
	if answer != "{}" && answer != `{"result":null}` {
		c.t.Errorf("%s answers %s", method, answer)
	}
	return before
}

// whoAmI is the answer of WhoAmI, and the connection's id.
func (c *chatter) whoAmI() (text, id string) {
	c.t.Helper()
	_, answer := c.call("WhoAmI", "[]")
	var who struct{ Result struct{ ConnectionID string } }
	if err := json.Unmarshal([]byte(answer), &who); err != nil {
		c.t.Fatal(err)
	}
	return answer, who.Result.ConnectionID
}

func message(user, text string) string {
	return `{"type":1,"target":"ReceiveMessage","arguments":["` + user + `","` + text + `"]}`
}

func system(text string) string {
	return `{"type":1,"target":"SystemMessage","arguments":["` + text + `"]}`
}

// contains checks frames that come in no given order with the answer of a call.
func contains(t *testing.T, c *chatter, before []string, want string) {
	t.Helper()
	if len(before) == 0 {
		before = []string{c.next()}
	}
	if len(before) != 1 || before[0] != want {
		t.Errorf("got %v\nwant %s", before, want)
	}
}

func TestChatHub(t *testing.T) {
	p := launch(t, "--node-name=blue")
	ann, bob, eve := dial(t, p, "?user=ann"), dial(t, p, "?user=bob"), dial(t, p, "")
	everyone := []*chatter{ann, bob, eve}

	who, annID := ann.whoAmI()
	if want := `{"result":{"connectionId":"` + annID + `","userId":"ann","node":"blue","transport":"WebSockets"}}`; who != want {
		t.Errorf("WhoAmI: %s\nwant %s", who, want)
	}
	if who, _ := eve.whoAmI(); !strings.Contains(who, `"userId":null`) {
		t.Errorf("WhoAmI of an anonymous client: %s", who)
	}
	_, bobID := bob.whoAmI()

	contains(t, ann, ann.invoke("SendMessage", "Ann", "to all"), message("Ann", "to all"))
	bob.expect(message("Ann", "to all"))
	eve.expect(message("Ann", "to all"))

	if before := ann.invoke("SendToOthers", "Ann", "to others"); len(before) != 0 {
		t.Errorf("the sender gets %v", before)
	}
	bob.expect(message("Ann", "to others"))
	eve.expect(message("Ann", "to others"))

	ann.invoke("sendtouser", "bob", "Ann", "to Bob")
	bob.expect(message("Ann", "to Bob"))
	ann.invoke("SendToConnection", bobID, "Ann", "to this Bob")
	bob.expect(message("Ann", "to this Bob"))

	contains(t, ann, ann.invoke("JoinRoom", "attic"), system(annID+" joined attic"))
	contains(t, bob, bob.invoke("JoinRoom", "attic"), system(bobID+" joined attic"))
	ann.expect(system(bobID + " joined attic"))
	eve.invoke("SendToRoom", "attic", "Eve", "knock knock")
	ann.expect(message("Eve", "knock knock"))
	bob.expect(message("Eve", "knock knock"))
	if before := bob.invoke("LeaveRoom", "attic"); len(before) != 0 {
		t.Errorf("who leaves gets %v", before)
	}
	ann.expect(system(bobID + " left attic"))
	eve.invoke("SendToRoom", "attic", "Eve", "still there?")
	ann.expect(message("Eve", "still there?"))

	for _, value := range []string{`1.0`, `12345678901234567890`, `"\u00e9<&>"`, `null`, `{"a":[1,{"b":null}],"c":1e3}`, `[]`} {
		if _, answer := ann.call("Echo", "["+value+"]"); answer != `{"result":`+value+`}` {
			t.Errorf("Echo of %s answers %s", value, answer)
		}
	}
	if _, answer := ann.call("Fail", `["on purpose"]`); !strings.HasSuffix(answer, `HubException: on purpose"}`) {
		t.Errorf("Fail answers %s", answer)
	}
	if _, answer := ann.call("JoinRoom", `[""]`); !strings.Contains(answer, "A room must have a name.") {
		t.Errorf("JoinRoom without a name answers %s", answer)
	}

	// Nothing else came to anyone: the next thing each hears is this.
	ann.invoke("SendToOthers", "Ann", "bye")
	for _, c := range everyone[1:] {
		c.expect(message("Ann", "bye"))
	}
}

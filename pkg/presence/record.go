package presence

import (
	"encoding/json"
	"strings"
	"time"
)

// details are what Redis holds of a connection beside its id, its user and its node.
type details struct {
	Hub       string `json:"h,omitempty"`
	Transport string `json:"t,omitempty"`
	Since     int64  `json:"s"` // ms since 1970
	Metadata  []byte `json:"m,omitempty"`
}

func encodeDetails(c *Connection) string {
	text, _ := json.Marshal(details{c.Hub, c.Transport, c.Since.UnixMilli(), c.Metadata}) // always encodes
	return string(text)
}

// decodeDetails fills in what Redis holds of a connection. What cannot be read stays empty.
func decodeDetails(c *Connection, text string) {
	var d details
	if json.Unmarshal([]byte(text), &d) == nil {
		c.Hub, c.Transport, c.Since, c.Metadata = d.Hub, d.Transport, time.UnixMilli(d.Since), d.Metadata
	}
}

// decodeRecord reads what the key of a user says about one of its connections.
func decodeRecord(user, id, text string) Connection {
	incarnation, rest, _ := strings.Cut(text, "\n")
	c := Connection{ID: id, User: user, Node: nodeOf(incarnation)}
	decodeDetails(&c, rest)
	return c
}

// userOf is the user of a connection, from what the key of its incarnation says: "=" and the user, or "-" and what is known of an
// anonymous connection.
func userOf(text string) string {
	user, _ := strings.CutPrefix(text, "=")
	if len(user) == len(text) {
		return ""
	}
	return user
}

package presence

import (
	"strconv"
	"strings"
)

// entry is one entry of a partition's log.
type entry struct {
	id, previous string
	Change
}

// follower follows the log of one partition. It does no I/O.
type follower struct {
	// last is the id of the last entry that has been taken into account; empty: what is known means nothing, and a snapshot is due.
	last string
}

// fault is why a log cannot be followed any further.
type fault int

const (
	sound    fault = iota
	trimmed        // entries are missing that Redis no longer has
	reverted       // Redis has another past than the one that was followed
)

// next takes the next entry into account, if it is the one that follows.
func (f *follower) next(e entry) fault {
	if e.previous == f.last {
		f.last = e.id
		return sound
	}
	if versionOf(e.id) > versionOf(f.last)+1 {
		return trimmed
	}
	return reverted
}

// check compares the end of the log with what had been followed before it was asked for.
func (f *follower) check(followed, end string) fault {
	if f.last != "" && followed != "" && (versionOf(end) < versionOf(followed) || versionOf(end) == versionOf(followed) && end != followed) {
		return reverted
	}
	return sound
}

// noEntry is the id of what is before the first entry of a log.
const noEntry = "0-0"

// versionOf is the first half of an id.
func versionOf(id string) uint64 {
	text, _, _ := strings.Cut(id, "-")
	version, _ := strconv.ParseUint(text, 10, 64)
	return version
}

// readEntry reads an entry from its fields.
func readEntry(id string, values map[string]any) (e entry, ok bool) {
	user, ok1 := values["u"].(string)
	online, ok2 := values["o"].(string)
	previous, ok3 := values["p"].(string)
	return entry{id, previous, Change{user, online == "1"}}, ok1 && ok2 && ok3
}

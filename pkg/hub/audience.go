package hub

import (
	"slices"
	"sync"
)

// audience is a set of connections that receive the same messages in the same order. The lock is held while one
// message is queued for all of them, so that no two messages can change places for one member only.
type audience struct {
	mu      sync.Mutex
	members []*Connection
	index   map[*Connection]int // where each member stands; nil while there are few
	speak   [maxCodecs]int      // how many members speak each protocol
}

// fewMembers is up to how many members are searched one by one, which is as fast as a map and needs no memory.
const fewMembers = 8

// add says whether c was not a member before.
func (a *audience) add(c *Connection) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.find(c) >= 0 {
		return false
	}
	a.members = append(a.members, c)
	a.speak[c.codec]++
	switch {
	case a.index != nil:
		a.index[c] = len(a.members) - 1
	case len(a.members) > fewMembers:
		a.index = make(map[*Connection]int, 2*fewMembers)
		for i, m := range a.members {
			a.index[m] = i
		}
	}
	return true
}

// remove says whether c was a member.
func (a *audience) remove(c *Connection) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.find(c)
	if i < 0 {
		return false
	}
	a.speak[c.codec]--
	last := len(a.members) - 1
	moved := a.members[last]
	a.members[i], a.members[last] = moved, nil
	a.members = a.members[:last]
	if a.index != nil {
		a.index[moved] = i
		delete(a.index, c)
		if last == 0 {
			a.index = nil
		}
	}
	if last == 0 {
		a.members = nil
	}
	return true
}

func (a *audience) find(c *Connection) int {
	if a.index == nil {
		return slices.Index(a.members, c)
	}
	if i, ok := a.index[c]; ok {
		return i
	}
	return -1
}

// snapshot are the members as they are now.
func (a *audience) snapshot() []*Connection {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.members)
}

func (a *audience) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.members)
}

// deliver queues m for every member but those excluded, and notes in w whose writers must be started. It returns the number of
// members reached. An error means that m could not be encoded for a protocol that some speak; nobody has got it then.
func (a *audience) deliver(m *outgoing, excluded []string, w *wakeList) (int, error) {
	for {
		reached, missing := a.tryDeliver(m, excluded, w)
		if missing < 0 {
			return reached, nil
		}
		// Encoding runs code of the user's types, so it is not done under the lock.
		if err := m.make(missing); err != nil {
			return 0, err
		}
	}
}

// tryDeliver does nothing but return a protocol for which m must be made first, if there is one.
func (a *audience) tryDeliver(m *outgoing, excluded []string, w *wakeList) (reached, missing int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for codec, n := range a.speak {
		if n > 0 && !m.made[codec] {
			return 0, codec
		}
	}
	for _, c := range a.members {
		if len(excluded) > 0 && slices.Contains(excluded, c.id) {
			continue
		}
		w.push(c, m)
		reached++
	}
	return reached, -1
}

package backplane

import (
	"fmt"
	"strings"
)

// slots is how many there are in a cluster.
const slots = 16384

// shards is how many parts sharded Pub/Sub has: each is a slot of its own, with one link for what is published and one for
// what is subscribed. All nodes must agree on it; sixteen spread well over any number of servers that a cluster of nodes keeps busy.
const shards = 16

// shard is one of those parts.
type shard struct {
	tag  string // goes in front of its channels
	slot int
}

// shardTable has the parts' slots evenly over all that there are, so that every server gets its share.
var shardTable = makeShards()

func makeShards() (table [shards]shard) {
	for n, found := 0, 0; found < shards; n++ {
		tag := fmt.Sprintf("{lane-%d}", n)
		slot := slotOf(tag)
		if s := &table[slot*shards/slots]; s.tag == "" {
			*s = shard{tag + ":", slot}
			found++
		}
	}
	return table
}

// slotOf is the slot of a key or a channel: the CRC-16 (XMODEM) of its hash tag, or of all of it.
func slotOf(key string) int {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(rest, "}"); found && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// share says which of n parts has a channel. All nodes agree (it is FNV-1a): on a cluster, what all publish to one channel goes
// through one server then, and reaches everyone in one order.
func share(channel string, n int) int {
	if n == 1 {
		return 0
	}
	hash := uint32(2166136261)
	for i := range len(channel) {
		hash = (hash ^ uint32(channel[i])) * 16777619
	}
	return int(hash % uint32(n))
}

package presence

import (
	"hash/fnv"
	"strconv"
	"strings"
)

// partitions is into how many parts presence is divided. All keys of one have a hash tag of their own, so that one script reaches them
// on a cluster of Redis, too. It is fixed for all nodes by the key "meta".
const partitions = 16

// layout is what the key "meta" says: the version of the data model, and the number of partitions.
var layout = "1 " + strconv.Itoa(partitions)

// partitionOf is the partition of a user, or of an anonymous connection.
func partitionOf(user, id string) int {
	if user == "" {
		user = id
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(user))
	return int(h.Sum32() % partitions)
}

// keys are the names of the keys of one partition.
type keys struct {
	prefix string   // of all of them
	common []string // those that every script gets; see common.lua
}

func newKeys(prefix string, partition int) keys {
	k := keys{prefix: prefix + "{" + strconv.Itoa(partition) + "}:"}
	for _, name := range []string{"inc", "due", "on", "ver", "log", "seen", "gone"} {
		k.common = append(k.common, k.prefix+name)
	}
	return k
}

func (k *keys) inc() string  { return k.common[0] }
func (k *keys) on() string   { return k.common[2] }
func (k *keys) log() string  { return k.common[4] }
func (k *keys) seen() string { return k.common[5] }

// user is the key of a user's connections.
func (k *keys) user(user string) string { return k.prefix + "u:" + user }

// node is the key of an incarnation's connections.
func (k *keys) node(incarnation string) string { return k.prefix + "n:" + incarnation }

// nodeOf is the id of the node of an incarnation.
func nodeOf(incarnation string) string {
	if end := strings.LastIndexByte(incarnation, '#'); end >= 0 {
		return incarnation[:end]
	}
	return incarnation
}

// numberOf is the number of an incarnation's lease; 0 if it has none.
func numberOf(incarnation string) uint64 {
	n, _ := strconv.ParseUint(incarnation[strings.LastIndexByte(incarnation, '#')+1:], 10, 64)
	return n
}

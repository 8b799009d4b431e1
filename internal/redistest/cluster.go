package redistest

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Slots is how many slots a cluster has.
const Slots = 16384

// Cluster is a Redis Cluster: Masters with equal shares of the slots, in order, and one replica for each if it was wanted.
// A node that is gone for a second is replaced by its replica.
type Cluster struct {
	Masters, Replicas []*Server // their first roles
	ids               map[*Server]string
	guard             Guard
}

// StartCluster starts a cluster; all its nodes agree that it works when it returns. args are further arguments of each.
func StartCluster(t testing.TB, masters int, replicas bool, args ...string) *Cluster {
	t.Helper()
	return StartGuardedCluster(t, Guard{}, masters, replicas, args...)
}

// StartGuardedCluster starts one that not everybody may use, in the same way.
func StartGuardedCluster(t testing.TB, guard Guard, masters int, replicas bool, args ...string) *Cluster {
	t.Helper()
	args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"}, args...)
	c := &Cluster{ids: map[*Server]string{}, guard: guard}
	node := func() *Server {
		s := guard.start(t, func(*Server) []string {
			return slices.Concat(args, []string{"--cluster-port", strconv.Itoa(freePort(t))})
		})
		c.ids[s] = fmt.Sprint(s.Do(t, "CLUSTER", "MYID"))
		return s
	}
	for i := range masters {
		s := node()
		s.Do(t, "CLUSTER", "ADDSLOTSRANGE", i*Slots/masters, (i+1)*Slots/masters-1)
		s.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		c.Masters = append(c.Masters, s)
		if replicas {
			c.Replicas = append(c.Replicas, node())
		}
	}
	all := c.Nodes()
	for _, s := range all[1:] {
		all[0].Do(t, "CLUSTER", "MEET", "127.0.0.1", s.port, s.args[slices.Index(s.args, "--cluster-port")+1])
	}
	for _, s := range all {
		s.wait(t, contains(fmt.Sprintf("cluster_known_nodes:%d\r", len(all))), "CLUSTER", "INFO")
	}
	for i, s := range c.Replicas {
		s.Do(t, "CLUSTER", "REPLICATE", c.ids[c.Masters[i]])
	}
	for _, s := range c.Replicas {
		s.wait(t, contains("master_link_status:up"), "INFO", "replication")
	}
	c.WaitWhole(t)
	for _, s := range all {
		s.wait(t, func(answer string) bool {
			return strings.Count(answer, " slave ")+strings.Count(answer, ",slave ") == len(c.Replicas)
		},
			"CLUSTER", "NODES")
	}
	return c
}

// Nodes are all of its servers.
func (c *Cluster) Nodes() []*Server { return slices.Concat(c.Masters, c.Replicas) }

// WaitWhole waits until all running nodes say that the cluster works.
func (c *Cluster) WaitWhole(t testing.TB) {
	t.Helper()
	for _, s := range c.Nodes() {
		if s.Running() {
			s.wait(t, contains("cluster_state:ok"), "CLUSTER", "INFO")
		}
	}
}

// URL names all the nodes that were masters first.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Masters {
		addrs = append(addrs, s.Addr())
	}
	return c.guard.url("redis", strings.Join(addrs, ","), "", url.Values{})
}

// Owner is the server that has a slot, as the others see it.
func (c *Cluster) Owner(t testing.TB, slot int) *Server {
	t.Helper()
	for _, asked := range c.Nodes() {
		if !asked.Running() {
			continue
		}
		for _, r := range asked.Do(t, "CLUSTER", "SLOTS").([]any) {
			r := r.([]any)
			if int64(slot) < r[0].(int64) || int64(slot) > r[1].(int64) {
				continue
			}
			for _, s := range c.Nodes() {
				if int64(s.port) == r[2].([]any)[1].(int64) {
					return s
				}
			}
		}
	}
	t.Fatalf("redistest: nobody has slot %d", slot)
	return nil
}

// MoveSlot gives an empty slot to another master.
func (c *Cluster) MoveSlot(t testing.TB, slot int, to *Server) {
	t.Helper()
	from := c.Owner(t, slot)
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from])
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to])
	to.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	from.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
}

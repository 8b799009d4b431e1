package main

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// membersWithin is how long RoomMembers takes at most, as its comment says.
const membersWithin = 3 * time.Second

// TestMembersOfRooms asks three nodes who is in a room: while all live, while one is stopped, and when it is dead.
func TestMembersOfRooms(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T) []string{
		"Redis":         func(t *testing.T) []string { return []string{"--redis=" + redistest.Start(t).URL()} },
		"Redis Cluster": func(t *testing.T) []string { return []string{"--redis=" + redistest.StartCluster(t, 3, false).URL()} },
		"Redis Cluster, sharded": func(t *testing.T) []string {
			return []string{"--redis=" + redistest.StartCluster(t, 3, false).URL(), "--redis-sharded"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var nodes []*process
			var ids []string // of one connection on each
			args := append(begin(t), "--demo=true")
			for range 3 {
				nodes = append(nodes, launch(t, args...))
			}
			var clients []*chatter
			for _, p := range nodes {
				poll(t, "ready", func() bool { status, _ := p.get(p.admin + "/readyz"); return status == 200 })
				c := dial(t, p, "")
				_, answer := c.call("WhoAmI", "[]")
				var who struct{ Result struct{ ConnectionID string } }
				if err := json.Unmarshal([]byte(answer), &who); err != nil {
					t.Fatal(err)
				}
				clients, ids = append(clients, c), append(ids, who.Result.ConnectionID)
			}
			for _, c := range clients {
				c.call("JoinRoom", `["attic"]`)
			}
			look := func(i int, within time.Duration, complete bool, want ...string) {
				t.Helper()
				began := time.Now()
				got := clients[i].members("attic")
				took := time.Since(began)
				want = slices.Sorted(slices.Values(want))
				if !slices.Equal(got, want) || took > within {
					t.Errorf("%q after %v; want %q within %v", got, took, want, within)
				}
				began = time.Now()
				status, body := nodes[i].get(nodes[i].admin + "/groups/count?group=attic")
				var answer struct {
					Complete    bool
					Connections int
				}
				if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil || answer.Complete != complete || answer.Connections != len(want) {
					t.Errorf("count: %d %s; want %d, complete: %v", status, body, len(want), complete)
				}
				t.Logf("members after %v, count after %v: %s", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), strings.TrimSpace(body))
			}
			for i := range nodes {
				look(i, membersWithin, true, ids...)
			}

			nodes[2].freeze()
			look(0, membersWithin, false, ids[:2]...)
			look(0, membersWithin*2/3, false, ids[:2]...) // it is known by now that it does not answer
			nodes[2].signal(syscall.SIGCONT)
			poll(t, "complete again", func() bool { return len(clients[0].members("attic")) == 3 })
			look(0, membersWithin, true, ids...)

			if err := nodes[2].cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			nodes[2].exit()
			look(1, membersWithin, true, ids[:2]...) // its lease runs on for a while
			look(0, membersWithin, true, ids[:2]...)
		})
	}
}

// members are the ids of the connections in a room, as RoomMembers says.
func (c *chatter) members(room string) (ids []string) {
	c.t.Helper()
	_, answer := c.call("RoomMembers", `["`+room+`"]`)
	var list struct {
		Result []struct{ ConnectionID string }
		Error  string
	}
	if err := json.Unmarshal([]byte(answer), &list); err != nil || list.Error != "" {
		c.t.Errorf("RoomMembers: %s", answer)
	}
	for _, m := range list.Result {
		ids = append(ids, m.ConnectionID)
	}
	slices.Sort(ids)
	return ids
}

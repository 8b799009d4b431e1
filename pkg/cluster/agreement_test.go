package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
	"github.com/hubfleet/hubfleet/pkg/cluster"
)

// Nodes that were started with different secrets find out, and say what to do; those that agree say nothing.
func TestDifferentSecrets(t *testing.T) {
	const given, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	for name, test := range map[string]struct {
		first, second string
		advice        string // empty: they agree
	}{
		"both given, the same":    {given, given, ""},
		"both kept in Redis":      {"", "", ""},
		"both given, different":   {given, other, "get 404: start all nodes with the same --cluster-secret"},
		"the second one is given": {"", given, "get 404: start all nodes with the same --cluster-secret"},
		"the first one is given":  {given, "", "this one without: start all nodes with the same --cluster-secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			node := func(id, secret string) (c *cluster.Redis, stop func()) {
				t.Helper()
				o := cluster.RedisOptions{URL: server.URL(), Prefix: "x:", NodeID: id, Interval: 20 * time.Millisecond, Lease: 200 * time.Millisecond}
				if secret != "" {
					o.Secret = []byte(secret)
				}
				c, err := cluster.NewRedis(o)
				if err != nil {
					t.Fatal(err)
				}
				return c, runUntilStopped(t, c)
			}
			marked := func() bool { return server.Do(t, "EXISTS", "x:secret:mark") == int64(1) }
			first, stop := node("first", test.first)
			eventually(t, "marked", marked)
			second, _ := node("second", test.second)
			if test.advice == "" {
				for range 20 { // contacts of either
					server.Do(t, "DEL", "x:secret:mark")
					eventually(t, "marked again", marked)
					for _, c := range []*cluster.Redis{first, second} {
						if _, err := c.Disagreement(); err != nil {
							t.Error(err)
						}
					}
				}
				return
			}
			eventually(t, "at odds", func() bool { _, err := second.Disagreement(); return err != nil })
			since, err := second.Disagreement()
			if !errors.Is(err, cluster.ErrOtherSecret) || !strings.Contains(err.Error(), test.advice) || time.Since(since) < 200*time.Millisecond {
				t.Errorf("since %v: %v", since, err)
			}
			if _, err := first.Disagreement(); err != nil {
				t.Errorf("the node that came first: %v", err)
			}

			// Once there are no others, all is well again.
			stop()
			eventually(t, "at one", func() bool { _, err := second.Disagreement(); return err == nil })
		})
	}
}

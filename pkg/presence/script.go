package presence

import (
	"context"
	"crypto/sha1"
	_ "embed" // the scripts
	"encoding/hex"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed clock.lua
	clockSource string
	//go:embed common.lua
	commonSource string
	//go:embed apply.lua
	applySource string
	//go:embed tick.lua
	tickSource string
	//go:embed sweep.lua
	sweepSource string
)

// script is the text of a script, and what Redis calls it.
type script struct{ text, sha string }

func newScript(clock, source string) script {
	text := clock + commonSource + source
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// scripts are those that change a partition.
type scripts struct{ apply, tick, sweep script }

func newScripts(clock string) scripts {
	return scripts{newScript(clock, applySource), newScript(clock, tickSource), newScript(clock, sweepSource)}
}

// call is one call of a script, and what came of it.
type call struct {
	script script
	keys   []string
	args   []any
	reply  []any
	err    error
}

// run makes calls in one go. Each call's err says what became of it; the result is the first of them. A script that Redis does not
// know, or no longer, is sent along in a second attempt: the first one did nothing.
func run(ctx context.Context, client redis.UniversalClient, calls []*call) error {
	unknown := attempt(ctx, client, calls, func(pipe redis.Pipeliner, c *call) *redis.Cmd {
		return pipe.EvalSha(ctx, c.script.sha, c.keys, c.args...)
	})
	attempt(ctx, client, unknown, func(pipe redis.Pipeliner, c *call) *redis.Cmd {
		return pipe.Eval(ctx, c.script.text, c.keys, c.args...)
	})
	for _, c := range calls {
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// attempt makes calls, and returns those whose script is not known.
func attempt(ctx context.Context, client redis.UniversalClient, calls []*call, put func(redis.Pipeliner, *call) *redis.Cmd) (unknown []*call) {
	if len(calls) == 0 {
		return nil
	}
	pipe := client.Pipeline()
	replies := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		replies[i] = put(pipe, c)
	}
	_, _ = pipe.Exec(ctx) // each reply says for itself
	for i, c := range calls {
		c.reply, c.err = replies[i].Slice()
		if c.err != nil && strings.HasPrefix(c.err.Error(), "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	return unknown
}

var errReply = errors.New("presence: Redis gave a reply that cannot be read")

// numbers reads a reply that consists of integers.
func numbers(reply []any, n int) ([]int64, error) {
	if len(reply) < n {
		return nil, errReply
	}
	list := make([]int64, n)
	for i := range n {
		v, ok := reply[i].(int64)
		if !ok {
			return nil, errReply
		}
		list[i] = v
	}
	return list, nil
}

// ticked is what a partition says about itself.
type ticked struct {
	now     int64 // ms
	epoch   string
	since   int64 // ms
	ver     string
	offline int64 // users who went offline by this call
	due     int64 // ms; 0: nobody is leaving
	held    map[string]string
}

func parseTicked(reply []any) (t ticked, err error) {
	if len(reply) < 6 || len(reply)%2 != 0 {
		return t, errReply
	}
	var ok [6]bool
	t.now, ok[0] = reply[0].(int64)
	t.epoch, ok[1] = reply[1].(string)
	t.since, ok[2] = reply[2].(int64)
	t.ver, ok[3] = reply[3].(string)
	t.offline, ok[4] = reply[4].(int64)
	t.due, ok[5] = reply[5].(int64)
	if ok != [6]bool{true, true, true, true, true, true} {
		return t, errReply
	}
	t.held = make(map[string]string, len(reply)/2-3)
	for i := 6; i < len(reply); i += 2 {
		name, _ := reply[i].(string)
		t.held[name], _ = reply[i+1].(string)
	}
	return t, nil
}

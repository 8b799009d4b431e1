package redisurl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	type result struct {
		Network, Addr, User, Password string
		DB                            int
		TLS                           string
	}
	for raw, want := range map[string]result{
		"redis://localhost":                   {"tcp", "localhost:6379", "", "", 0, ""},
		"redis://10.0.0.1:7000/5":             {"tcp", "10.0.0.1:7000", "", "", 5, ""},
		"redis://[::1]":                       {"tcp", "[::1]:6379", "", "", 0, ""},
		"redis://:secret@h":                   {"tcp", "h:6379", "", "secret", 0, ""},
		"redis://me:p%40ss%2F%23%3A%3F%25@h":  {"tcp", "h:6379", "me", "p@ss/#:?%", 0, ""},
		"rediss://me:pw@h.example:1/2":        {"tcp", "h.example:1", "me", "pw", 2, "h.example"},
		"rediss://h?skip_verify=true":         {"tcp", "h:6379", "", "", 0, "h, unverified"},
		"unix:///run/redis.sock":              {"unix", "/run/redis.sock", "", "", 0, ""},
		"unix://me:pw@/run/redis.sock?db=3":   {"unix", "/run/redis.sock", "me", "pw", 3, ""},
		"redis://h:1?dial_timeout=3&db=1":     {"tcp", "h:1", "", "", 1, ""},
		"redis://user:with,comma@h.example:1": {"tcp", "h.example:1", "user", "with,comma", 0, ""},
	} {
		opt, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got := result{opt.Network, opt.Addr, opt.Username, opt.Password, opt.DB, ""}
		if opt.TLSConfig != nil {
			got.TLS = opt.TLSConfig.ServerName
			if opt.TLSConfig.InsecureSkipVerify {
				got.TLS += ", unverified"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                "is empty",
		"localhost:6379":                  "no scheme",
		"host,host2":                      "no scheme",
		"redis://user:1/hidden@h":         "percent-encoded",
		"redis://a:1,b:2":                 "Redis Cluster",
		"redis://a:1,redis://b:2":         "Redis Cluster",
		"redis+sentinel://h/master":       "Sentinel",
		"http://user:hidden@h":            "unknown scheme",
		"redis://user:hidden/word@h":      "percent-encoded",
		"redis://user:hid den@h":          "percent-encoded",
		"redis://user:hidden%zz@h":        "percent-encoded",
		"redis://:hidden#more@h":          "percent-encoded",
		"redis://:hidden@h#x":             "percent-encoded",
		"redis://user:hidden@h/zero":      "invalid database number",
		"redis://user:hidden@h/1/2":       "invalid URL path",
		"redis://user:hidden@h?db=-1":     "negative",
		"redis://user:hidden@h?nonsense=": "nonsense",
		"redis://user:hidden@h?db=x":      "invalid database number",
		"unix://user:hidden@":             "empty unix socket path",
	} {
		_, err := Parse(raw)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", raw, err, want)
		} else if strings.Contains(err.Error(), "hid") {
			t.Errorf("%q: the password is shown: %v", raw, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"redis://user:hidden@h:1/2?x=hidden": "redis://xxxxx@h:1/2",
		"redis://h":                          "redis://h",
		"unix://u:hidden@/r.sock":            "unix://xxxxx@/r.sock",
		"redis://:hidden/x@h":                "(unreadable Redis URL)",
		"hidden":                             "(unreadable Redis URL)",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// Whatever the URL, neither an error nor a redacted URL shows the password.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"redis://user:PASSWORD@host:1/0?a=b#c", "rediss://:PASSWORD@[::1]", "x://PASSWORD:PASSWORD@", "redis://a:b:PASSWORD@h"} {
		before, after, _ := strings.Cut(seed, "PASSWORD")
		f.Add(before, after)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hG7kT9wQ"
		// Only where a password belongs: what stands in the host, the path or the scheme is no secret.
		raw := "redis://" + strings.NewReplacer("@", "", "/", "", "?", "", "#", "", ":", "").Replace(before) + ":" + secret +
			strings.NewReplacer("@", "").Replace(after) + "@host:6379/0"
		if _, err := Parse(raw); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", raw, err)
		}
		if got := Redact(raw); strings.Contains(got, secret) {
			t.Errorf("%q: %q", raw, got)
		}
	})
}

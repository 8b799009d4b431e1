package redisurl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	type result struct {
		Kind           Kind
		Addrs          string
		Master         string
		Network        string
		User, Password string
		Sentinel       string
		DB             int
		TLS            string
	}
	for raw, want := range map[string]result{
		"redis://localhost":                   {Addrs: "localhost:6379", Network: "tcp"},
		"redis://10.0.0.1:7000/5":             {Addrs: "10.0.0.1:7000", Network: "tcp", DB: 5},
		"redis://[::1]":                       {Addrs: "[::1]:6379", Network: "tcp"},
		"redis://:secret@h":                   {Addrs: "h:6379", Network: "tcp", Password: "secret"},
		"redis://me:p%40ss%2F%23%3A%3F%25@h":  {Addrs: "h:6379", Network: "tcp", User: "me", Password: "p@ss/#:?%"},
		"rediss://me:pw@h.example:1/2":        {Addrs: "h.example:1", Network: "tcp", User: "me", Password: "pw", DB: 2, TLS: "h.example"},
		"rediss://h?skip_verify=true":         {Addrs: "h:6379", Network: "tcp", TLS: "h, unverified"},
		"rediss://h?server_name=other":        {Addrs: "h:6379", Network: "tcp", TLS: "other"},
		"unix:///run/redis.sock":              {Addrs: "/run/redis.sock", Network: "unix"},
		"unix://me:pw@/run/a,b.sock?db=3":     {Addrs: "/run/a,b.sock", Network: "unix", User: "me", Password: "pw", DB: 3},
		"redis://h:1?dial_timeout=3&db=1":     {Addrs: "h:1", Network: "tcp", DB: 1},
		"redis://user:with,comma@h.example:1": {Addrs: "h.example:1", Network: "tcp", User: "user", Password: "with,comma"},

		"redis://a:1,b,[::1]:2":                 {Kind: Cluster, Addrs: "a:1 b:6379 [::1]:2"},
		"redis://me:p,w@a:1,b:2/":               {Kind: Cluster, Addrs: "a:1 b:2", User: "me", Password: "p,w"},
		"rediss://:pw@a,b/0?skip_verify=true":   {Kind: Cluster, Addrs: "a:6379 b:6379", Password: "pw", TLS: ", unverified"},
		"redis://config.example?cluster=true":   {Kind: Cluster, Addrs: "config.example:6379"},
		"redis://one.example:1?cluster=false":   {Addrs: "one.example:1", Network: "tcp"},
		"redis+sentinel://s/mymaster":           {Kind: Sentinel, Addrs: "s:26379", Master: "mymaster"},
		"redis+sentinel://:pw@s:1,[::1]/my%20m": {Kind: Sentinel, Addrs: "s:1 [::1]:26379", Master: "my m", Password: "pw"},
		"redis+sentinel://u:pw@s/m/7?sentinel_username=su&sentinel_password=s%2Fp": {
			Kind: Sentinel, Addrs: "s:26379", Master: "m", User: "u", Password: "pw", DB: 7, Sentinel: "su s/p"},
		"rediss+sentinel://s.example,t.example/m": {Kind: Sentinel, Addrs: "s.example:26379 t.example:26379", Master: "m", TLS: "any"},
	} {
		target, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		opt := target.Options
		got := result{target.Kind, strings.Join(target.Addrs, " "), target.Master, opt.Network, opt.Username, opt.Password,
			strings.TrimSpace(target.SentinelUsername + " " + target.SentinelPassword), opt.DB, ""}
		if opt.TLSConfig != nil {
			if got.TLS = opt.TLSConfig.ServerName; opt.TLSConfig.InsecureSkipVerify {
				got.TLS += ", unverified"
			} else if got.TLS == "" {
				got.TLS = "any"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	notes := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(notes, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"":                                                     "is empty",
		"localhost:6379":                                       "no scheme",
		"host,host2":                                           "no scheme",
		"redis://user:1/hidden@h":                              "percent-encoded",
		"redis://a:1,redis://b:2":                              "share one",
		"redis://hidden:hidden@a,,b":                           "empty address",
		"redis://a,b:hidden":                                   "percent-encoded",
		"redis://u:hidden@a:1,b:2/3":                           "no numbered databases",
		"redis://u:hidden@h?protocol=4":                        "protocol must be 2 or 3",
		"redis://h?cluster=hidden":                             "true or false",
		"unix:///run/r.sock?cluster=true":                      "goes with redis://",
		"unix://a,b/r.sock":                                    "several sockets",
		"redis+sentinel://u:hidden@h":                          "write redis+sentinel://host:26379/NAME",
		"redis+sentinel://h,/m":                                "empty address",
		"redis+sentinel:///m":                                  "empty address",
		"redis+sentinel://h/m/hidden@":                         "percent-encoded",
		"redis+sentinel://h/m/x":                               "invalid database number",
		"redis+sentinel://h/m?cluster=1":                       "goes with redis://",
		"redis://h?sentinel_password=hid":                      "go with redis+sentinel://",
		"redis://h?ca_file=/ca.pem":                            "need TLS",
		"rediss://h?ca_file=/no/such":                          "no such file",
		"rediss://h?ca_file=" + notes:                          "no certificate",
		"rediss://h?cert_file=" + notes:                        "go together",
		"rediss://h?cert_file=" + notes + "&key_file=" + notes: "cert_file, key_file",
		"http://user:hidden@h":                                 "unknown scheme",
		"redis://user:hidden/word@h":                           "percent-encoded",
		"redis://user:hid den@h":                               "percent-encoded",
		"redis://user:hidden%zz@h":                             "percent-encoded",
		"redis://:hidden#more@h":                               "percent-encoded",
		"redis://:hidden@h#x":                                  "percent-encoded",
		"redis://user:hidden@h/zero":                           "invalid database number",
		"redis://user:hidden@h/1/2":                            "invalid URL path",
		"redis://user:hidden@h?db=-1":                          "negative",
		"redis://user:hidden@h?nonsense=":                      "nonsense",
		"redis://user:hidden@a,b?nonsense=":                    "nonsense",
		"redis://user:hidden@h?db=x":                           "invalid database number",
		"redis://user:hidden@h?a=%zz":                          "cannot be read",
		"unix://user:hidden@":                                  "empty unix socket path",
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
		"rediss://u:hidden@a:1,b:2,[::1]:3":  "rediss://xxxxx@a:1,b:2,[::1]:3",
		"redis://xx:hidden@x,y":              "redis://xxxxx@x,y",
		"redis+sentinel://:hidden@s:1,t/m/2?sentinel_password=hidden": "redis+sentinel://xxxxx@s:1,t/m/2",
		"redis+sentinel://s,:hidden@t/m":                              "redis+sentinel://xxxxx@t/m",
		"redis://a,b:hidden":                                          "(unreadable Redis URL)",
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
		user := strings.NewReplacer("@", "", "/", "", "?", "", "#", "", ":", "").Replace(before) + ":" + secret + strings.ReplaceAll(after, "@", "")
		for _, raw := range []string{
			"redis://" + user + "@host:6379/0", "redis://" + user + "@host:6379,host2", "redis+sentinel://" + user + "@host:6379,host2/name/0",
			"redis+sentinel://host/name?sentinel_password=" + secret + after,
		} {
			if _, err := Parse(raw); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", raw, err)
			}
			if got := Redact(raw); strings.Contains(got, secret) {
				t.Errorf("%q: %q", raw, got)
			}
		}
	})
}

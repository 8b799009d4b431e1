package redisurl

import (
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

// Clients of every kind speak the protocol of the URL, and what an old server knows, with a password too.
func TestClientProtocol(t *testing.T) {
	now := redistest.Start(t)
	old := redistest.Start(t, "--requirepass", "secret", "--rename-command", "HELLO", "")
	cluster := redistest.StartCluster(t, 1, false)
	sentinels := redistest.StartSentinels(t, 1)
	for url, want := range map[string]string{
		now.URL():                                  "resp=3",
		now.URL() + "?protocol=2":                  "resp=2",
		"redis://:secret@" + old.Addr():            "resp=2",
		cluster.URL() + "?cluster=true":            "resp=3",
		cluster.URL() + "?protocol=2&cluster=true": "resp=2",
		sentinels.URL():                            "resp=3",
		sentinels.URL() + "?protocol=2":            "resp=2",
	} {
		target, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		c := target.Client(Tuning{Timeout: 10 * time.Second})
		got, err := c.Do(t.Context(), "client", "info").Text()
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: want %s: %q, %v", url, want, got, err)
		}
		_ = c.Close()
	}
}

// A server that wants certificates of its clients gets the one that the URL names.
func TestClientCertificate(t *testing.T) {
	guard := redistest.Guard{TLS: redistest.NewTLS(t), Password: "secret"}
	_, url := guard.Start(t, "--tls-auth-clients", "yes")
	ping := func(url string) error {
		target, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		c := target.Client(Tuning{Timeout: 10 * time.Second})
		defer c.Close()
		return c.Ping(t.Context()).Err()
	}
	if err := ping(url); err == nil {
		t.Error("a client without a certificate is let in")
	}
	if err := ping(url + "&cert_file=" + guard.TLS.CAFile + "&key_file=" + guard.TLS.KeyFile); err != nil {
		t.Error(err)
	}
}

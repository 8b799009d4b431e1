package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/pkg/auth"
)

func TestMintDemo(t *testing.T) {
	on := verifier(t, func(o *auth.Options) { o.Demo = true })
	token, expires, err := on.MintDemo("Zoë O'Neil")
	if err != nil {
		t.Fatal(err)
	}
	if left := expires.Sub(now); left <= 0 || left > time.Hour {
		t.Errorf("valid for %v, want at most an hour", left)
	}
	id, err := on.Verify(token)
	if err != nil || id.UserID != "Zoë O'Neil" {
		t.Errorf("user %q, error %v", id.UserID, err)
	}

	_, err = verifier(t, nil).Verify(token)
	checkReason(t, err, auth.DemoToken)
	later := verifier(t, func(o *auth.Options) {
		o.Demo = true
		o.Now = func() time.Time { return now.Add(time.Hour + 2*time.Minute) }
	})
	_, err = later.Verify(token)
	checkReason(t, err, auth.Expired)
}

func TestDemoName(t *testing.T) {
	for _, good := range []string{"a", "Ann Lee", "李雷", "O'Neil", strings.Repeat("ä", 64)} {
		if err := auth.DemoName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", " ann", "ann\t", "a\x00b", "a\nb", "a\u202eb", "\xff", strings.Repeat("ä", 65)} {
		if err := auth.DemoName(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

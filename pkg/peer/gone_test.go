package peer

import (
	"context"
	"net"
	"testing"
)

// TestGone: only a host that refuses connections says that a node is dead.
func TestGone(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, want := range map[string]struct {
		address string
		gone    bool
	}{
		"open":    {"http://" + open.Addr().String(), false},
		"closed":  {"http://" + closed.Addr().String(), true},
		"unknown": {"http://node.invalid:8081", false},
		"strange": {"http://%", false},
	} {
		p := New(Options{Address: func(context.Context, string) (string, error) { return want.address, nil }})
		defer p.Close()
		if got := p.Gone(t.Context(), "node"); got != want.gone {
			t.Errorf("%s: %v", name, got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p := New(Options{Address: func(context.Context, string) (string, error) { return "http://" + closed.Addr().String(), nil }})
	defer p.Close()
	if p.Gone(ended, "node") {
		t.Error("known without a look")
	}
}

package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hubfleet/hubfleet/pkg/client"
)

// A poll that breaks may have taken messages with it. It must not be sent again unseen, as net/http would: the client is to learn
// that its connection is broken.
func TestBrokenPollIsNotRepeated(t *testing.T) {
	var polls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Path == "/negotiate":
			_, _ = io.WriteString(w, `{"negotiateVersion":1,"connectionId":"a","connectionToken":"b","availableTransports":[{"transport":"LongPolling","transferFormats":["Text"]}]}`)
		case r.Method != http.MethodGet:
		default:
			if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
				t.Errorf("a poll with a body: %d %v", r.ContentLength, r.TransferEncoding)
			}
			switch polls.Add(1) {
			case 1:
			case 2:
				_, _ = io.WriteString(w, "{}\x1e")
			default:
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			}
		}
	}))
	defer server.Close()
	c, err := client.New(server.URL, client.Options{HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if c.Err() == nil || polls.Load() != 3 {
		t.Errorf("%d polls, %v", polls.Load(), c.Err())
	}
}

package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// bridge serves Server-Sent Events and long polling, byte by byte as the transports are specified, in front of hubs to which it
// goes on over a WebSocket. It is small and slow, and knows nothing of either side of this module.
type bridge struct {
	t    testing.TB
	hubs *httptest.Server
	http *http.Client
	more string // offers before those that it has

	mu    sync.Mutex
	next  int
	conns map[string]*bridged
}

// bridged is one connection.
type bridged struct {
	ws      *websocket.Conn
	end     context.CancelFunc
	life    context.Context
	waiting chan []byte // read from the hub, in order; closed at the end
	polled  bool
}

func newBridge(t testing.TB, h http.Handler) *bridge {
	b := &bridge{t: t, hubs: httptest.NewServer(h), http: httpClient(t), conns: map[string]*bridged{}}
	t.Cleanup(func() {
		b.mu.Lock()
		for _, c := range b.conns {
			c.end()
			c.ws.CloseNow()
		}
		b.mu.Unlock()
		b.hubs.Close()
	})
	return b
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/negotiate") {
		b.negotiate(w, r)
		return
	}
	b.mu.Lock()
	c := b.conns[r.URL.Query().Get("id")]
	b.mu.Unlock()
	if c == nil {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "No Connection with that ID")
		return
	}
	switch {
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		c.ws.Write(c.life, websocket.MessageText, body)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
		c.ws.Close(websocket.StatusNormalClosure, "")
	case r.Header.Get("Accept") == "text/event-stream":
		b.events(w, r, c)
	default:
		b.poll(w, r, c)
	}
}

func (b *bridge) negotiate(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/negotiate")
	req, _ := http.NewRequestWithContext(r.Context(), http.MethodPost, b.hubs.URL+r.URL.Path+"?"+r.URL.RawQuery, nil)
	req.Header = r.Header.Clone()
	res, err := b.http.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	var answer struct{ ConnectionID, ConnectionToken string }
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		w.WriteHeader(res.StatusCode)
		return
	}
	life, end := context.WithCancel(context.Background())
	header := http.Header{"Authorization": r.Header["Authorization"]}
	ws, _, err := websocket.Dial(r.Context(), b.hubs.URL+path+"?id="+answer.ConnectionToken, &websocket.DialOptions{HTTPHeader: header, HTTPClient: b.http})
	if err != nil {
		end()
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	ws.SetReadLimit(-1)
	c := &bridged{ws: ws, life: life, end: end, waiting: make(chan []byte)}
	go func() {
		defer close(c.waiting)
		for {
			_, p, err := ws.Read(life)
			if err != nil {
				return
			}
			select {
			case c.waiting <- p:
			case <-life.Done():
				return
			}
		}
	}()
	b.mu.Lock()
	b.next++
	token := fmt.Sprintf("token-%d", b.next)
	b.conns[token] = c
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"negotiateVersion":1,"connectionId":%q,"connectionToken":%q,"availableTransports":[%s{"transport":"ServerSentEvents","transferFormats":["Text"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]}`,
		answer.ConnectionID, token, b.more)
}

func (b *bridge) events(w http.ResponseWriter, r *http.Request, c *bridged) {
	flusher := w.(http.Flusher)
	for name, value := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache,no-store", "Pragma": "no-cache", "Content-Encoding": "identity"} {
		w.Header().Set(name, value)
	}
	io.WriteString(w, ":\r\n")
	flusher.Flush()
	for {
		select {
		case p, ok := <-c.waiting:
			if !ok {
				return
			}
			for line := range bytes.SplitSeq(p, []byte("\n")) {
				fmt.Fprintf(w, "data: %s\r\n", bytes.TrimSuffix(line, []byte("\r")))
			}
			io.WriteString(w, "\r\n")
			flusher.Flush()
		case <-r.Context().Done():
			c.ws.CloseNow()
			return
		case <-c.life.Done():
			return
		}
	}
}

// pollTimeout is short, so that tests see idle polls.
const pollTimeout = 50 * time.Millisecond

func (b *bridge) poll(w http.ResponseWriter, r *http.Request, c *bridged) {
	for name, value := range map[string]string{"Cache-Control": "no-cache, no-store", "Pragma": "no-cache", "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"} {
		w.Header().Set(name, value)
	}
	if !c.polled {
		c.polled = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "0")
		return
	}
	select {
	case p, ok := <-c.waiting:
		if !ok {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", fmt.Sprint(len(p)))
		w.Write(p)
	case <-time.After(pollTimeout):
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "0")
	case <-r.Context().Done():
	case <-c.life.Done():
	}
}

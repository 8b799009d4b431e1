package peer

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPeerPortRefuses: what no node has signed for this very request, a moment ago, reaches nothing.
func TestPeerPortRefuses(t *testing.T) {
	const uri, client = "/chat?id=abc", "192.0.2.7:50123"
	sign := func(secret []byte, at time.Time, method, uri, client string) string {
		s := signer{secret: known(secret)}
		value, err := s.sign(method, uri, client, at)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	now := time.Now()
	good := sign(secret, now, "GET", uri, client)
	other := bytes.Repeat([]byte("o"), 32)
	edit := func(word int, text string) string {
		words := strings.Split(good, " ")
		words[word] = text
		return strings.Join(words, " ")
	}
	hop2 := func() string {
		key, _ := (&signer{secret: known(secret)}).key()
		text := strings.Replace(good[:strings.LastIndexByte(good, ' ')], " 1 ", " 2 ", 1)
		return text + " " + encode(mac(key, text, "GET", uri))
	}
	tests := map[string]struct {
		values []string
		want   Refusal
	}{
		"no header":             {nil, Unsigned},
		"an empty one":          {[]string{""}, Unsigned},
		"two":                   {[]string{good, good}, Unsigned},
		"another version":       {[]string{edit(0, "v2")}, Unsigned},
		"no time":               {[]string{edit(1, "now")}, Unsigned},
		"another time":          {[]string{edit(1, "1767225600000")}, Forged},
		"another hop":           {[]string{edit(2, "2")}, Forged},
		"another client":        {[]string{edit(3, "127.0.0.1:1")}, Forged},
		"no client":             {[]string{strings.Replace(good, " "+client, "", 1)}, Unsigned},
		"no signature":          {[]string{edit(4, "")}, Forged},
		"half a signature":      {[]string{good[:len(good)-23]}, Forged},
		"a signature in hex":    {[]string{edit(4, "zz==")}, Forged},
		"for another path":      {[]string{sign(secret, now, "GET", "/other?id=abc", client)}, Forged},
		"for another query":     {[]string{sign(secret, now, "GET", "/chat?id=abd", client)}, Forged},
		"for no query":          {[]string{sign(secret, now, "GET", "/chat", client)}, Forged},
		"for another method":    {[]string{sign(secret, now, "POST", uri, client)}, Forged},
		"with another secret":   {[]string{sign(other, now, "GET", uri, client)}, Forged},
		"with the bare secret":  {[]string{edit(4, encode(mac(secret, good[:strings.LastIndexByte(good, ' ')], "GET", uri)))}, Forged},
		"stale":                 {[]string{sign(secret, now.Add(-31*time.Second), "GET", uri, client)}, Stale},
		"of the future":         {[]string{sign(secret, now.Add(32*time.Second), "GET", uri, client)}, Stale},
		"after two hops":        {[]string{hop2()}, TooFar},
		"good":                  {[]string{good}, ""},
		"good, by a slow clock": {[]string{sign(secret, now.Add(-28*time.Second), "GET", uri, client)}, ""},
		"good, by a fast clock": {[]string{sign(secret, now.Add(28*time.Second), "GET", uri, client)}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var met recorder
			reached := false
			p := New(Options{Secret: known(secret), Address: nowhere, Hooks: met.hooks()})
			defer p.Close()
			h := p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				reached = true
				if r.RemoteAddr != client || r.Header.Get(Header) != "" {
					t.Errorf("the owner sees %q and %v", r.RemoteAddr, r.Header)
				}
			}))
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", uri, nil)
			for _, v := range test.values {
				r.Header.Add(Header, v)
			}
			h.ServeHTTP(w, r)
			if test.want == "" {
				if !reached || w.Code != 200 {
					t.Errorf("refused with %d, %v", w.Code, met.refused())
				}
				return
			}
			if reached || w.Code != 403 || !slices.Equal(met.refused(), []Refusal{test.want}) {
				t.Errorf("status %d, refused for %v, want %q; reached: %v", w.Code, met.refused(), test.want, reached)
			}
		})
	}
}

func TestPeerPortWithoutSecret(t *testing.T) {
	var met recorder
	errUnknown := errors.New("not yet")
	p := New(Options{Secret: func() ([]byte, error) { return nil, errUnknown }, Address: nowhere, Hooks: met.hooks()})
	defer p.Close()
	value, err := (&signer{secret: known(secret)}).sign("GET", "/", "c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header.Set(Header, value)
	p.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 403 || !slices.Equal(met.refused(), []Refusal{NoSecret}) {
		t.Errorf("%d, %v", w.Code, met.refused())
	}
	if _, err := p.signer.sign("GET", "/", "c", time.Now()); !errors.Is(err, errUnknown) {
		t.Errorf("signed without a secret: %v", err)
	}
}

// TestSecretChanges: the cluster may get another secret while it runs.
func TestSecretChanges(t *testing.T) {
	now := secret
	s := signer{secret: func() ([]byte, error) { return now, nil }}
	r := httptest.NewRequest("GET", "/", nil)
	check := func(want Refusal) {
		t.Helper()
		if _, reason := s.verify(r, time.Now()); reason != want {
			t.Errorf("reason %q, want %q", reason, want)
		}
	}
	value, _ := s.sign("GET", "/", "c", time.Now())
	r.Header.Set(Header, value)
	check("")
	now = bytes.Repeat([]byte("t"), 32)
	check(Forged)
	value, _ = s.sign("GET", "/", "c", time.Now())
	r.Header.Set(Header, value)
	check("")
}

// TestSignature holds the format to a value that was computed apart from it:
//
//	key = HMAC-SHA256("ssss…", "hubfleet forwarded request")
//	HMAC-SHA256(key, "v1 1767225600000 1 192.0.2.7:50123\nGET\n/chat?id=abc")
func TestSignature(t *testing.T) {
	const want = "v1 1767225600000 1 192.0.2.7:50123 vtVECMTLh8yxKlyBN7byCGSVjHf9H5WUtuJ6RYjhMg4"
	got, err := (&signer{secret: known(secret)}).sign("GET", "/chat?id=abc", "192.0.2.7:50123", time.UnixMilli(1767225600000))
	if got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// TestOddClients: an address that would break the header is left out of it.
func TestOddClients(t *testing.T) {
	s := signer{secret: known(secret)}
	for client, want := range map[string]string{"": "", "@": "@", "[fe80::1%eth0]:80": "[fe80::1%eth0]:80", "a b": "", "a\nb": ""} {
		value, err := s.sign("GET", "/", client, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(Header, value)
		if got, reason := s.verify(r, time.Now()); got != want || reason != "" {
			t.Errorf("%q: %q, %q", client, got, reason)
		}
	}
}

// FuzzVerify: whatever a header holds, only what was signed is accepted.
func FuzzVerify(f *testing.F) {
	s := signer{secret: known(secret)}
	at := time.UnixMilli(1767225600000)
	good, _ := s.sign("GET", "/chat?id=1", "192.0.2.7:1", at)
	f.Add(good, "/chat?id=1")
	f.Add(good, "/chat")
	f.Add("v1 1767225600000 1  ", "/")
	f.Add(good[:60]+"\n"+good[60:], "/chat?id=1") // decoders of base64 skip line breaks
	f.Fuzz(func(t *testing.T, value, uri string) {
		r := &http.Request{Method: "GET", RequestURI: uri, Header: http.Header{Header: {value}}}
		client, reason := s.verify(r, at)
		if (reason == "") != (value == good && uri == "/chat?id=1") {
			t.Errorf("%q for %q: %q, %q", value, uri, client, reason)
		}
	})
}

package peer

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Header marks a forwarded request. Its value is five words with a space between each two:
//
//	v1               the version of this format
//	1767225600000    when it was signed, in Unix milliseconds
//	1                how many nodes have forwarded it
//	192.0.2.7:50123  the client's address
//	…                the HMAC-SHA256 over all of that, the method, and the path with the query, in base64url without padding
const Header = "X-Hubfleet-Forwarded"

const (
	version = "v1"
	// maxAge is how long a signature is good, and how far nodes' clocks may be apart.
	maxAge = 30 * time.Second
	// keyLabel derives a key of its own, so that nothing else that is signed with the cluster's secret can pass for a forwarded request.
	keyLabel = "hubfleet forwarded request"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signer signs requests and checks signatures. It is safe for concurrent use.
type signer struct {
	secret func() ([]byte, error)
	last   atomic.Pointer[signingKey] // of the last secret seen
}

type signingKey struct {
	secret []byte
	key    []byte
}

// key is the signing key of the present secret.
func (s *signer) key() ([]byte, error) {
	secret, err := s.secret()
	if err != nil {
		return nil, fmt.Errorf("peer: the cluster's secret is not known: %w", err)
	}
	if k := s.last.Load(); k != nil && bytes.Equal(k.secret, secret) {
		return k.key, nil
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(keyLabel))
	k := &signingKey{secret: bytes.Clone(secret), key: h.Sum(nil)}
	s.last.Store(k)
	return k.key, nil
}

// sign makes the header's value for a request that is to be forwarded for a client.
func (s *signer) sign(method, uri, client string, now time.Time) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(client, " \r\n") { // it comes from a listener of a peculiar kind
		client = ""
	}
	text := version + " " + strconv.FormatInt(now.UnixMilli(), 10) + " 1 " + client
	return text + " " + encode(mac(key, text, method, uri)), nil
}

// mac is unambiguous: none of the three can hold a line break.
func mac(key []byte, text, method, uri string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text + "\n" + method + "\n" + uri))
	return h.Sum(nil)
}

// verify finds the client's address in a request that was signed for this method, path and query; an empty reason means that it was.
func (s *signer) verify(r *http.Request, now time.Time) (client string, reason Refusal) {
	values := r.Header.Values(Header)
	if len(values) != 1 {
		return "", Unsigned
	}
	words := strings.Split(values[0], " ")
	if len(words) != 5 || words[0] != version {
		return "", Unsigned
	}
	at, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return "", Unsigned
	}
	key, err := s.key()
	if err != nil {
		return "", NoSecret
	}
	text := values[0][:len(values[0])-len(words[4])-1]
	switch age := now.UnixMilli() - at; {
	case !hmac.Equal([]byte(words[4]), []byte(encode(mac(key, text, r.Method, r.RequestURI)))):
		return "", Forged
	case age > maxAge.Milliseconds() || age < -maxAge.Milliseconds():
		return "", Stale
	case words[2] != "1":
		return "", TooFar
	}
	return words[3], ""
}

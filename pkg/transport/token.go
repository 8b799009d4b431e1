package transport

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// The ways in which a connection token can be wrong, as errors.Is tells them apart.
var (
	ErrTokenMalformed = errors.New("transport: this is no connection token")
	ErrTokenForged    = errors.New("transport: the connection token was not signed with this cluster's secret")
	ErrTokenOtherHub  = errors.New("transport: the connection token is for another hub")
)

// MinSecret is how many bytes the secret must have at least.
const MinSecret = 32

// Token is what a connection token says once its signature was checked. Its age was not: it matters for the first use only.
type Token struct {
	// ID is the public connection id. For a client that negotiated with version 0 it is the whole token, as that client
	// has no other name for its connection.
	ID string
	// Node is the node that minted it.
	Node string
	// Issued is when, by that node's clock, in milliseconds.
	Issued time.Time
	// Stateful says that stateful reconnect was granted.
	Stateful bool

	key connectionKey
}

// connectionKey is the random part of a connection id.
type connectionKey [16]byte

// String is the connection id that negotiate calls by that name: 22 characters that need no escaping in a URL.
func (k connectionKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

func newConnectionKey() (k connectionKey) {
	rand.Read(k[:]) // never fails
	return k
}

// A token is the base64url encoding, without padding, of
//
//	version    1 byte
//	key id     2 bytes   which secret signed it
//	flags      1 byte
//	hub        2 bytes   of the hash of its path, only to tell a wrong hub from a forgery
//	id        16 bytes   random
//	issued     6 bytes   Unix milliseconds
//	node       1 byte    its length, then as many bytes
//	signature 16 bytes   of the HMAC-SHA256 over all of the above and the hub's whole path
const (
	tokenVersion = 1

	offKey    = 1
	offFlags  = 3
	offHub    = 4
	offID     = 6
	offIssued = 22
	offNode   = 28
	fixedSize = 29
	signature = 16
	maxNode   = 255

	flagStateful = 1 << 0
	flagIDIsAll  = 1 << 1 // negotiate version 0: the connection id is the whole token
	flagsKnown   = flagStateful | flagIDIsAll
)

// encoding refuses what does not decode and encode to the same, so that nobody can make a second token of one.
var encoding = base64.RawURLEncoding.Strict()

// Tokens mints and checks connection tokens. It is safe for concurrent use.
type Tokens struct {
	node   string
	secret func() ([]byte, error)
	keys   atomic.Pointer[tokenKey] // of the last secret seen
}

// tokenKey is what is derived from the cluster's secret.
type tokenKey struct {
	secret []byte
	key    [sha256.Size]byte
	id     [2]byte
}

// NewTokens mints tokens in the name of a node, at most 255 bytes. It signs them with a key derived from the secret, which
// all nodes share; the secret is asked for each time, may change, and may be an error as long as it is not known.
func NewTokens(node string, secret func() ([]byte, error)) *Tokens {
	return &Tokens{node: node, secret: secret}
}

// Node is the name in which tokens are minted.
func (t *Tokens) Node() string { return t.node }

// Mint makes a token for a new connection to the hub at path, and the connection's public id. The error is that of the
// secret, or says what is wrong with the secret or the node's name.
func (t *Tokens) Mint(path string, stateful bool) (token, id string, err error) {
	var flags byte
	if stateful {
		flags = flagStateful
	}
	key := newConnectionKey()
	token, err = t.mint(path, key, flags, time.Now())
	return token, key.String(), err
}

// mintAll is Mint for negotiate version 0: the token is the connection id.
func (t *Tokens) mintAll(path string) (token string, err error) {
	return t.mint(path, newConnectionKey(), flagIDIsAll, time.Now())
}

// as mints in the name of another node, so that connections of many requests live there.
func (t *Tokens) as(node string) *Tokens {
	if node == "" || node == t.node {
		return t
	}
	return NewTokens(node, t.secret)
}

func (t *Tokens) mint(path string, key connectionKey, flags byte, issued time.Time) (string, error) {
	k, err := t.key()
	if err != nil {
		return "", err
	}
	if len(t.node) > maxNode {
		return "", fmt.Errorf("transport: the node's name has %d bytes; connection tokens hold at most %d: shorten it", len(t.node), maxNode)
	}
	b := make([]byte, fixedSize, fixedSize+len(t.node)+sha256.Size)
	b[0] = tokenVersion
	copy(b[offKey:], k.id[:])
	b[offFlags] = flags
	hub := hubTag(path)
	copy(b[offHub:], hub[:])
	copy(b[offID:], key[:])
	putUint48(b[offIssued:], uint64(issued.UnixMilli()))
	b[offNode] = byte(len(t.node))
	b = append(b, t.node...)
	mac := k.sign(b, path)
	return encoding.EncodeToString(append(b, mac[:signature]...)), nil
}

// Parse checks that token was minted for the hub at path by a node with our secret. The error wraps ErrTokenMalformed,
// ErrTokenForged or ErrTokenOtherHub, or is that of the secret.
func (t *Tokens) Parse(path, token string) (Token, error) {
	k, err := t.key()
	if err != nil {
		return Token{}, err
	}
	if len(token) > encoding.EncodedLen(fixedSize+maxNode+signature) || strings.ContainsAny(token, "\r\n") {
		return Token{}, ErrTokenMalformed // a decoder skips line breaks
	}
	b, err := encoding.DecodeString(token)
	if err != nil || len(b) < fixedSize || len(b) != fixedSize+int(b[offNode])+signature || b[0] != tokenVersion || b[offFlags]&^flagsKnown != 0 {
		return Token{}, ErrTokenMalformed
	}
	// Nothing is admitted by what is looked at before the signature; it only makes better reasons for refusing.
	if !bytes.Equal(b[offKey:offFlags], k.id[:]) {
		return Token{}, fmt.Errorf("%w: it names another key", ErrTokenForged)
	}
	if hub := hubTag(path); !bytes.Equal(b[offHub:offID], hub[:]) {
		return Token{}, ErrTokenOtherHub
	}
	signed, mac := b[:len(b)-signature], b[len(b)-signature:]
	want := k.sign(signed, path)
	if !hmac.Equal(mac, want[:signature]) {
		return Token{}, ErrTokenForged
	}
	parsed := Token{
		Node:     string(signed[fixedSize:]),
		Issued:   time.UnixMilli(int64(uint48(b[offIssued:]))),
		Stateful: b[offFlags]&flagStateful != 0,
		key:      connectionKey(b[offID:offIssued]),
	}
	parsed.ID = parsed.key.String()
	if b[offFlags]&flagIDIsAll != 0 {
		parsed.ID = token
	}
	return parsed, nil
}

// key is the signing key of the present secret. It is derived with a label of its own, so that what other parts sign with
// the same secret can never pass for a token.
func (t *Tokens) key() (*tokenKey, error) {
	secret, err := t.secret()
	if err != nil {
		return nil, fmt.Errorf("transport: the secret for connection tokens is not known: %w", err)
	}
	if k := t.keys.Load(); k != nil && bytes.Equal(k.secret, secret) {
		return k, nil
	}
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("transport: the secret for connection tokens has %d bytes; it needs at least %d", len(secret), MinSecret)
	}
	k := &tokenKey{secret: bytes.Clone(secret)}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("hubfleet connection token"))
	h.Sum(k.key[:0])
	id := sha256.Sum256(k.key[:])
	copy(k.id[:], id[:])
	t.keys.Store(k)
	return k, nil
}

// sign is unambiguous without a separator: signed holds its own length.
func (k *tokenKey) sign(signed []byte, path string) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, k.key[:])
	h.Write(signed)
	h.Write([]byte(path))
	h.Sum(mac[:0])
	return mac
}

func hubTag(path string) [2]byte {
	sum := sha256.Sum256([]byte(path))
	return [2]byte(sum[:2])
}

func putUint48(b []byte, v uint64) {
	binary.BigEndian.PutUint16(b, uint16(v>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(v))
}

func uint48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

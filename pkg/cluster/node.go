package cluster

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"time"
)

// MinSecret is how many bytes the cluster's secret has at least.
const MinSecret = 32

// claimLifetime is how long it is remembered that a connection id was used. Tokens are good for 15 s before their first
// use; the rest is for nodes whose clocks are apart.
const claimLifetime = 60 * time.Second

// NewNodeName makes a name for this process: the host's, and eight random characters, so that no other process
// ever has the same.
func NewNodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return NewNodeID(host)
}

// NewNodeID makes an id that no other process ever has out of a name that another may have had.
func NewNodeID(name string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return name + "-" + hex.EncodeToString(b[:])
}

// newSecret makes a secret, as text, so that it can be looked at with redis-cli.
func newSecret() []byte {
	var b [MinSecret]byte
	_, _ = rand.Read(b[:])
	return []byte(base64.RawURLEncoding.EncodeToString(b[:]))
}

package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TLS is a certificate for 127.0.0.1, for servers that speak nothing else than TLS but on their sockets.
type TLS struct {
	// CAFile is the file with the certificate, which is its own authority, and good for clients too.
	CAFile string
	// KeyFile is the file with its key.
	KeyFile string
	// Pool trusts it.
	Pool *x509.CertPool
}

// StartTLS starts a server that speaks TLS only, with a certificate of its own for 127.0.0.1, and gives the pool that trusts
// it. Its Socket is plain. args are further arguments of redis-server.
func StartTLS(t testing.TB, args ...string) (*Server, *x509.CertPool) {
	t.Helper()
	cert := NewTLS(t)
	return launch(t, func(s *Server) []string { return append(cert.args(s.port), args...) }), cert.Pool
}

// args are those of a server that is reached at a port.
func (c *TLS) args(port int) []string {
	return []string{
		"--tls-port", strconv.Itoa(port), "--tls-cert-file", c.CAFile, "--tls-key-file", c.KeyFile, "--tls-ca-cert-file", c.CAFile,
		"--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes",
	}
}

// NewTLS makes a certificate.
func NewTLS(t testing.TB) *TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(fmt.Errorf("redistest: %w", err))
		}
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &TLS{CAFile: write("cert.pem", "CERTIFICATE", der), Pool: x509.NewCertPool(), KeyFile: write("key.pem", "PRIVATE KEY", secret)}
	c.Pool.AddCert(parsed)
	return c
}

package redisurl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ownParameters are the query parameters that go-redis does not know.
type ownParameters struct {
	cluster            bool
	username, password string // of the sentinels
	caFile             string
	certFile, keyFile  string
	serverName         string
}

// takeOwn takes them out of a query.
func takeOwn(query url.Values) (own ownParameters, err error) {
	for name, value := range map[string]*string{
		"sentinel_username": &own.username, "sentinel_password": &own.password,
		"ca_file": &own.caFile, "cert_file": &own.certFile, "key_file": &own.keyFile, "server_name": &own.serverName,
	} {
		*value = query.Get(name)
		query.Del(name)
	}
	if text := query.Get("cluster"); text != "" {
		if own.cluster, err = strconv.ParseBool(text); err != nil {
			return own, errors.New("cluster must be true or false")
		}
	}
	query.Del("cluster")
	return own, nil
}

// secure completes the TLS settings that the scheme implies.
func (own *ownParameters) secure(opt *redis.Options, kind Kind) error {
	config := opt.TLSConfig
	if config == nil {
		if own.caFile+own.certFile+own.keyFile+own.serverName != "" {
			return errors.New("ca_file, cert_file, key_file and server_name need TLS; use rediss://")
		}
		return nil
	}
	if kind != Standalone {
		config.ServerName = "" // each server has its own
	}
	if own.serverName != "" {
		config.ServerName = own.serverName
	}
	if own.caFile != "" {
		text, err := os.ReadFile(own.caFile)
		if err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca_file %s holds no certificate in PEM form", own.caFile)
		}
	}
	if (own.certFile == "") != (own.keyFile == "") {
		return errors.New("cert_file and key_file go together")
	}
	if own.certFile != "" {
		pair, err := tls.LoadX509KeyPair(own.certFile, own.keyFile)
		if err != nil {
			return fmt.Errorf("cert_file, key_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return nil
}

package backplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Why a link is not there, when it is not for a network error.
var (
	errNotYet   = errors.New("Redis has not been reached yet")
	errStopped  = errors.New("the backplane has been stopped")
	errUnwanted = errors.New("it was unsubscribed meanwhile")
	errSilent   = errors.New("no sign of life from the server")
	errNoReply  = errors.New("no reply in time")
	errOneLink  = errors.New("a link dials once")
	errGap      = errors.New("Redis confirmed something else than what was asked")
)

const noAnswer = "it does not answer"

// linkError says in plain words why Redis cannot be used. The words have no port of ours or other detail that changes from
// one attempt to the next, so that equal causes have equal texts and are logged once.
type linkError struct {
	server string
	text   string
	cause  error
}

func (e *linkError) Error() string { return "Redis at " + e.server + ": " + e.text }
func (e *linkError) Unwrap() error { return e.cause }

// explain turns an error of the network or of Redis into a linkError.
func (d *dialer) explain(err error) error {
	if known := (*linkError)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	text := ""
	if reply := redis.Error(nil); errors.As(err, &reply) {
		text = d.explainReply(reply.Error())
	} else {
		text = explainNetwork(err)
		if text == noAnswer && d.opt.TLSConfig != nil {
			text += "; is this a port for TLS?" // a plain port takes the handshake for an unfinished command
		}
	}
	return &linkError{server: d.name, text: text, cause: err}
}

// shardedCommand finds a command of sharded Pub/Sub in what Redis says of one that it does not know.
var shardedCommand = regexp.MustCompile(`(?i)'(spublish|ssubscribe|sunsubscribe)'`)

func (d *dialer) explainReply(reply string) string {
	switch {
	case strings.Contains(reply, "WRONGPASS"), strings.Contains(reply, "invalid password"):
		return "it refused the user name or password; check them in the URL"
	case strings.Contains(reply, "NOAUTH"):
		return "it requires a password; put it in the URL (redis://user:password@host)"
	case strings.Contains(reply, "DB index is out of range"), strings.Contains(reply, "invalid DB index"):
		return fmt.Sprintf("it has no database %d; check the number at the end of the URL", d.opt.DB)
	case strings.Contains(reply, "SELECT is not allowed"):
		return "it is a cluster node, which has no numbered databases; remove the number at the end of the URL"
	case strings.Contains(reply, "NOPERM"):
		return "the user lacks a permission (docs/operations.md has all that are needed, under Kinds of Redis): " + reply
	case strings.HasPrefix(reply, "MOVED"):
		return errMoved.Error()
	case strings.HasPrefix(reply, "CLUSTERDOWN"):
		return "the cluster is down: " + reply
	case strings.Contains(reply, "cluster support disabled"):
		return "it is no cluster; give its address alone"
	case strings.Contains(reply, "unknown command") && shardedCommand.MatchString(reply):
		return "it is older than version 7.0, which sharded Pub/Sub needs: " + reply
	case strings.Contains(reply, "LOADING"):
		return "it is loading its data"
	}
	return reply
}

func explainNetwork(err error) string {
	var (
		refused  syscall.Errno
		lookup   *net.DNSError
		notTLS   tls.RecordHeaderError
		badCert  *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		netError net.Error
	)
	switch {
	case errors.Is(err, errSilent), errors.Is(err, errNoReply), errors.Is(err, errGap), errors.Is(err, errStopped), errors.Is(err, errMoved):
		return plain(err)
	case errors.As(err, &badCert), errors.As(err, &unknown):
		return "its TLS certificate is not accepted: " + err.Error()
	case errors.As(err, &notTLS):
		return "it does not speak TLS; use redis://"
	case errors.As(err, &lookup):
		return "its host name cannot be resolved; check the URL"
	case errors.As(err, &refused) && refused == syscall.ECONNREFUSED:
		return "connection refused; is it running, and is this its port?"
	case errors.As(err, &refused) && refused == syscall.ENOENT:
		return "there is no such socket"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, &refused) && (refused == syscall.ECONNRESET || refused == syscall.EPIPE):
		return "the connection was closed"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netError) && netError.Timeout():
		return noAnswer
	}
	return err.Error()
}

// plain is the text of the innermost error.
func plain(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

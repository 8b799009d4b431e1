package client

import (
	"errors"
	"fmt"
	"net/http"
)

var (
	// ErrNotConnected is returned by calls while there is no connection: before Start has succeeded, and while
	// reconnecting. Nothing was sent.
	ErrNotConnected = errors.New("client: not connected; call Start, or wait until the client has reconnected")
	// ErrClosed is what calls fail with that were under way when the connection ended, and all calls afterwards when the
	// client is closed for good. What was sent may or may not have been carried out.
	ErrClosed = errors.New("client: the connection is closed")
	// ErrServerClosed is in what Err returns when the server closed the connection, and does not want the client back.
	ErrServerClosed = errors.New("client: the server closed the connection")
	// ErrServerTimeout is why a connection was given up on which the server was silent for Options.ServerTimeout.
	ErrServerTimeout = errors.New("client: the server has not been heard of within the server timeout")
	// ErrSlow is what a stream fails with whose items were not read in time, and a connection whose handlers are too slow.
	ErrSlow = errors.New("client: what was received has not been read in time; read faster, or set a larger Options.ReceiveBuffer")
	// ErrTooLarge is why a connection was given up on which a larger message came than is allowed.
	ErrTooLarge = errors.New("client: a message is larger than Options.MaxMessageSize")
)

var (
	errStopped = errors.New("client: stopped")
	errStarted = errors.New("client: Start was called already; it may be called again only after it has failed")
)

// HubError is an error that the server reports. Its text was made for people.
type HubError struct {
	Message string
}

func (e *HubError) Error() string { return e.Message }

// StatusError is an HTTP answer that is not the one that was asked for; 401 and 403 mean that the token is not good.
type StatusError struct {
	Method string
	URL    string // without its query, which may hold secrets
	Code   int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("client: %s %s was answered with %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
}

// closeError is a Close message from the server.
type closeError struct {
	text      string
	reconnect bool
}

func (e *closeError) Error() string {
	if e.text == "" {
		return ErrServerClosed.Error()
	}
	return ErrServerClosed.Error() + " with the following error: " + e.text
}

func (e *closeError) Unwrap() []error {
	if e.text == "" {
		return []error{ErrServerClosed}
	}
	return []error{ErrServerClosed, &HubError{Message: e.text}}
}

// lost is what calls fail with that were under way when a connection ended.
type lost struct{ cause error }

// loss is what calls fail with because of why the connection ended.
func loss(cause error) error {
	var already *lost
	if errors.As(cause, &already) {
		return already
	}
	return &lost{cause}
}

func (e *lost) Error() string {
	if e.cause == nil || errors.Is(e.cause, errStopped) {
		return ErrClosed.Error()
	}
	return ErrClosed.Error() + ": " + e.cause.Error()
}

func (e *lost) Unwrap() []error { return []error{ErrClosed, e.cause} }

package hub

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/hubfleet/hubfleet/pkg/transport"
)

// Errors to branch on with errors.Is.
var (
	// ErrUnavailable is returned by sends and group changes that need the backplane while it cannot be reached.
	// Nothing was sent, unless the error is also ErrMaybeSent.
	ErrUnavailable = errors.New("hub: the backplane is unavailable")
	// ErrMaybeSent is returned, together with ErrUnavailable, when the broker's answer to a publish was lost: the message may
	// have reached its receivers. It is never sent again by itself. A group change that no node confirmed returns it, too.
	ErrMaybeSent = errors.New("hub: the message may have been sent")
	// ErrNoConnection is returned when a connection is to be added to or removed from a group, or asked for a result, and no node has it.
	ErrNoConnection = errors.New("hub: no such connection")
	// ErrForbidden, wrapped by an error of Options.Authenticate, refuses a request with 403 instead of 401.
	ErrForbidden = transport.ErrForbidden
	// ErrServerClosed is returned when a connection is used whose server has been shut down.
	ErrServerClosed = errors.New("hub: server closed")
)

// Error is an error whose text is meant for the client. It is the only kind whose text reaches it; any other is logged,
// and answered with a sentence that says nothing. It is what HubException is to ASP.NET Core.
type Error struct{ Message string }

// Errorf returns an *Error with a formatted message.
func Errorf(format string, a ...any) error { return &Error{Message: fmt.Sprintf(format, a...)} }

func (e *Error) Error() string { return e.Message }

// A failure is something that went wrong with a client, under the name that .NET has for it: with detailed errors the
// client reads both.
type failure struct {
	kind string // the exception's short type name
	text string
}

func (f *failure) Error() string { return f.text }

func invalidData(text string) error { return &failure{"InvalidDataException", text} }

// explain is the one place that decides what a client may read of an error: the sentence base, followed by
// "Type: message" when err is a hub.Error or details are wanted.
func explain(base string, err error, details bool) string {
	var he *Error
	if errors.As(err, &he) {
		return base + " HubException: " + he.Message
	}
	if !details || err == nil {
		return base
	}
	return base + " " + kindOf(err) + ": " + err.Error()
}

// kindOf is the short type name that stands for err in detailed errors.
func kindOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.kind
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" {
		return "error"
	}
	return t.Name()
}

// fromBackplane turns an error of the backplane into one of ours.
func fromBackplane(err error) error {
	if err == nil {
		return nil
	}
	var maybe interface{ MaybeSent() bool }
	if errors.As(err, &maybe) && maybe.MaybeSent() {
		return fmt.Errorf("%w; %w: %w", ErrMaybeSent, ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

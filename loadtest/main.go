package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// The exit codes.
const (
	exitOK      = 0 // everything arrived, once and in order
	exitFailure = 1 // something did not, or the run failed
	exitUsage   = 2 // bad flags, or more than this machine can do
)

func main() { os.Exit(command(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)) }

// command runs the program; it returns the exit code.
func command(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := commandRun
	if len(args) > 0 && slices.Contains([]string{commandCompare, commandBench, commandBare, commandWorker}, args[0]) {
		name, args = args[0], args[1:]
	}
	if name == commandWorker {
		if err := serveWorker(stdin, stdout); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailure
		}
		return exitOK
	}
	c := newConfig(name)
	if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		if err := c.table.WriteHelp(stdout); err != nil {
			return exitFailure
		}
		return exitOK
	}
	if err := c.read(name, args, environ); err != nil {
		fmt.Fprintf(stderr, "loadtest: %v\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch name {
	case commandBare:
		err = serveBare(c, stdout)
	case commandBench:
		err = bench(ctx, c, stdout, stderr)
	default:
		err = compare(ctx, c, stdout, stderr)
	}
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "loadtest: %v\n", err)
		return exitUsage
	case errors.Is(err, errFailed):
		return exitFailure // the output has said why
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "loadtest: interrupted")
		return exitFailure
	}
	fmt.Fprintf(stderr, "loadtest: %v\n", err)
	return exitFailure
}

// usageError is one that other flags would mend.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// errFailed says that a target did something wrong, which has been printed.
var errFailed = errors.New("the target failed")

// isTerminal says whether a person reads w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

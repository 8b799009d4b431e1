package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"

	"github.com/hubfleet/hubfleet/internal/hubgen"
)

// The ways in which the command ends.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	options, output, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "hubgen: %v\nRun hubgen -h for help.\n", err)
		return exitUsage
	}
	text, err := hubgen.Generate(ctx, options)
	if err == nil {
		err = write(output, text, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "hubgen: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parse reads the command line. Its help goes to stderr.
func parse(args []string, stderr io.Writer) (o hubgen.Options, output string, err error) {
	flags := flag.NewFlagSet("hubgen", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Hub, "hub", "", "the hub's `type`, such as ChatHub")
	flags.StringVar(&o.Client, "client", "", "the `type` that hub.Typed takes, a struct of the clients' methods (default: none)")
	flags.StringVar(&output, "o", "", "the `file` to write (default: standard output)")
	protocol := flags.String("protocol", string(hubgen.JSON), "the hub `protocol` of the connections: json or messagepack")
	if err = flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stderr, "Hubgen writes TypeScript declarations for a hub.\n\nusage: hubgen -hub type [flags] [package]\n\n")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return o, output, err
	}
	o.Protocol, o.Version = hubgen.Protocol(*protocol), version()
	switch {
	case err != nil:
	case o.Hub == "":
		err = errors.New("name the hub's type with -hub")
	case !slices.Contains(hubgen.Protocols, o.Protocol):
		err = fmt.Errorf("-protocol %s: there are %s and %s", o.Protocol, hubgen.JSON, hubgen.MessagePack)
	case flags.NArg() > 1:
		err = fmt.Errorf("%d packages are named; a hub is in one", flags.NArg())
	}
	o.Package = flags.Arg(0)
	return o, output, err
}

// write leaves a file that is right as it is, so that nothing is built again for it.
func write(path string, text []byte, stdout io.Writer) error {
	if path == "" {
		_, err := stdout.Write(text)
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return os.WriteFile(path, text, 0o666)
}

// version is that of the module, as its users require it. A build from its own source tree has none: what it writes
// must not differ from one commit to the next.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs" }) {
		return "(devel)"
	}
	return info.Main.Version
}

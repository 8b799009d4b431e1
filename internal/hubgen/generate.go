package hubgen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Protocol is a hub protocol. It decides how some values look in TypeScript.
type Protocol string

// The hub protocols.
const (
	JSON        Protocol = "json"        // bytes are base64 in a string, a time is a string
	MessagePack Protocol = "messagepack" // bytes are a Uint8Array, a time is a Date
)

// Protocols are all protocols, in a fixed order.
var Protocols = []Protocol{JSON, MessagePack}

// Options say what to write.
type Options struct {
	// Dir is where the go command runs; "" is the current directory.
	Dir string
	// Package is the hub's package as the go command takes it: a path relative to Dir, or an import path; "" is that in Dir.
	Package string
	// Hub is the hub's type. It may be an instance of a generic type: Hub[string].
	Hub string
	// Client is the struct of funcs that hub.Typed takes, in the same package; "" leaves client methods out.
	Client string
	// Protocol is that of the connections; "" is JSON.
	Protocol Protocol
	// Version is that of the generator, for the header.
	Version string
}

// Generate returns the declarations. An error tells which method, parameter or field is wrong, in the words of
// hub.Server.Map; or what the go command says of a package that does not compile.
func Generate(ctx context.Context, o Options) ([]byte, error) {
	if o.Hub == "" {
		return nil, errors.New("no hub is named")
	}
	if o.Protocol != "" && !slices.Contains(Protocols, o.Protocol) {
		return nil, fmt.Errorf("unknown protocol %q: it must be %q or %q", o.Protocol, JSON, MessagePack)
	}
	p, err := load(ctx, o.Dir, o.Package)
	if err != nil {
		return nil, err
	}
	return p.generate(o)
}

func (p *program) generate(o Options) ([]byte, error) {
	o.Protocol = cmp.Or(o.Protocol, JSON)
	hub, err := p.hub(o.Hub)
	if err != nil {
		return nil, err
	}
	var client *clientType
	if o.Client != "" {
		if client, err = p.client(o.Client); err != nil {
			return nil, err
		}
	}
	return write(p, hub, client, o), nil
}

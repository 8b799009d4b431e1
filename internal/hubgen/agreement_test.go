package hubgen

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/types"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/internal/hubgen/testdata/other"
	"github.com/hubfleet/hubfleet/internal/hubgen/testdata/zoo"
	"github.com/hubfleet/hubfleet/pkg/hub"
	"github.com/hubfleet/hubfleet/pkg/protocol"
)

const zooPackage = "./testdata/zoo"

// loaded is the zoo, loaded once.
var loaded = sync.OnceValues(func() (*program, error) { return load(context.Background(), "", zooPackage) })

func theZoo(t *testing.T) *program {
	t.Helper()
	p, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The names by which the source knows these packages are those that the compiler has.
func TestPackagePaths(t *testing.T) {
	if got := reflect.TypeFor[hub.Call]().PkgPath(); got != hubPackage {
		t.Errorf("hub.Call is of %s", got)
	}
	if got := reflect.TypeFor[protocol.Raw]().PkgPath(); got != protocolPackage {
		t.Errorf("protocol.Raw is of %s", got)
	}
}

// What is found in the source is what Map finds in the value.
func TestMethodsAreThoseOfMap(t *testing.T) {
	p := theZoo(t)
	hubs := map[string]any{
		"Methods": &zoo.Methods{}, "Promoted": &zoo.Promoted{}, "Number": new(zoo.Number), "Of[int]": &zoo.Of[int]{},
		"Streams": &zoo.Streams{}, "Values": &zoo.Values{}, "Empty": &zoo.Empty{},
	}
	for name, value := range hubs {
		t.Run(name, func(t *testing.T) {
			var want []string
			s := hub.NewServer(hub.Options{Hooks: func(_ string, methods []string) hub.Hooks {
				want = methods
				return hub.Hooks{}
			}})
			if err := s.Map("/hub", value, hub.HubOptions{Name: "hub"}); err != nil {
				t.Fatal(err)
			}
			h, err := p.hub(name)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, m := range h.methods {
				got = append(got, m.name)
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Map finds, and hubgen:\n%s", diff)
			}
		})
	}
}

// What Map refuses is refused in the same words.
func TestErrorsAreThoseOfMap(t *testing.T) {
	p := theZoo(t)
	hubs := []any{
		&zoo.Variadic{}, &zoo.Func{}, &zoo.Results{}, &zoo.ErrorFirst{}, &zoo.BadConnected{}, &zoo.BadDisconnected{}, &zoo.Face{},
		&zoo.SendOnly{}, &zoo.SendStream{}, &zoo.SeqUp{}, &zoo.BadItems{}, &zoo.Pointer{}, &zoo.Complex{}, &zoo.Many{}, &zoo.Chans{},
		&zoo.Generic{}, &zoo.Base{},
	}
	for _, value := range hubs {
		name := reflect.TypeOf(value).Elem().Name()
		want := hub.NewServer(hub.Options{}).Map("/hub", value)
		_, err := p.hub(name)
		if want == nil || err == nil {
			t.Errorf("%s: Map says %v, and hubgen %v", name, want, err)
		} else if diff := cmp.Diff(sorted(want), sorted(err)); diff != "" {
			t.Errorf("%s: Map says, and hubgen:\n%s", name, diff)
		}
	}
	// Which of two twins comes first is not the same in the source and in a value.
	_, err := p.hub("Twins")
	if want := "hub: *zoo.Twins.SEND: differs from Send only in case; clients call methods without regard to case"; err == nil || err.Error() != want {
		t.Errorf("Twins: %v, want %s", err, want)
	}
}

// sorted are the lines of an error; those of Map are in the order of names, ours in that of the source.
func sorted(err error) []string {
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines)
	return lines
}

// What hub.Typed panics at is refused in the same words.
func TestErrorsAreThoseOfTyped(t *testing.T) {
	p := theZoo(t)
	tests := map[string]func(){
		"NotFuncs":     typed[zoo.NotFuncs],
		"NoError":      typed[zoo.NoError],
		"WrongResults": typed[zoo.WrongResults],
		"TooMany":      typed[zoo.TooMany],
		"VariableArgs": typed[zoo.VariableArgs],
		"BadParam":     typed[zoo.BadParam],
		"BadResult":    typed[zoo.BadResult],
		"NoStruct":     typed[zoo.NoStruct],
	}
	for name, call := range tests {
		want := panics(call)
		if _, err := p.client(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func typed[T any]() { hub.Typed[T](context.Background(), hub.Target{}) }

func panics(call func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	call()
	return ""
}

// The members of an object are the fields that encoding/json writes, in its order; those marked optional, and no others,
// are missing from a zero value.
func TestMembersAreThoseOfJSON(t *testing.T) {
	p := theZoo(t)
	email, balance := "a@b", int64(1)
	user := zoo.User{Email: &email, Seen: time.Unix(1, 0), Age: 1, Balance: &balance, Picture: []byte{1}, Home: &zoo.Address{}}
	tests := []struct{ zero, full any }{
		{zoo.User{}, user},
		{zoo.Outer{}, zoo.Outer{Maybe: &zoo.Maybe{}}},
		{zoo.Deep{}, zoo.Deep{}},
		{zoo.Pages{}, zoo.Pages{}},
		{zoo.Node{}, zoo.Node{}},
		{zoo.Page[int]{}, zoo.Page[int]{Next: 1}},
		{other.User{}, other.User{Friends: []other.User{{}}}},
	}
	for _, test := range tests {
		name := strings.TrimPrefix(reflect.TypeOf(test.zero).String(), "zoo.")
		typ, ok := structNamed(t, p, name)
		if !ok {
			continue
		}
		var all, always []string
		for _, f := range structFields(typ) {
			all = append(all, f.name)
			if !f.optional {
				always = append(always, f.name)
			}
		}
		if diff := cmp.Diff(keys(t, test.full), all); diff != "" {
			t.Errorf("%s: encoding/json writes, and hubgen:\n%s", name, diff)
		}
		if diff := cmp.Diff(keys(t, test.zero), always); diff != "" {
			t.Errorf("%s: of a zero value encoding/json writes, and hubgen:\n%s", name, diff)
		}
	}
}

func structNamed(t *testing.T, p *program, name string) (types.Type, bool) {
	t.Helper()
	if own, isOther := strings.CutPrefix(name, "other."); isOther {
		for _, imported := range p.pkg.Imports() {
			if imported.Name() == "other" {
				return imported.Scope().Lookup(own).Type(), true
			}
		}
	}
	typ, err := p.named(name)
	if err != nil {
		t.Error(err)
	}
	return typ, err == nil
}

// keys are the names in the JSON of a struct, in their order.
func keys(t *testing.T, v any) []string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	var found []string
	for depth, name := 0, true; ; {
		token, err := dec.Token()
		if err != nil {
			return found
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			name = true
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			name = true
			continue
		}
		if depth == 1 {
			if name {
				found = append(found, token.(string))
			}
			name = !name
		}
	}
}

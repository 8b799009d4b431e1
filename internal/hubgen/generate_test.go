package hubgen

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what is generated; is it right? Then run: go test ./internal/hubgen -update\n%s", file, diff)
	}
}

func TestGolden(t *testing.T) {
	tests := map[string]Options{
		"methods":                 {Package: zooPackage, Hub: "Methods", Client: "NoClient"},
		"streams":                 {Package: zooPackage, Hub: "Streams"},
		"values":                  {Package: zooPackage, Hub: "Values", Client: "Client"},
		"values-msgpack":          {Package: zooPackage, Hub: "Values", Client: "Client", Protocol: MessagePack},
		"generic":                 {Package: zooPackage, Hub: "Of[map[string]*User]", Client: "NoClient"},
		"empty":                   {Package: zooPackage, Hub: "Empty"},
		"../../../e2e/types/chat": {Package: "../../cmd/node", Hub: "ChatHub", Client: "ChatClient"},
	}
	for name, options := range tests {
		t.Run(filepath.Base(name), func(t *testing.T) {
			options.Version = "(devel)"
			got, err := Generate(context.Background(), options)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".ts"), got)
		})
	}
}

// The same source gives the same bytes, in whatever order maps are walked.
func TestDeterministic(t *testing.T) {
	o := Options{Package: zooPackage, Hub: "Values", Client: "Client"}
	var first []byte
	for range 5 {
		got, err := Generate(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(string(first), string(got)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestErrors(t *testing.T) {
	broken := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(broken, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/broken\n\ngo 1.26\n")
	write("hub.go", "package broken\n\ntype Hub struct{ missing Missing }\n")

	tests := map[string]struct {
		options Options
		want    []string
	}{
		"no hub":           {Options{Package: zooPackage}, []string{"no hub is named"}},
		"unknown hub":      {Options{Package: zooPackage, Hub: "Nobody"}, []string{"testdata/zoo has no type Nobody", "types with hub methods are: BadConnected, ", "Methods, "}},
		"unknown client":   {Options{Package: zooPackage, Hub: "Methods", Client: "Nobody"}, []string{"has no type Nobody"}},
		"no type":          {Options{Package: zooPackage, Hub: "Red"}, []string{"has no type Red"}},
		"no such package":  {Options{Package: "./nowhere", Hub: "Hub"}, []string{"./nowhere", "no"}},
		"several packages": {Options{Package: "./...", Dir: "../../cmd", Hub: "Hub"}, []string{"./... is ", "name the one in which the hub is declared"}},
		"an interface":     {Options{Package: zooPackage, Hub: "Reader"}, []string{"Reader is an interface"}},
		"generic":          {Options{Package: zooPackage, Hub: "Of"}, []string{"Of is generic", "Of[string]"}},
		"protocol":         {Options{Package: zooPackage, Hub: "Methods", Protocol: "xml"}, []string{`unknown protocol "xml"`}},
		"does not compile": {Options{Dir: broken, Hub: "Hub"}, []string{". does not compile", "hub.go:3:26: undefined: Missing"}},
		"wrong signature":  {Options{Package: zooPackage, Hub: "Variadic"}, []string{"hub: *zoo.Variadic.M: takes a variable number of arguments"}},
		"twice one name":   {Options{Package: zooPackage, Hub: "Methods", Client: "Doubled"}, []string{"hub: zoo.Doubled.B cannot be a client's method: A is named \"x\", too"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Generate(context.Background(), test.options)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not contain %q", err, want)
				}
			}
		})
	}
}

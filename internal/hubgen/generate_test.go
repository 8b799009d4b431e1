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
		"todo":                    {Package: "./testdata/todo", Hub: "Todo", Client: "TodoClient"},
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
			got, err := generate(t, options)
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
	first, err := Generate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := generate(t, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(got)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// generate is Generate, without loading the zoo each time.
func generate(t *testing.T, o Options) ([]byte, error) {
	t.Helper()
	if o.Package != zooPackage {
		return Generate(context.Background(), o)
	}
	return theZoo(t).generate(o)
}

func TestErrors(t *testing.T) {
	broken := module(t, map[string]string{"hub.go": "package broken\n\ntype Hub struct{ missing Missing }\n"})
	two := module(t, map[string]string{"a/a.go": "package a\n", "b/b.go": "package b\n"})
	tests := map[string]struct {
		options Options
		want    []string
	}{
		"no hub":           {Options{Package: "."}, []string{"no hub is named"}},
		"unknown hub":      {Options{Package: zooPackage, Hub: "Nobody"}, []string{"testdata/zoo has no type Nobody", "types with hub methods are: BadConnected, ", "Methods, "}},
		"unknown client":   {Options{Package: zooPackage, Hub: "Methods", Client: "Nobody"}, []string{"has no type Nobody"}},
		"no type":          {Options{Package: zooPackage, Hub: "Red"}, []string{"has no type Red"}},
		"no such package":  {Options{Package: "./nowhere", Hub: "Hub"}, []string{"./nowhere", "no"}},
		"several packages": {Options{Package: "./...", Dir: two, Hub: "Hub"}, []string{"./... is 2 packages", "name the one in which the hub is declared"}},
		"no packages":      {Options{Package: "./c/...", Dir: two, Hub: "Hub"}, []string{"./c/..."}},
		"an interface":     {Options{Package: zooPackage, Hub: "Reader"}, []string{"Reader is an interface"}},
		"generic":          {Options{Package: zooPackage, Hub: "Of"}, []string{"Of is generic", "Of[string]"}},
		"protocol":         {Options{Hub: "Methods", Protocol: "xml"}, []string{`unknown protocol "xml"`}},
		"does not compile": {Options{Dir: broken, Hub: "Hub"}, []string{". does not compile", "hub.go:3:26: undefined: Missing"}},
		"wrong signature":  {Options{Package: zooPackage, Hub: "Variadic"}, []string{"hub: *zoo.Variadic.M: takes a variable number of arguments"}},
		"twice one name":   {Options{Package: zooPackage, Hub: "Methods", Client: "Doubled"}, []string{"hub: zoo.Doubled.B cannot be a client's method: A is named \"x\", too"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := generate(t, test.options)
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

// module writes a module of its own, and returns its folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/module\n\ngo 1.26\n"
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

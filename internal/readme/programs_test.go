package readme

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// TestWholeServer holds the first program of the README equal to the package example of pkg/hub, which runs.
func TestWholeServer(t *testing.T) {
	var program string
	for _, b := range documents(t)["README.md"].blocks {
		if b.lang == "go" {
			program = b.text
			break
		}
	}
	want := exampleServer(t)
	got := program[strings.Index(program, "type "):]
	if normal(t, got) != normal(t, want) {
		t.Errorf("README.md has\n%s\nand the example of pkg/hub has\n%s", got, want)
	}
}

// exampleServer is the type that the package example of pkg/hub is about, and the main function that its comment shows.
func exampleServer(t *testing.T) string {
	const file = "pkg/hub/example_test.go"
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, decl := range tree.Decls {
		text := string(source[set.Position(decl.Pos()).Offset:set.Position(decl.End()).Offset])
		f, isFunc := decl.(*ast.FuncDecl)
		switch {
		case strings.HasPrefix(text, "type Chat "), strings.HasPrefix(text, "func (Chat) "):
			parts = append(parts, text)
		case isFunc && f.Name.Name == "Example":
			_, program, found := strings.Cut(f.Doc.Text(), "\n\n")
			if !found {
				t.Fatalf("the comment of Example in %s shows no program", file)
			}
			parts = append(parts, program)
		}
	}
	return strings.Join(parts, "\n")
}

// normal is source as gofmt has it, indented or not.
func normal(t *testing.T, source string) string {
	t.Helper()
	formatted, err := format.Source([]byte("package p\n\n" + source))
	if err != nil {
		t.Fatalf("%v in\n%s", err, source)
	}
	return regexp.MustCompile(`\n\s*\n`).ReplaceAllString(string(formatted), "\n")
}

// imports are the packages that a fragment in a document may use without importing them.
var imports = map[string]string{
	"backplane": "github.com/hubfleet/hubfleet/pkg/backplane",
	"client":    "github.com/hubfleet/hubfleet/pkg/client",
	"context":   "context",
	"errors":    "errors",
	"fmt":       "fmt",
	"http":      "net/http",
	"hub":       "github.com/hubfleet/hubfleet/pkg/hub",
	"iter":      "iter",
	"node":      "github.com/hubfleet/hubfleet/pkg/node",
	"publisher": "github.com/hubfleet/hubfleet/pkg/publisher",
	"slices":    "slices",
	"slog":      "log/slog",
	"time":      "time",
}

// TestProgramsCompile compiles every block of Go in the documents: whole programs as they stand, fragments as a package of
// their own. The files exist for the compiler only.
func TestProgramsCompile(t *testing.T) {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	where := make(map[string]string) // package folder → document
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents(t) {
		for i, b := range doc.blocks {
			if b.lang != "go" {
				continue
			}
			name := fmt.Sprintf("block%d", len(where))
			real := filepath.Join(dir, name+".go")
			if err := os.WriteFile(real, []byte(whole(b.text)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay.Replace[filepath.Join(here, name, "block.go")] = real
			where[name] = fmt.Sprintf("%s:%d (block %d)", doc.path, b.line, i+1)
		}
	}
	content, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	// go list -export compiles without linking, and all at once.
	args := []string{"list", "-export", "-f", "{{.Name}}", "-overlay", file}
	for name := range where {
		args = append(args, "./"+name)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err == nil {
		return
	}
	t.Errorf("%v\n%s", err, out)
	for name, doc := range where {
		if strings.Contains(string(out), "/"+name) {
			t.Errorf("%s is %s", name, doc)
		}
	}
}

// whole makes a file of a fragment: a package clause and the imports that it needs.
func whole(source string) string {
	if strings.HasPrefix(source, "package ") {
		return source
	}
	var paths []string
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(source) {
			paths = append(paths, fmt.Sprintf("import %q\n", path))
		}
	}
	sort.Strings(paths)
	return "package p\n\n" + strings.Join(paths, "") + "\n" + source
}

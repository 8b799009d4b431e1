package hubgen

import (
	"go/types"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = "../../docs/typescript.md"

var fenced = regexp.MustCompile("(?ms)^```(go|ts)\n(.*?)^```$")

// TestDocumentExample holds the worked example of the document to files that are generated and compiled.
func TestDocumentExample(t *testing.T) {
	text := read(t, document)
	blocks := fenced.FindAllStringSubmatch(text, -1)
	files := []string{"testdata/todo/todo.go", "testdata/todo.ts", "testdata/todo-use.ts"}
	if len(blocks) != len(files) {
		t.Fatalf("%s has %d programs; want %d", document, len(blocks), len(files))
	}
	for i, file := range files {
		want := read(t, file)
		if *update {
			text = strings.Replace(text, blocks[i][2], want, 1)
		} else if diff := cmp.Diff(want, blocks[i][2]); diff != "" {
			t.Errorf("%s has, and %s:\n%s", file, document, diff)
		}
	}
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var valueRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\| `([^`]+)` \\|$")

// TestDocumentTable holds the document's table of values to what is generated.
func TestDocumentTable(t *testing.T) {
	p := theZoo(t)
	rows := valueRow.FindAllStringSubmatch(strings.ReplaceAll(read(t, document), `\|`, "|"), -1)
	if len(rows) < 15 {
		t.Fatalf("%s has %d rows about values", document, len(rows))
	}
	inFile := p.pkg.Scope().Lookup("Methods").Pos() // where the file's imports are known
	for _, row := range rows {
		found, err := types.Eval(p.files, p.pkg, inFile, row[1])
		if err != nil {
			t.Errorf("%s: %v", row[1], err)
			continue
		}
		for i, protocol := range Protocols {
			d := &declarations{program: p, protocol: protocol, known: map[string]int{}}
			d.express(found.Type) // finds the names
			d.give(names{})
			if got := d.express(found.Type).text; got != row[2+i] {
				t.Errorf("%s in %s is %s, and the document says %s", row[1], protocol, got, row[2+i])
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

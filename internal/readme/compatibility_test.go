package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const compatibility = "docs/compatibility.md"

var (
	featureTable = regexp.MustCompile(`(?m)^\| Feature \| Here \| Shown by \|\n\|[-|]+\|\n((?:\|.*\n)+)`)
	shownBy      = regexp.MustCompile("^`((?:Test|Fuzz|Example)\\w*|e2e/[\\w./]+\\.test\\.js)`$")
)

// TestCompatibility holds every row of the tables of features to their form: what works, or works differently, is shown by at
// least one test, and what is missing by none. That the tests exist is what TestTests and TestPaths see to.
func TestCompatibility(t *testing.T) {
	rows := 0
	for _, table := range featureTable.FindAllStringSubmatch(documents(t)[compatibility].prose, -1) {
		for _, row := range strings.Split(strings.TrimSpace(table[1]), "\n") {
			rows++
			cells := strings.Split(strings.Trim(row, "|"), " | ")
			if len(cells) != 3 {
				t.Errorf("%d cells, want 3: %s", len(cells), row)
				continue
			}
			here, tests := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
			missing := strings.HasPrefix(here, "not here")
			if !missing && !strings.HasPrefix(here, "works") && !strings.HasPrefix(here, "differs: ") {
				t.Errorf("neither works, nor differs, nor not here: %s", row)
			}
			if missing != (tests == "") {
				t.Errorf("what is here must be shown by a test, what is not by none: %s", row)
			}
			for _, name := range strings.Split(tests, ", ") {
				if tests != "" && !shownBy.MatchString(name) {
					t.Errorf("%s is not the name of a test or of a file of them: %s", name, row)
				}
			}
		}
	}
	if rows == 0 {
		t.Errorf("%s has no table of features", compatibility)
	}
}

// TestEndToEndTestsAreListed fails for a file of end-to-end tests that no row of the tables names: what it shows belongs there.
func TestEndToEndTestsAreListed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "e2e", "*.test.js"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no end-to-end tests: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(root, compatibility))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := "`e2e/" + filepath.Base(file) + "`"; !strings.Contains(string(text), name) {
			t.Errorf("%s does not name %s", compatibility, name)
		}
	}
}

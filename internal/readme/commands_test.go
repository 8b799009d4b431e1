package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	target     = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	makeTarget = regexp.MustCompile(`^make ([a-z0-9-]+)`)
)

// TestTargets fails for a make target that a document names and the Makefile does not have.
func TestTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		known[m[1]] = true
	}
	for _, doc := range documents(t) {
		for _, code := range doc.code() {
			if m := makeTarget.FindStringSubmatch(code); m != nil && !known[m[1]] {
				t.Errorf("%s names %q, but the Makefile has no target %s", doc.path, code, m[1])
			}
		}
	}
}

var (
	helpFlag    = regexp.MustCompile(`(?m)^  --?([a-z][a-z0-9-]+)`)
	helpDefault = regexp.MustCompile(`\(default: ([^)]+)\)`)
	withFile    = regexp.MustCompile(`--([a-z-]+-file)=`)
	flagUse     = regexp.MustCompile(`(?:^|[\s"])--([a-z][a-z0-9-]+)`)
	ourProgram  = regexp.MustCompile(`^(--|bin/node|node |go run ./cmd/node|go run ./loadtest|make |bin/devcluster)`)
	tableRow    = regexp.MustCompile("(?m)^\\| `--([a-z-]+)`( †)? \\|([^|]*)\\|")
	variable    = regexp.MustCompile(`\bHUBFLEET_([A-Z_]+)\b`)
)

// help is what a command of this repository says of itself.
func help(t *testing.T, command string, args ...string) string {
	t.Helper()
	args = slices.DeleteFunc(args, func(a string) bool { return a == "" })
	cmd := exec.Command("go", append([]string{"run", command}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// names are the flags in a help text, those that name files among them.
func names(text string) map[string]bool {
	known := make(map[string]bool)
	for _, re := range []*regexp.Regexp{helpFlag, withFile} {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			known[m[1]] = true
		}
	}
	return known
}

// TestFlags fails for a flag or variable that a document names and no command of ours has.
func TestFlags(t *testing.T) {
	known := names(help(t, "./cmd/node", "--help"))
	variables := make(map[string]bool)
	for name := range known {
		variables[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = true
	}
	for name := range names(help(t, "./internal/devcluster", "-h")) {
		known[name] = true
	}
	for _, command := range []string{"", "compare", "bench", "bare"} {
		for name := range names(help(t, "./loadtest", strings.TrimSpace(command), "--help")) {
			known[name] = true
		}
	}
	known["help"] = true
	for _, doc := range documents(t) {
		for _, code := range doc.code() {
			if !ourProgram.MatchString(code) {
				continue
			}
			for _, m := range flagUse.FindAllStringSubmatch(code, -1) {
				if !known[m[1]] {
					t.Errorf("%s names --%s in %q, which no command of ours has", doc.path, m[1], code)
				}
			}
		}
		for _, m := range variable.FindAllStringSubmatch(doc.text, -1) {
			if !variables[m[1]] {
				t.Errorf("%s names HUBFLEET_%s, but the node has no such setting", doc.path, m[1])
			}
		}
	}
}

// TestConfigurationTable holds the README's table to the settings of the node: the same flags in the same order, the same
// defaults where they are values, and a mark on those that can be read from a file.
func TestConfigurationTable(t *testing.T) {
	text := help(t, "./cmd/node", "--help")
	rows := tableRow.FindAllStringSubmatch(documents(t)["README.md"].prose, -1)
	at := helpFlag.FindAllStringSubmatchIndex(text, -1)
	if len(rows) != len(at) {
		t.Errorf("the README's table has %d flags, the node has %d", len(rows), len(at))
	}
	for i := range min(len(rows), len(at)) {
		name, end := text[at[i][2]:at[i][3]], len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		entry := strings.Join(strings.Fields(text[at[i][0]:end]), " ") // the help is wrapped
		if rows[i][1] != name {
			t.Fatalf("row %d of the README's table is --%s, but the node's help has --%s there", i+1, rows[i][1], name)
		}
		if fromFile := withFile.MatchString(entry); fromFile != (rows[i][2] != "") {
			t.Errorf("--%s: can be read from a file: %v; the README says otherwise", name, fromFile)
		}
		value, isValue := strings.CutPrefix(strings.TrimSuffix(strings.TrimSpace(rows[i][3]), "`"), "`")
		if m := helpDefault.FindStringSubmatch(entry); isValue && !strings.Contains(value, "`") && (m == nil || m[1] != value) {
			t.Errorf("--%s: the README's default is %s; the help says %q", name, value, m)
		}
	}
}

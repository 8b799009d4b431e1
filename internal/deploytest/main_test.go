package deploytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

// binary is the node, built once, as the image has it.
var binary string

// update writes generated files instead of comparing them.
var update = os.Getenv("HUBFLEET_UPDATE") != ""

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hubfleet-deploy")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "node")
		build := exec.Command(filepath.Join(root, "scripts/build"), binary)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the node:", err)
			return 1
		}
		return m.Run()
	}())
}

// read is a file of the repository.
func read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// node runs the binary with just these arguments and variables, and gives all of its output. It must end by itself.
func node(t testing.TB, args, env []string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var helpEntry = regexp.MustCompile(`(?m)^  --([a-z][a-z0-9-]+)(?:=\S+)?((?:   \(or --[a-z-]+-file=PATH\))?)\n((?:        .*\n)+)`)

var helpDefault = regexp.MustCompile(`\(default: ([^)]+)\)$`)

// setting is what the help says of one.
type setting struct {
	fromFile bool
	value    string // the default; empty if the help has none
}

// settings are all of the node, by their flags.
func settings(t testing.TB) map[string]setting {
	t.Helper()
	help, err := node(t, []string{"--help"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]setting)
	for _, m := range helpEntry.FindAllStringSubmatch(help, -1) {
		s := setting{fromFile: m[2] != ""}
		if d := helpDefault.FindStringSubmatch(strings.Join(strings.Fields(m[3]), " ")); d != nil {
			s.value = d[1]
		}
		found[m[1]] = s
	}
	if len(found) < 20 {
		t.Fatalf("the help names %d settings; is it laid out anew?\n%s", len(found), help)
	}
	return found
}

// flagOf is the flag of a variable, and whether the variable names a file to read the value from.
func flagOf(t testing.TB, known map[string]setting, variable string) (flag string, file, ok bool) {
	t.Helper()
	name, ours := strings.CutPrefix(variable, "HUBFLEET_")
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if _, found := known[name]; ours && found {
		return name, false, true
	}
	name, file = strings.CutSuffix(name, "-file")
	s, found := known[name]
	return name, true, ours && file && found && s.fromFile
}

package deploytest

import (
	"crypto/sha256"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instructions are those of the Dockerfile, continued lines joined.
func instructions(t *testing.T) [][2]string {
	t.Helper()
	var found [][2]string
	text := strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		found = append(found, [2]string{name, strings.Join(strings.Fields(rest), " ")})
	}
	return found
}

// platformDefault is a default for an argument that BuildKit sets by itself.
var platformDefault = regexp.MustCompile(`^(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)=`)

// TestDockerfile: the image holds the binary and certificates, runs it as a user who is not root, and says on which ports it listens.
// It is built for the platform that is asked for. Whether Docker builds it is not shown here, where no engine runs.
func TestDockerfile(t *testing.T) {
	all := instructions(t)
	last := 0 // where the last stage begins
	for i, in := range all {
		if in[0] == "FROM" {
			last = i
		}
	}
	if all[last][1] != "scratch" {
		t.Errorf("the image stands on %s", all[last][1])
	}
	got := make(map[string][]string)
	for _, in := range all[last:] {
		got[in[0]] = append(got[in[0]], in[1])
	}
	for name, want := range map[string][]string{
		"USER":        {"65532:65532"},
		"ENTRYPOINT":  {`["/node"]`},
		"STOPSIGNAL":  {"SIGTERM"},
		"HEALTHCHECK": {`--interval=10s --timeout=5s --start-period=30s CMD ["/node", "healthcheck"]`},
		"COPY":        {"--from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/", "--from=build /out/node /node"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s %q, want %q", name, got[name], want)
		}
	}
	for _, in := range all {
		if in[0] != "ARG" {
			continue
		}
		for name := range strings.FieldsSeq(in[1]) {
			if platformDefault.MatchString(name) {
				t.Errorf("ARG %s: the default wins over the platform that is asked for", name)
			}
		}
	}
	for _, want := range []string{"TARGETOS", "TARGETARCH"} {
		if !slices.ContainsFunc(all[:last], func(in [2]string) bool { return in[0] == "ARG" && slices.Contains(strings.Fields(in[1]), want) }) {
			t.Errorf("no stage before the last is told %s", want)
		}
	}
	if len(got["RUN"]) > 0 {
		t.Errorf("there is nothing in the image that could run %q", got["RUN"])
	}
	var exposed []int
	for port := range strings.FieldsSeq(strings.Join(got["EXPOSE"], " ")) {
		exposed = append(exposed, portOf(t, ":"+port))
	}
	for name, port := range listeners(t, nil) {
		if !slices.Contains(exposed, port) || len(exposed) != 3 {
			t.Errorf("EXPOSE %v; the node listens on %d (%s)", exposed, port, name)
		}
	}
}

var buildArgument = regexp.MustCompile(`--build-arg (\w+)=`)

// TestBuildArguments: the image takes what docs/operations.md gives it, and what it calls itself is among that.
func TestBuildArguments(t *testing.T) {
	known := make(map[string]bool)
	for _, in := range instructions(t) {
		if in[0] == "ARG" {
			for argument := range strings.FieldsSeq(in[1]) {
				name, _, _ := strings.Cut(argument, "=")
				known[name] = true
			}
		}
	}
	given := make(map[string]bool)
	for _, m := range buildArgument.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		given[m[1]] = true
		if !known[m[1]] {
			t.Errorf("docs/operations.md gives the image %s, which the Dockerfile does not take", m[1])
		}
	}
	if !given["VERSION"] || !given["REVISION"] {
		t.Errorf("docs/operations.md gives the image %v, and so no version", given)
	}
}

// TestGoVersion: the image that the node is built in has the Go that go.mod asks for.
func TestGoVersion(t *testing.T) {
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	got := regexp.MustCompile(`(?m)^ARG GO_IMAGE=\S+golang:(\d+\.\d+)`).FindStringSubmatch(read(t, "Dockerfile"))
	if want == nil || got == nil || want[1] != got[1] {
		t.Errorf("go.mod asks for %q, the Dockerfile has %q", want, got)
	}
}

// TestDockerIgnore: the build gets what it needs and nothing else: what is not named is not sent.
func TestDockerIgnore(t *testing.T) {
	kept := make(map[string]bool)
	for line := range strings.Lines(read(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "!"); ok {
			kept[name] = true
		}
	}
	if !strings.Contains(read(t, ".dockerignore"), "\n*\n") {
		t.Error("it is not a list of what is let in")
	}
	dir := t.TempDir()
	for name := range kept {
		copyTree(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/build"), filepath.Join(dir, "node"))
	cmd.Env = append(os.Environ(), "VERSION=v1.2.3", "REVISION=abc")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("what is sent to the build does not build: %v\n%s", err, out)
	}
	// Where there is no checkout, and with the same stamp, the bytes are the same as here.
	cmd = exec.CommandContext(t.Context(), filepath.Join(root, "scripts/build"), filepath.Join(dir, "again"))
	cmd.Env = append(os.Environ(), "VERSION=v1.2.3", "REVISION=abc")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if a, b := sum(t, filepath.Join(dir, "node")), sum(t, filepath.Join(dir, "again")); a != b {
		t.Errorf("two builds differ: %x, %x", a, b)
	}
	cmd = exec.CommandContext(t.Context(), filepath.Join(dir, "node"), "--version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "hubfleet node v1.2.3 ") {
		t.Errorf("--version: %v, %s", err, out)
	}
	static(t, filepath.Join(dir, "node"))
}

// static fails for a binary that needs a loader or libraries: the image has none.
func static(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a loader")
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary needs %q (%v)", libraries, err)
	}
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

// copyTree copies a file or a folder, but for what the .dockerignore leaves out of folders.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == "node_modules" || name == "testdata" {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if strings.HasSuffix(name, "_test.go") || !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

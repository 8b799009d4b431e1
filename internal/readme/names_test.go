package readme

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z_]?\w*`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
)

// TestTests fails for a test that a document names and that does not exist.
func TestTests(t *testing.T) {
	known := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
			known[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents(t) {
		for _, code := range doc.code() {
			if m := testName.FindString(code); m != "" && m == code && !known[m] {
				t.Errorf("%s names %s, but there is no such test", doc.path, m)
			}
		}
	}
}

var clientVersion = regexp.MustCompile(`@microsoft/signalr(?:@|": ")([0-9.]+[0-9])`)

// TestClientVersion fails for a version of the official client in a document that is not the one of the demo page.
func TestClientVersion(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(root, "cmd/node/demo/package.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := clientVersion.FindSubmatch(manifest)
	if want == nil {
		t.Fatal("cmd/node/demo/package.json names no version of the client")
	}
	for _, doc := range documents(t) {
		for _, m := range clientVersion.FindAllStringSubmatch(doc.text, -1) {
			if m[1] != string(want[1]) {
				t.Errorf("%s names version %s of the client; the demo page has %s", doc.path, m[1], want[1])
			}
		}
	}
}

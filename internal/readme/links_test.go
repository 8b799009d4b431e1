package readme

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks fails for a relative link that leads nowhere.
func TestLinks(t *testing.T) {
	docs := documents(t)
	for _, doc := range docs {
		for _, m := range link.FindAllStringSubmatch(doc.prose, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, hasAnchor := strings.Cut(target, "#")
			full := doc.path
			if file != "" {
				full = path.Join(path.Dir(doc.path), file)
			}
			if _, err := os.Stat(filepath.Join(root, full)); err != nil {
				t.Errorf("%s links to %s: %v", doc.path, target, err)
				continue
			}
			if to, ok := docs[full]; hasAnchor && (!ok || !to.anchors()[anchor]) {
				t.Errorf("%s links to %s: %s has no such heading", doc.path, target, full)
			}
		}
	}
}

// repoPath matches what is set as code and looks like a path of this repository.
var repoPath = regexp.MustCompile(`^(pkg|cmd|internal|docs|scripts|e2e|loadtest)/[\w./@-]*$`)

// TestPaths fails for a file or folder that a document names and that does not exist.
func TestPaths(t *testing.T) {
	for _, doc := range documents(t) {
		for _, code := range doc.code() {
			if !repoPath.MatchString(code) || strings.Contains(code, "...") || strings.Contains(code, "node_modules") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, code)); err != nil {
				t.Errorf("%s names %s: %v", doc.path, code, err)
			}
		}
	}
}

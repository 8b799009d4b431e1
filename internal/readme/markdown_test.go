package readme

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// document is one Markdown file of the repository.
type document struct {
	path   string // from the root, with slashes
	text   string // all of it
	prose  string // without fenced blocks
	blocks []block
}

// block is a fenced block.
type block struct {
	lang string
	line int // of its first line
	text string
}

// documents reads every Markdown file of the repository.
func documents(t *testing.T) map[string]document {
	t.Helper()
	found := make(map[string]document)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || name == "bin" || name == ".git") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		doc := parse(string(text))
		doc.path = filepath.ToSlash(rel)
		found[doc.path] = doc
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no document found")
	}
	return found
}

// parse parts prose from fenced blocks.
func parse(text string) document {
	d := document{text: text}
	var prose strings.Builder
	var open *block
	for i, line := range strings.Split(text, "\n") {
		lang, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &block{lang: lang, line: i + 2}
		case fence:
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			prose.WriteString(line)
		}
		if open == nil || fence {
			prose.WriteByte('\n')
		}
	}
	d.prose = prose.String()
	return d
}

var span = regexp.MustCompile("`([^`\n]+)`")

// code is everything in a document that is set as code: inline spans, and the lines of blocks that are commands.
func (d document) code() []string {
	var code []string
	for _, m := range span.FindAllStringSubmatch(d.prose, -1) {
		code = append(code, m[1])
	}
	for _, b := range d.blocks {
		if b.lang == "sh" {
			code = append(code, strings.Split(strings.TrimSpace(strings.ReplaceAll(b.text, "\\\n", " ")), "\n")...)
		}
	}
	return code
}

var (
	heading    = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notInSlugs = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the fragments by which the headings of a document can be linked to, as GitHub makes them.
func (d document) anchors() map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(d.prose, -1) {
		slug := notInSlugs.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}

package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// otherKeys are keys of log lines that stand for what has another key everywhere else.
var otherKeys = map[string]string{"err": "error", "conn": "connection", "connection_id": "connection", "user_id": "user"}

var logKey = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// TestLogKeys: whoever searches the log finds all of a kind under one key.
func TestLogKeys(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			for _, key := range keysOf(n) {
				seen++
				if better := otherKeys[key.name]; better != "" {
					t.Errorf("%s: the key %q is %q elsewhere", files.Position(key.pos), key.name, better)
				} else if !logKey.MatchString(key.name) {
					t.Errorf("%s: the key %q is not in lower case with underscores", files.Position(key.pos), key.name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d keys were seen: the test looks in the wrong place", seen)
	}
}

type key struct {
	name string
	pos  token.Pos
}

// keysOf are the keys in a call of a slog.Logger, which is told by its method's name and its first argument.
func keysOf(n ast.Node) (keys []key) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	args := call.Args
	switch method.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		if len(args) == 0 || text(args[0]) == "" {
			return nil
		}
		args = args[1:]
	case "With":
	default:
		return nil
	}
	for i := 0; i+1 < len(args); i += 2 {
		name := text(args[i])
		if name == "" {
			return keys // attributes, or no logger at all
		}
		keys = append(keys, key{name, args[i].Pos()})
	}
	return keys
}

// text is the value of a string literal; empty when e is none.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(literal.Value)
	return s
}

package hubgen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// program is a package that was checked, and what is known of those that it reaches.
type program struct {
	pkg      *types.Package
	files    *token.FileSet
	packages map[string]*listed // by import path
	comments map[string]comments
}

// listed is what is read of go list's description of a package.
type listed struct {
	ImportPath      string
	Dir             string
	CompiledGoFiles []string
	Export          string            // the file with its export data
	ImportMap       map[string]string // what its imports stand for, where that differs
	DepOnly         bool              // it was not asked for itself
	Module          *struct{ GoVersion string }
}

// load checks the package that the pattern names; it must be a single one.
func load(ctx context.Context, dir, pattern string) (*program, error) {
	if pattern == "" {
		pattern = "."
	}
	p := &program{files: token.NewFileSet(), packages: map[string]*listed{}, comments: map[string]comments{}}
	main, err := p.list(ctx, dir, pattern)
	if err != nil {
		return nil, err
	}
	trees, err := p.parse(main)
	if err != nil {
		return nil, err
	}
	config := types.Config{
		Importer:         &imports{importer.ForCompiler(p.files, "gc", p.export), main.ImportMap},
		Sizes:            types.SizesFor("gc", runtime.GOARCH),
		IgnoreFuncBodies: true, // the compiler has seen them
	}
	if main.Module != nil && main.Module.GoVersion != "" {
		config.GoVersion = "go" + main.Module.GoVersion
	}
	if p.pkg, err = config.Check(main.ImportPath, p.files, trees, nil); err != nil {
		return nil, err
	}
	p.comments[main.ImportPath] = commentsOf(trees)
	return p, nil
}

// list has the go command compile the package, and describe it and all that it reaches.
func (p *program) list(ctx context.Context, dir, pattern string) (*listed, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-export", "-compiled", "-deps",
		"-json=ImportPath,Dir,CompiledGoFiles,Export,ImportMap,DepOnly,Module", "--", pattern)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && stderr.Len() > 0 {
		return nil, fmt.Errorf("%s does not compile:\n%s", pattern, bytes.TrimSpace(stderr.Bytes()))
	}
	if err != nil {
		return nil, fmt.Errorf("running the go command: %w", err)
	}
	var found []*listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		l := new(listed)
		if err := dec.Decode(l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		p.packages[l.ImportPath] = l
		if !l.DepOnly {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s names no package", pattern)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%s is %d packages; name the one in which the hub is declared", pattern, len(found))
}

func (p *program) parse(l *listed) ([]*ast.File, error) {
	var trees []*ast.File
	for _, file := range l.CompiledGoFiles {
		if !filepath.IsAbs(file) {
			file = filepath.Join(l.Dir, file)
		}
		tree, err := parser.ParseFile(p.files, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

// export opens the export data of a package.
func (p *program) export(path string) (io.ReadCloser, error) {
	l := p.packages[path]
	if l == nil || l.Export == "" {
		return nil, fmt.Errorf("the go command has no export data of %s", path)
	}
	return os.Open(l.Export)
}

// imports finds packages by the paths that one package has for them.
type imports struct {
	types.Importer
	renamed map[string]string
}

func (i *imports) Import(path string) (*types.Package, error) {
	if real, ok := i.renamed[path]; ok {
		path = real
	}
	return i.Importer.Import(path)
}

// named finds a type of the package by an expression for it.
func (p *program) named(expression string) (*types.Named, error) {
	found, err := types.Eval(p.files, p.pkg, token.NoPos, expression)
	if err == nil && found.IsType() {
		if named, ok := types.Unalias(found.Type).(*types.Named); ok {
			if named.TypeParams().Len() > named.TypeArgs().Len() {
				return nil, fmt.Errorf("%s is generic; name one of its instances, such as %s[string]", expression, expression)
			}
			return named, nil
		}
	}
	var problem types.Error
	if errors.As(err, &problem) && !strings.HasPrefix(problem.Msg, "undefined: ") {
		return nil, fmt.Errorf("%s: %s", expression, problem.Msg)
	}
	return nil, fmt.Errorf("package %s has no type %s", p.pkg.Path(), expression)
}

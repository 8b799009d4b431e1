package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is what the test reads of go list's description of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Module     *struct {
		Path string
		Main bool
	}
}

// TestArrows fails when a package reaches what its rule bars, saying why and through which imports.
func TestArrows(t *testing.T) {
	packages := list(t)
	module := mainModule(t, packages)

	for path, p := range packages {
		if p.Module == nil || !p.Module.Main {
			continue
		}
		own := strings.TrimPrefix(path, module+"/")
		r, ok := rules[own]
		if !ok {
			t.Errorf("%s has no rule: add a row to rules_test.go that says what it is for and what it may reach", own)
			continue
		}
		for _, broken := range check(packages, module, path, r) {
			t.Errorf("%s must not reach %s: %s\n\tthrough %s", own, broken.target, broken.reason, broken.chain)
		}
	}
	for own := range rules {
		if packages[module+"/"+own] == nil {
			t.Errorf("rules_test.go has a row for %s, but there is no such package: remove or correct the row", own)
		}
	}
}

// list describes the module's packages and all that they reach, by import path.
func list(t *testing.T) map[string]*listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Module", "../../...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	packages := make(map[string]*listed)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("reading the output of %v: %v", cmd, err)
		}
		packages[p.ImportPath] = &p
	}
}

func mainModule(t *testing.T, packages map[string]*listed) string {
	t.Helper()
	for _, p := range packages {
		if p.Module != nil && p.Module.Main {
			return p.Module.Path
		}
	}
	t.Fatal("go list named no package of this module")
	return ""
}

// A violation is one arrow that must not be.
type violation struct{ target, reason, chain string }

// check walks from a package through its imports, breadth first so that the chain shown is a shortest one. It does not
// look behind what is barred already.
func check(packages map[string]*listed, module, from string, r rule) []violation {
	var found []violation
	parent := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		p := packages[queue[0]]
		if p == nil { // "C" and "unsafe" are imports without a package of their own in the list
			continue
		}
		for _, next := range p.Imports {
			if _, seen := parent[next]; seen {
				continue
			}
			parent[next] = p.ImportPath
			if reason := r.bars(module, next); reason != "" {
				found = append(found, violation{strings.TrimPrefix(next, module+"/"), reason, chain(parent, module, next)})
				continue
			}
			queue = append(queue, next)
		}
	}
	return found
}

// bars returns the reason why the package must not be reached, or "".
func (r rule) bars(module, path string) string {
	for barred, reason := range r.never {
		if path == barred || strings.HasPrefix(path, barred+"/") {
			return reason
		}
	}
	if own, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(r.may, own) {
		return r.why
	}
	return ""
}

func chain(parent map[string]string, module, to string) string {
	var steps []string
	for at := to; at != ""; at = parent[at] {
		steps = append(steps, strings.TrimPrefix(at, module+"/"))
	}
	slices.Reverse(steps)
	return strings.Join(steps, " → ")
}

// TestCheck proves on a small graph that a broken arrow is found, however long the way.
func TestCheck(t *testing.T) {
	packages := map[string]*listed{
		"m/a":      {ImportPath: "m/a", Imports: []string{"m/b", "net/url"}},
		"m/b":      {ImportPath: "m/b", Imports: []string{"m/c", "net/http"}},
		"m/c":      {ImportPath: "m/c", Imports: []string{"m/a"}},
		"net/url":  {ImportPath: "net/url"},
		"net/http": {ImportPath: "net/http"},
	}
	r := rule{why: "own reason", may: []string{"a", "b"}, never: map[string]string{"net/http": "no network"}}

	got := check(packages, "m", "m/a", r)
	want := []violation{
		{target: "c", reason: "own reason", chain: "a → b → c"},
		{target: "net/http", reason: "no network", chain: "a → b → net/http"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("check found %q, want %q", got, want)
	}
}

package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads the file. Its top level is a mapping from names to plain values, or to sequences of them for lists.
func (t *Table) parseYAML(file, where string) ([]given, Problems) {
	fail := func(text string) ([]given, Problems) { return nil, Problems{{where, text}} }
	read := t.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	content, err := read(file)
	if err != nil {
		return fail(err.Error())
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // nothing but comments
	case err != nil:
		return fail(file + " is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return fail(file + " holds more than one document; keep one, without \"---\" after it")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return fail(file + ` must hold settings, one on a line, such as "listen: :8080"`)
	}
	return t.parseMapping(file, root)
}

// parseMapping reads the keys of the file.
func (t *Table) parseMapping(file string, root *yaml.Node) ([]given, Problems) {
	var found []given
	var problems Problems
	seen := make(map[string]int)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		g := given{where: fmt.Sprintf("%s:%d: %s", file, key.Line, key.Value)}
		report := func(text string) { problems = append(problems, Problem{g.where, text}) }

		var known bool
		if g.setting, g.file, known = t.find(key.Value); !known {
			report(t.unknown("setting", "", key.Value, t.yamlNames()))
			continue
		}
		if g.setting.FlagOnly || g.setting.NotInFile {
			report("cannot stand in the file")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			report(fmt.Sprintf("stands on line %d already; remove one of them", line))
			continue
		}
		seen[key.Value] = key.Line

		text, problem := scalarText(value, g.setting, g.file)
		if problem != "" {
			report(problem)
			continue
		}
		g.text = text
		found = append(found, g)
	}
	return found, problems
}

// yamlNames is every key that may stand in the file.
func (t *Table) yamlNames() []string {
	var names []string
	for _, flag := range t.flagNames() {
		if s, _, _ := t.find(flag); !s.FlagOnly && !s.NotInFile {
			names = append(names, flag)
		}
	}
	return names
}

// scalarText is the value as it would stand on the command line, or what is wrong with it.
func scalarText(n *yaml.Node, s *Setting, file bool) (text, problem string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	_, isList := s.Value.(listValue)
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", `has no value; write "" if it is to be empty, else remove the line`
	case n.Kind == yaml.ScalarNode:
		return n.Value, ""
	case n.Kind == yaml.SequenceNode && isList && !file:
		var words []string
		for _, item := range n.Content {
			if item.Kind == yaml.AliasNode {
				item = item.Alias
			}
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" || strings.Contains(item.Value, ",") {
				return "", "must be a list of plain words"
			}
			words = append(words, item.Value)
		}
		return strings.Join(words, ","), ""
	case isList && !file:
		return "", "must be a list of plain words"
	}
	return "", "must be one plain value, not a list or a mapping"
}

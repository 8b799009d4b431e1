package settings

import (
	"strconv"
	"strings"
)

// parseFlags reads the command line: --name=value, --name value, --switch, --switch=false; one dash is enough.
// The flag package is not used because it stops at the first mistake, and a person with three wants to hear of three.
// Of a flag given twice the last one counts, as everywhere.
func (t *Table) parseFlags(args []string) ([]given, Problems) {
	var found []given
	var problems Problems
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, isFlag := strings.CutPrefix(arg, "-")
		if !isFlag || name == "" || name == "-" {
			problems = append(problems, Problem{quote(arg), "is not a flag, and nothing else is expected here"})
			continue
		}
		name = strings.TrimPrefix(name, "-")
		name, text, hasText := strings.Cut(name, "=")
		g := given{text: text, where: "--" + name}

		var known bool
		if g.setting, g.file, known = t.find(name); !known {
			problems = append(problems, Problem{g.where, t.unknown("flag", "--", name, t.flagNames())})
			if !hasText && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // most likely its value, which is no second mistake
			}
			continue
		}
		if !hasText {
			if g.setting.Value.Type() == "" && !g.file {
				g.text = "true"
			} else if i++; i < len(args) {
				g.text = args[i]
			} else {
				problems = append(problems, Problem{g.where, "needs a value: --" + name + "=" + strings.ToUpper(g.setting.Value.Type())})
				continue
			}
		}
		found = append(found, g)
	}
	return found, problems
}

// find looks a name up; file says that it is the NAME-file of the setting.
func (t *Table) find(name string) (s *Setting, file, ok bool) {
	base, hasSuffix := strings.CutSuffix(name, fileSuffix)
	for i := range t.Settings {
		s := &t.Settings[i]
		if s.Name == name {
			return s, false, true
		}
		if hasSuffix && s.Name == base && s.fromFile() {
			return s, true, true
		}
	}
	return nil, false, false
}

// flagNames is every name that find finds.
func (t *Table) flagNames() []string {
	names := make([]string, 0, len(t.Settings))
	for i := range t.Settings {
		names = append(names, t.Settings[i].Name)
		if t.Settings[i].fromFile() {
			names = append(names, t.Settings[i].Name+fileSuffix)
		}
	}
	return names
}

// unknown says that there is no such thing, and what was probably meant.
func (t *Table) unknown(what, before, name string, names []string) string {
	text := "there is no such " + what
	if near := closest(name, names); near != "" {
		return text + "; did you mean " + before + near + "?"
	}
	return text + "; " + t.Command + " --help lists them all"
}

// quote puts text in quotation marks, unless a mask has taken everything from it.
func quote(text string) string { return strconv.Quote(text) }

// trimNewline removes the end of the last line, which editors and "echo" put there.
func trimNewline(text string) string { return strings.TrimRight(text, "\r\n") }

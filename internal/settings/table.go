package settings

import (
	"log/slog"
	"os"
)

// Table is all the settings of one command. It is not safe for concurrent use.
type Table struct {
	// Command is the name of the program, for the help.
	Command string
	// About is a sentence or two at the top of the help.
	About string
	// Prefix begins the variables of this command: "HUBFLEET_". Variables without it are none of its business.
	Prefix string
	// Ignore are beginnings of variables that carry the prefix too, but belong to others.
	Ignore []string
	// Config is the setting that names the YAML file; empty for none.
	Config string
	// Settings are the rows.
	Settings []Setting

	// ReadFile reads the files that settings name. Nil means os.ReadFile.
	ReadFile func(name string) ([]byte, error)

	sources map[string]source // where each setting got its value; absent for defaults
}

// level is a place that settings come from. A higher one wins.
type level int

const (
	fromYAML level = iota + 1
	fromEnvironment
	fromFlag
)

// source is where the value in force came from.
type source struct {
	level level
	where string
}

// given is one setting as it stands in one place.
type given struct {
	setting *Setting
	text    string
	where   string // as in Problem.Where
	file    bool   // text is the name of a file that holds the value
}

// Load sets every Value: from args (without the name of the program), else from environ (as os.Environ gives it),
// else from the YAML file, else from the default. The error is a Problems; the values then mean nothing.
func (t *Table) Load(args, environ []string) error {
	t.sources = make(map[string]source)
	problems := t.setDefaults()

	flags, p := t.parseFlags(args)
	problems = append(problems, p...)
	vars, p := t.parseEnvironment(environ)
	problems = append(problems, p...)

	var keys []given
	if name, where := t.configFile(flags, vars); name != "" {
		keys, p = t.parseYAML(name, where)
	} else {
		p = nil
	}
	// The lowest place first, so that the highest has the last word; yet reported in the order people look.
	fileProblems := append(p, t.apply(fromYAML, keys, vars, flags)...)
	envProblems := t.apply(fromEnvironment, vars, flags)
	flagProblems := t.apply(fromFlag, flags)

	problems = append(problems, flagProblems...)
	problems = append(problems, envProblems...)
	problems = append(problems, fileProblems...)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// setDefaults gives every setting its default. A default that does not parse is a mistake in the table.
func (t *Table) setDefaults() Problems {
	var problems Problems
	for i := range t.Settings {
		s := &t.Settings[i]
		if s.Default == "" {
			continue
		}
		if err := s.Value.Set(s.Default); err != nil {
			problems = append(problems, Problem{"the default of " + s.Name, err.Error()})
		}
	}
	return problems
}

// configFile is the name of the YAML file and who named it.
func (t *Table) configFile(places ...[]given) (name, where string) {
	if t.Config == "" {
		return "", ""
	}
	for _, place := range places {
		for i := len(place) - 1; i >= 0; i-- {
			if g := place[i]; g.setting.Name == t.Config && !g.file {
				return g.text, g.where
			}
		}
	}
	return "", ""
}

// apply sets the values given in one place. Bad values are reported even when a higher place overrules them: they
// would come back to bite whoever removes the other. Files are read only when they count.
func (t *Table) apply(at level, place []given, higher ...[]given) Problems {
	var problems Problems
	direct := make(map[string]given)
	for _, g := range place {
		if other, ok := direct[g.setting.Name]; ok && other.file != g.file {
			problems = append(problems, Problem{g.where, "is given together with " + other.where + "; remove one of them"})
			continue
		}
		direct[g.setting.Name] = g
		if g.file && overruled(g.setting, higher) {
			continue
		}
		if text := t.set(g); text != "" {
			problems = append(problems, Problem{g.where, text})
			continue
		}
		t.sources[g.setting.Name] = source{at, g.where}
	}
	return problems
}

// overruled says whether a higher place gives the setting too.
func overruled(s *Setting, higher [][]given) bool {
	for _, place := range higher {
		for _, g := range place {
			if g.setting == s {
				return true
			}
		}
	}
	return false
}

// set parses one value; it returns what is wrong with it, or "".
func (t *Table) set(g given) string {
	s, text := g.setting, g.text
	if g.file {
		read := t.ReadFile
		if read == nil {
			read = os.ReadFile
		}
		content, err := read(g.text)
		if err != nil {
			return err.Error()
		}
		if text = trimNewline(string(content)); text == "" {
			return "the file " + g.text + " is empty"
		}
	}
	if s.Secret && text == "" {
		return "is empty; give it a value or leave it out"
	}
	err := s.Value.Set(text)
	switch {
	case err == nil:
		return ""
	case g.file || s.Secret:
		return err.Error()
	}
	return quote(s.masked(text)) + ": " + err.Error()
}

// Given says whether name has a value from somewhere else than its default.
func (t *Table) Given(name string) bool {
	_, ok := t.sources[name]
	return ok
}

// Problem is a Problem with the value in force of the named setting, for checks between settings.
func (t *Table) Problem(name, text string) Problem {
	if src, ok := t.sources[name]; ok {
		return Problem{src.where, text}
	}
	return Problem{"--" + name, text}
}

// LogValue is every setting in force but those that are only flags, secrets masked.
func (t *Table) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, len(t.Settings))
	for i := range t.Settings {
		s := &t.Settings[i]
		if s.FlagOnly {
			continue
		}
		text := s.masked(s.Value.String())
		if text == "" && s.DefaultText != "" {
			text = s.DefaultText
		}
		attrs = append(attrs, slog.String(s.Name, text))
	}
	return slog.GroupValue(attrs...)
}

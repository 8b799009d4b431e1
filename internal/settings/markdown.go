package settings

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes every setting with its flag, variable, key and default, a table for each group.
func (t *Table) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	group := ""
	for i := range t.Settings {
		s := &t.Settings[i]
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| Flag | Variable | Key | Default | Meaning |\n|---|---|---|---|---|\n", group)
		}
		b.WriteString(t.row(s))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is the line of the table for one setting.
func (t *Table) row(s *Setting) string {
	flag := "`--" + s.Name
	if typ := s.Value.Type(); strings.Contains(typ, "|") {
		flag += "=" + strings.ReplaceAll(typ, "|", `\|`)
	} else if typ != "" {
		flag += "=" + strings.ToUpper(typ)
	}
	cells := []string{flag + "`", "", "", "", plain(s.Usage)}
	if !s.FlagOnly {
		cells[1] = "`" + envName(t.Prefix, s.Name) + "`"
	}
	if !s.FlagOnly && !s.NotInFile {
		cells[2] = "`" + s.Name + "`"
	}
	if s.fromFile() {
		cells[0] += " †"
	}
	switch {
	case s.DefaultText != "":
		cells[3] = plain(s.DefaultText)
	case s.Default != "":
		cells[3] = "`" + s.Default + "`"
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// plain is text that Markdown shows as it is, in a table.
func plain(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`).Replace(text)
}

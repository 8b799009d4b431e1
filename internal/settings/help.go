package settings

import (
	"fmt"
	"io"
	"strings"
)

// helpWidth is where lines of the help are broken.
const helpWidth = 100

// WriteHelp prints what the command is and every setting with its default.
func (t *Table) WriteHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString(wrap(t.About, 0))
	fmt.Fprintf(&b, "\nUsage: %s [flags]\n", t.Command)
	group := ""
	for i := range t.Settings {
		s := &t.Settings[i]
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		b.WriteString(s.help())
	}
	b.WriteString("\n")
	b.WriteString(wrap(t.helpFooter(), 0))
	_, err := io.WriteString(w, b.String())
	return err
}

// help is the setting's entry: the flag on a line of its own, its meaning below.
func (s *Setting) help() string {
	head := "  --" + s.Name
	if typ := s.Value.Type(); typ != "" {
		head += "=" + strings.ToUpper(typ)
		if strings.Contains(typ, "|") {
			head = "  --" + s.Name + "=" + typ
		}
	}
	if s.fromFile() {
		head += "   (or --" + s.Name + fileSuffix + "=PATH)"
	}
	text := s.Usage + "."
	switch {
	case s.DefaultText != "":
		text += " (default: " + s.DefaultText + ")"
	case s.Default != "":
		text += " (default: " + s.Default + ")"
	}
	return head + "\n" + wrap(text, 8)
}

// helpFooter is the rules that hold for all settings.
func (t *Table) helpFooter() string {
	example := &t.Settings[0]
	for i := range t.Settings {
		if s := &t.Settings[i]; !s.FlagOnly && !s.NotInFile && strings.Contains(s.Name, "-") {
			example = s
			break
		}
	}
	text := fmt.Sprintf("Every setting is also a variable in the environment (--%s is %s)", example.Name, envName(t.Prefix, example.Name))
	if t.Config != "" {
		text += fmt.Sprintf(" and a key of the YAML file named by --%s (%s: …)", t.Config, example.Name)
		return text + ". A flag beats the environment, the environment beats the file."
	}
	return text + ". A flag beats the environment."
}

// wrap breaks text between words and indents every line.
func wrap(text string, indent int) string {
	var b strings.Builder
	margin := strings.Repeat(" ", indent)
	line := margin
	for word := range strings.FieldsSeq(text) {
		if len(line) > indent && len(line)+1+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line = margin
		}
		if len(line) > indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}

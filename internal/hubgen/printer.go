package hubgen

import (
	"bytes"
	"fmt"
	"strings"
)

// width is how long lines may become where they can be broken; that and the way of breaking are those of Prettier.
const width = 80

// printer writes lines.
type printer struct {
	out    *bytes.Buffer
	indent string
}

func (p *printer) indented() *printer { return &printer{p.out, p.indent + "  "} }

func (p *printer) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" {
		p.out.WriteString(p.indent + text)
	}
	p.out.WriteByte('\n')
}

// fits says whether a line is short enough.
func (p *printer) fits(text string) bool { return len([]rune(p.indent+text)) <= width }

// call writes a head, parameters and a tail, with each parameter on a line of its own where they do not fit on one.
func (p *printer) call(head string, params []string, tail string) {
	if text := head + "(" + strings.Join(params, ", ") + ")" + tail; p.fits(text) || len(params) == 0 {
		p.line("%s", text)
		return
	}
	p.line("%s(", head)
	for i, param := range params {
		comma := ","
		if i == len(params)-1 && strings.HasPrefix(param, "...") {
			comma = "" // none may follow a rest parameter
		}
		p.indented().line("%s%s", param, comma)
	}
	p.line(")%s", tail)
}

// arrow writes a function as a property of an object.
func (p *printer) arrow(head, body string) {
	if text := head + " => " + body + ","; p.fits(text) {
		p.line("%s", text)
		return
	}
	p.line("%s =>", head)
	p.indented().line("%s,", body)
}

// union declares a type with some values.
func (p *printer) union(name string, literals []string) {
	text := "export type " + name + " = " + strings.Join(literals, " | ") + ";"
	if p.fits(text) {
		p.line("%s", text)
		return
	}
	p.line("export type %s =", name)
	for i, literal := range literals {
		end := ""
		if i == len(literals)-1 {
			end = ";"
		}
		p.indented().line("| %s%s", literal, end)
	}
}

// doc writes the comment that the source has, and a note below it.
func (p *printer) doc(source, note string) {
	text := strings.TrimSpace(source)
	if note != "" {
		text = strings.TrimSpace(text + "\n\n" + note)
	}
	if text == "" {
		return
	}
	text = strings.ReplaceAll(text, "*/", "*\\/")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if reason, ok := strings.CutPrefix(line, "Deprecated: "); ok && (i == 0 || lines[i-1] == "") {
			lines[i] = "@deprecated " + reason
		}
	}
	if one := "/** " + lines[0] + " */"; len(lines) == 1 && p.fits(one) {
		p.line("%s", one)
		return
	}
	p.line("/**")
	for _, line := range lines {
		p.line("%s", strings.TrimRight(" * "+line, " \t"))
	}
	p.line(" */")
}

package protocol

import (
	"encoding/json"
	"unicode/utf8"
)

// maxDepth is how many objects and arrays may be open at once; System.Text.Json has the same limit.
const maxDepth = 64

// errJSON is for text that is not JSON at all, or nested too deeply.
var errJSON error = &Error{Text: "Error reading JSON."}

// scanner walks over JSON text and checks its grammar. It copies nothing. Its methods report false where the text is
// wrong; where the scanner then stands means nothing.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the byte there, which stays; zero at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

// more steps to the next member of the object or array that end closes: over the comma, or over end if there is none.
func (s *scanner) more(first bool, end byte) (more, ok bool) {
	c := s.peek()
	switch {
	case c == end && c != 0:
		s.pos++
		return false, true
	case first:
		return true, true
	case c == ',':
		s.pos++
		return true, true
	}
	return false, false
}

// key reads the name of an object's member and the colon behind it.
func (s *scanner) key() (name []byte, ok bool) {
	if s.peek() != '"' {
		return nil, false
	}
	name, escaped, ok := s.str()
	if !ok || s.peek() != ':' {
		return nil, false
	}
	s.pos++
	if escaped {
		name = []byte(unquote(name, true))
	}
	return name, true
}

// str reads a string, at whose opening quote the scanner stands, and returns what is between the quotes.
func (s *scanner) str() (raw []byte, escaped, ok bool) {
	start := s.pos + 1
	for i := start; i < len(s.data); {
		c := s.data[i]
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		if c == '"' {
			s.pos = i + 1
			return s.data[start:i], escaped, true
		}
		n := escapeLen(s.data[i:]) // zero for a control character as well
		if n == 0 {
			break
		}
		escaped = true
		i += n
	}
	return nil, false, false
}

// escapeLen is the length of the escape sequence that b begins with; zero if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 || b[0] != '\\' {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// value skips one value of any kind, inside depth open objects and arrays.
func (s *scanner) value(depth int) bool {
	switch s.peek() {
	case '{', '[':
		return s.container(depth)
	}
	return s.scalar()
}

func (s *scanner) container(depth int) bool {
	if depth == maxDepth {
		return false
	}
	object, end := s.data[s.pos] == '{', byte(']')
	if object {
		end = '}'
	}
	s.pos++
	for first := true; ; first = false {
		more, ok := s.more(first, end)
		if !ok || !more {
			return ok
		}
		if object {
			// Unlike key, this does not unquote: the name matters to nobody.
			if s.peek() != '"' {
				return false
			}
			if _, _, ok := s.str(); !ok || s.peek() != ':' {
				return false
			}
			s.pos++
		}
		if !s.value(depth + 1) {
			return false
		}
	}
}

// scalar skips a string, a number or a literal.
func (s *scanner) scalar() bool {
	switch c := s.peek(); {
	case c == '"':
		_, _, ok := s.str()
		return ok
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		_, ok := s.number()
		return ok
	}
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// number reads a number, at whose first byte the scanner stands.
func (s *scanner) number() (raw []byte, ok bool) {
	start := s.pos
	s.accept('-', '-')
	switch {
	case s.accept('0', '0'): // nothing may follow a leading zero
	case !s.digits():
		return nil, false
	}
	if s.accept('.', '.') && !s.digits() {
		return nil, false
	}
	if s.accept('e', 'E') {
		s.accept('+', '-')
		if !s.digits() {
			return nil, false
		}
	}
	return s.data[start:s.pos], s.pos == len(s.data) || endsNumber(s.data[s.pos])
}

// endsNumber keeps 42x from being the number 42 with something wrong behind it.
func endsNumber(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ']', '}':
		return true
	}
	return false
}

func (s *scanner) accept(a, b byte) bool {
	if s.pos < len(s.data) && (s.data[s.pos] == a || s.data[s.pos] == b) {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && isDigit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

// unquote returns the string whose JSON form, without the quotes, is raw. Half a surrogate pair becomes U+FFFD.
func unquote(raw []byte, escaped bool) string {
	if !escaped {
		return string(raw)
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "" // cannot be: the scanner has checked it
	}
	return s
}

// validJSON reports whether b is exactly one JSON value, white space around it allowed, within the depth limit when it
// stands inside depth others, and UTF-8 throughout.
func validJSON(b []byte, depth int) bool {
	s := scanner{data: b}
	if !s.value(depth) {
		return false
	}
	s.space()
	return s.pos == len(b) && utf8.Valid(b)
}

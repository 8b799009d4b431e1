package protocol

// object steps into the object that the whole text must be.
func (s *scanner) object() error {
	if c := s.peek(); c == '{' {
		s.pos++
		return nil
	}
	kind := s.kind()
	if kind == "" {
		return errJSON
	}
	return &Error{Text: "Unexpected JSON Token Type '" + kind + "'. Expected a JSON Object."}
}

// kind reads the next token, of an object or array only the opening, and returns what .NET calls its kind; empty if it
// is no token.
func (s *scanner) kind() string {
	c := s.peek()
	switch c {
	case '{':
		return "Object"
	case '[':
		return "Array"
	}
	if !s.scalar() {
		return ""
	}
	switch c {
	case '"':
		return "String"
	case 't':
		return "True"
	case 'f':
		return "False"
	case 'n':
		return "Null"
	}
	return "Number"
}

// encoded reads any value and returns it as it stands. The message itself is one level deep.
func (s *scanner) encoded() ([]byte, error) {
	s.space()
	start := s.pos
	if !s.value(1) {
		return nil, errJSON
	}
	return s.data[start:s.pos:s.pos], nil
}

func (s *scanner) text(name string) (string, error) {
	if s.peek() != '"' {
		return "", s.mismatch(name, "String")
	}
	raw, escaped, ok := s.str()
	if !ok {
		return "", errJSON
	}
	return unquote(raw, escaped), nil
}

func (s *scanner) boolean(name string) (bool, error) {
	switch s.kind() {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "":
		return false, errJSON
	}
	return false, &Error{Text: "Expected '" + name + "' to be true or false."}
}

// integer reads an integer between low and high. A null is well, and no integer.
func (s *scanner) integer(name string, low, high int64, dotnet string) (n int64, present bool, err error) {
	s.space()
	start := s.pos
	switch s.kind() {
	case "":
		return 0, false, errJSON
	case "Null":
		return 0, false, nil
	case "Number":
	default:
		return 0, false, wrongType(name, "Number")
	}
	n, ok := parseInteger(s.data[start:s.pos])
	if !ok || n < low || n > high {
		return 0, false, &Error{Text: "Either the JSON value is not in a supported format, or is out of bounds for an " + dotnet + "."}
	}
	return n, true, nil
}

// mismatch is the error for the value here, which is not of the kind wanted; or that it is not JSON.
func (s *scanner) mismatch(name, want string) error {
	if s.kind() == "" {
		return errJSON
	}
	return wrongType(name, want)
}

func wrongType(name, want string) error {
	return &Error{Text: "Expected '" + name + "' to be of type " + want + "."}
}

func missing(name string) error {
	return &Error{Text: "Missing required property '" + name + "'."}
}

package settings

import "strings"

// Setting is one row of the table.
type Setting struct {
	// Name is the flag without its dashes, and the key in the YAML file. Lower case, words joined by "-".
	Name string
	// Value parses the text and keeps the result. Required.
	Value Value
	// Default is parsed when nothing else sets the value; empty leaves the Value as it is.
	Default string
	// DefaultText is what the help says of a default that is worked out later ("host name + random").
	DefaultText string
	// Usage says what the setting is for, in a sentence or two without the final full stop.
	Usage string
	// Group is the heading under which the help shows it. Settings of one group stand together in the table.
	Group string

	// Secret values are never printed, must not be empty when given, and can be read from a file.
	Secret bool
	// File allows NAME-file as well, for a setting that is no secret as a whole but may contain one.
	File bool
	// Mask makes a value fit for printing. Nil prints it as it is, or not at all if it is Secret.
	Mask func(string) string

	// FlagOnly settings have neither a variable nor a key in the file.
	FlagOnly bool
	// NotInFile settings have no key in the file, such as the name of the file itself.
	NotInFile bool
}

// fromFile says whether NAME-file exists.
func (s *Setting) fromFile() bool { return s.Secret || s.File }

// masked is text as it may be printed; what says whether there is anything to print.
func (s *Setting) masked(text string) string {
	switch {
	case text == "":
		return ""
	case s.Secret:
		return mask
	case s.Mask != nil:
		return s.Mask(text)
	}
	return text
}

// mask stands for a secret, whatever its length.
const mask = "********"

// fileSuffix makes the name of the setting that names a file to read the value from.
const fileSuffix = "-file"

// envName is the variable of a flag.
func envName(prefix, name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

package settings

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value parses the text of one setting and keeps the result. It is a flag.Value with a word for the help.
type Value interface {
	// Set replaces what the value holds. Its error says what would be right, and does not repeat the text.
	Set(text string) error
	// String is the value as text that Set takes.
	String() string
	// Type is one word for the help; empty for a switch, which needs no value on the command line.
	Type() string
}

// String is a Value that takes any text.
func String(p *string) Value { return StringFunc(p, "string", nil) }

// StringFunc is a Value that takes the text that check accepts. typ is the word for the help.
func StringFunc(p *string, typ string, check func(string) error) Value {
	return stringValue{p, typ, check}
}

type stringValue struct {
	p     *string
	typ   string
	check func(string) error
}

func (v stringValue) Set(text string) error {
	if v.check != nil {
		if err := v.check(text); err != nil {
			return err
		}
	}
	*v.p = text
	return nil
}
func (v stringValue) String() string { return *v.p }
func (v stringValue) Type() string   { return v.typ }

// Bytes is a Value that keeps any text as bytes, of which there must be at least least.
func Bytes(p *[]byte, least int) Value { return bytesValue{p, least} }

type bytesValue struct {
	p     *[]byte
	least int
}

func (v bytesValue) Set(text string) error {
	if len(text) < v.least {
		return fmt.Errorf("has %d bytes; at least %d are needed (openssl rand -base64 %d makes one)", len(text), v.least, v.least+v.least/2)
	}
	*v.p = []byte(text)
	return nil
}
func (v bytesValue) String() string { return string(*v.p) }
func (v bytesValue) Type() string   { return "secret" }

// OneOf is a Value that takes one of a few words.
func OneOf(p *string, words ...string) Value {
	return StringFunc(p, strings.Join(words, "|"), func(text string) error {
		if slices.Contains(words, text) {
			return nil
		}
		return fmt.Errorf("use one of: %s", strings.Join(words, ", "))
	})
}

// Bool is a Value that is on or off.
func Bool(p *bool) Value { return boolValue{p} }

type boolValue struct{ p *bool }

func (v boolValue) Set(text string) error {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1":
		*v.p = true
	case "false", "off", "no", "0":
		*v.p = false
	default:
		return errors.New("use true or false")
	}
	return nil
}
func (v boolValue) String() string { return strconv.FormatBool(*v.p) }
func (v boolValue) Type() string   { return "" }

// Int is a Value that takes a whole number from least to most.
func Int(p *int, least, most int) Value { return intValue{p, least, most} }

type intValue struct {
	p           *int
	least, most int
}

func (v intValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < v.least || n > v.most {
		return fmt.Errorf("use a whole number from %d to %d", v.least, v.most)
	}
	*v.p = n
	return nil
}
func (v intValue) String() string { return strconv.Itoa(*v.p) }
func (v intValue) Type() string   { return "number" }

// Duration is a Value that takes a positive length of time such as "1m30s".
func Duration(p *time.Duration) Value { return durationValue{p, false} }

// DurationOrZero is Duration, but for 0, which it accepts.
func DurationOrZero(p *time.Duration) Value { return durationValue{p, true} }

type durationValue struct {
	p    *time.Duration
	zero bool // is a value
}

func (v durationValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New(`use a number and a unit, such as "15s", "500ms" or "1m30s"`)
	}
	switch {
	case d < 0 && v.zero:
		return errors.New(`use zero or more, such as "15s"`)
	case d <= 0 && !v.zero:
		return errors.New(`use more than zero, such as "15s"`)
	}
	*v.p = d
	return nil
}
func (v durationValue) String() string { return v.p.String() }
func (v durationValue) Type() string   { return "duration" }

// Size is a Value that takes a number of bytes, with or without KiB, MiB or GiB; "none" is -1.
func Size(p *int64) Value { return sizeValue{p} }

type sizeValue struct{ p *int64 }

// sizeUnits are tried in this order: "B" is the end of the others.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}

func (v sizeValue) Set(text string) error {
	if text == "none" {
		*v.p = -1
		return nil
	}
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return errors.New(`use a positive number of bytes such as "32768" or "64KiB", or "none" for no limit`)
	}
	*v.p = n * unit
	return nil
}

func (v sizeValue) String() string {
	if *v.p < 0 {
		return "none"
	}
	return strconv.FormatInt(*v.p, 10)
}
func (v sizeValue) Type() string { return "bytes" }

// List is a Value that takes words separated by commas, or a sequence in YAML. check, if not nil, looks at each.
func List(p *[]string, check func(string) error) Value { return listValue{p, check} }

type listValue struct {
	p     *[]string
	check func(string) error
}

func (v listValue) Set(text string) error {
	var words []string
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		if v.check != nil {
			if err := v.check(word); err != nil {
				return fmt.Errorf("%q: %w", word, err)
			}
		}
		words = append(words, word)
	}
	*v.p = words
	return nil
}
func (v listValue) String() string { return strings.Join(*v.p, ",") }
func (v listValue) Type() string   { return "list" }

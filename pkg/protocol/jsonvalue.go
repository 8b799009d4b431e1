package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendValue has short ways for what hubs send most; they write what encoding/json writes, without its allocations.
func (jsonCodec) AppendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return appendJSONString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int8:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int16:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int32:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint8:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint16:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case float32:
		return appendFloat(dst, float64(v), 32)
	case float64:
		return appendFloat(dst, v, 64)
	case Raw:
		return v.appendJSON(dst, 2)
	case json.RawMessage:
		return appendRaw(dst, v, 2)
	}
	return appendAny(dst, v)
}

// appendRaw carries a value over unchanged, into depth others. It is checked first: one that is no JSON would cost every
// client that it reaches its connection.
func appendRaw(dst, value []byte, depth int) ([]byte, error) {
	if len(value) == 0 {
		return append(dst, "null"...), nil
	}
	if !validJSON(value, depth) {
		return dst, fmt.Errorf("protocol: a raw value is not valid JSON: it must be exactly one UTF-8 encoded value, at most %d levels deep", maxDepth-depth)
	}
	return append(dst, value...), nil
}

// appendFloat writes the shortest form that reads back as f, with an exponent where ECMAScript has one.
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("protocol: JSON has no number for %v: send null or a string instead", f)
	}
	format, abs := byte('f'), math.Abs(f)
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) ||
		bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 becomes e-9
		dst = dst[:n-1]
	}
	return dst, nil
}

// appender lets a json.Encoder write behind a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func appendAny(dst []byte, v any) ([]byte, error) {
	out := appender{b: dst}
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, fmt.Errorf("protocol: cannot write %T as JSON: %w", v, err)
	}
	return out.b[:len(out.b)-1], nil // Encode ends with a line feed
}

// Unmarshal has short ways for what hub methods take most.
func (jsonCodec) Unmarshal(value []byte, ptr any) error {
	done := false
	switch p := ptr.(type) {
	case *string:
		done = plainString(value, p)
	case *bool:
		if done = string(value) == "true" || string(value) == "false"; done {
			*p = value[0] == 't'
		}
	case *int:
		done = integerInto(value, p)
	case *int8:
		done = integerInto(value, p)
	case *int16:
		done = integerInto(value, p)
	case *int32:
		done = integerInto(value, p)
	case *int64:
		done = integerInto(value, p)
	case *uint:
		done = integerInto(value, p)
	case *uint8:
		done = integerInto(value, p)
	case *uint16:
		done = integerInto(value, p)
	case *uint32:
		done = integerInto(value, p)
	case *float64:
		done = floatInto(value, p)
	case *Raw:
		if done = validJSON(value, 0); done {
			*p = Raw{Codec: jsonName, Data: bytes.Clone(value)}
		}
	case *json.RawMessage:
		if done = validJSON(value, 0); done {
			*p = bytes.Clone(value)
		}
	}
	if done {
		return nil
	}
	return unmarshalAny(value, ptr)
}

// plainString is for strings without escapes; it reports false for all else, right or wrong.
func plainString(value []byte, p *string) bool {
	if len(value) < 2 || value[0] != '"' {
		return false
	}
	s := scanner{data: value}
	raw, escaped, ok := s.str()
	if !ok || escaped || s.pos != len(value) || !utf8.Valid(raw) {
		return false
	}
	*p = string(raw)
	return true
}

// integer has all integers but uint64, whose upper half parseInteger does not know.
type integer interface {
	int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32
}

func integerInto[T integer](value []byte, p *T) bool {
	n, ok := parseInteger(value)
	if !ok {
		return false
	}
	if t := T(n); int64(t) == n && (t < 0) == (n < 0) {
		*p = t
		return true
	}
	return false
}

// parseInteger reads an integer as JSON has it: no plus sign, no leading zeros, no exponent.
func parseInteger(b []byte) (int64, bool) {
	s := scanner{data: b}
	raw, ok := s.number()
	if !ok || s.pos != len(b) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

func floatInto(b []byte, p *float64) bool {
	s := scanner{data: b}
	raw, ok := s.number()
	if !ok || s.pos != len(b) {
		return false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return false
	}
	*p = f
	return true
}

func unmarshalAny(value []byte, ptr any) error {
	switch s := (scanner{data: value}); s.kind() {
	case "Null":
		if done, err := unmarshalNull(value, ptr); done {
			return err
		}
	case "Number":
		value = integral(value, ptr)
	}
	if err := json.Unmarshal(value, ptr); err != nil {
		return unconvertible(ptr, err.Error())
	}
	return nil
}

// integral writes a number such as 2.0 or 2e3 the way encoding/json wants it if ptr points to an integer: the client's
// language may have no integers. Beyond 2^53 a float64 does not know which integer it is, so those stay as they are.
func integral(value []byte, ptr any) []byte {
	if t := reflect.TypeOf(ptr); t == nil || t.Kind() != reflect.Pointer || !isInteger(t.Elem().Kind()) {
		return value
	}
	var f float64
	if !bytes.ContainsAny(value, ".eE") || !floatInto(value, &f) || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return value
	}
	return strconv.AppendInt(nil, int64(f), 10)
}

func isInteger(k reflect.Kind) bool { return reflect.Int <= k && k <= reflect.Uint64 }

// unmarshalNull binds null as System.Text.Json does: encoding/json would leave a number at zero and say nothing. Types
// that read JSON themselves decide for themselves, so done is false for them.
func unmarshalNull(value []byte, ptr any) (done bool, err error) {
	p := reflect.ValueOf(ptr)
	if p.Kind() != reflect.Pointer || p.IsNil() || !validJSON(value, 0) {
		return false, nil // encoding/json says what is wrong
	}
	_, isTime := ptr.(*time.Time) // its UnmarshalJSON takes null and does nothing
	if _, ok := ptr.(json.Unmarshaler); ok && !isTime {
		return false, nil
	}
	switch v := p.Elem(); v.Kind() {
	case reflect.String, reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		v.SetZero()
		return true, nil
	}
	return true, unconvertible(ptr, "it is null")
}

func unconvertible(ptr any, why string) error {
	name := fmt.Sprintf("%T", ptr)
	return &Error{Text: "The JSON value could not be converted to " + strings.TrimPrefix(name, "*") + ": " + why + "."}
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// Between the tests and this program values go as JSON, in which {"$bytes": BASE64} stands for binary, and {"$date": MILLISECONDS}
// for a moment.

// untag reads a value that may have such parts.
func untag(data []byte) (any, error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return walk(v, func(m map[string]any) (any, error) {
		if text, ok := m["$bytes"].(string); ok {
			return base64.StdEncoding.DecodeString(text)
		}
		if ms, ok := m["$date"].(float64); ok {
			return time.UnixMilli(int64(ms)), nil
		}
		return nil, errNoTag
	})
}

var errNoTag = errors.New("an object without a tag")

// walk replaces the objects in v that replace does not refuse with errNoTag.
func walk(v any, replace func(map[string]any) (any, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = walk(v[i], replace); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if other, err := replace(v); err != errNoTag {
			return other, err
		}
		for k := range v {
			if v[k], err = walk(v[k], replace); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// tag makes v one that JSON can carry.
func tag(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{"$bytes": base64.StdEncoding.EncodeToString(v)}
	case time.Time:
		return map[string]any{"$date": v.UnixMilli()}
	case []any:
		for i := range v {
			v[i] = tag(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = tag(v[k])
		}
	}
	return v
}

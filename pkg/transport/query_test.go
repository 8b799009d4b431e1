package transport

import (
	"net/url"
	"strings"
	"testing"
)

func TestQueryValue(t *testing.T) {
	for _, tt := range []struct {
		query, value string
		found        bool
	}{
		{"", "", false},
		{"ids=1&i=2&=3", "", false},
		{"a=1&id=x&b=2", "x", true},
		{"ID=x", "x", true},
		{"%69d=%78+y", "x y", true},
		{"id", "", true},
		{"id=%zz", "%zz", true},
		{"%zz=1&id=x", "x", true},
		{"id=x&Id=y", "x,y", true},
	} {
		if value, found := queryValue(tt.query, "id"); value != tt.value || found != tt.found {
			t.Errorf("%q: %q, %v", tt.query, value, found)
		}
	}
}

// A request line may have a megabyte. Joining a parameter with itself as often as that allows would copy gigabytes.
func TestQueryValueOfManyIsShort(t *testing.T) {
	value, found := queryValue(strings.Repeat("id&", 300_000), "id")
	if !found || len(value) > 10 {
		t.Errorf("%d bytes, %v", len(value), found)
	}
}

// FuzzQueryValue holds that a parameter is found as net/url finds it, where that reads the query at all.
func FuzzQueryValue(f *testing.F) {
	for _, seed := range []string{"id=x", "ID=%78&a", "id=1&id=2", "%69d=+", "id=a;b", "&&=&id"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		value, found := queryValue(query, "id")
		if !found && value != "" || len(value) > len(query) {
			t.Fatalf("%q: %q, %v", query, value, found)
		}
		parsed, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		var all []string
		for name, values := range parsed {
			if strings.EqualFold(name, "id") {
				all = append(all, values...)
			}
		}
		if found != (len(all) > 0) || len(all) == 1 && value != all[0] {
			t.Fatalf("%q: %q, %v, net/url: %q", query, value, found, all)
		}
	})
}

package transport

import (
	"net/url"
	"strings"
)

// queryValue finds a query parameter by its name in any case, as ASP.NET Core does. A repeated one is joined to the first by a comma,
// so that it is as invalid as it is there. It is not looked for any further: joining all of them would copy gigabytes
// for a query of a megabyte.
func queryValue(rawQuery, name string) (value string, found bool) {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(k); err != nil || !strings.EqualFold(k, name) {
			continue
		}
		if unescaped, err := url.QueryUnescape(v); err == nil {
			v = unescaped
		}
		if found {
			return value + "," + v, true
		}
		value, found = v, true
	}
	return value, found
}

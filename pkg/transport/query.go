package transport

import (
	"net/url"
	"strings"
)

// queryValue finds a query parameter by its name in any case, as ASP.NET Core does. Repeated ones are joined by commas,
// so that they are as invalid as they are there.
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
			v = value + "," + v
		}
		value, found = v, true
	}
	return value, found
}

// Package redisurl reads the URL that says where Redis is.
package redisurl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Parse reads a URL of one Redis server:
//
//	redis://[user[:password]@]host[:port][/database]    plain
//	rediss://…                                          with TLS; ?skip_verify=true accepts any certificate
//	unix://[user[:password]@]/path/to/socket[?db=N]     a socket on this host
//
// The port defaults to 6379. The query parameters of go-redis (dial_timeout, read_timeout, …) are accepted, unknown ones are
// not. Errors say what to change and never repeat the user name or the password.
func Parse(raw string) (*redis.Options, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	authority, path := split(rest)
	switch {
	case raw == "":
		return nil, errors.New("the Redis URL is empty; write redis://host:6379")
	case !found:
		return nil, errors.New("the Redis URL has no scheme; write redis://host:6379, or rediss:// for TLS")
	case strings.Contains(authority[strings.LastIndex(authority, "@")+1:], ","):
		return nil, errors.New("several Redis addresses (Redis Cluster) are not supported; give the URL of one server, redis://host:6379")
	case scheme == "redis+sentinel" || scheme == "rediss+sentinel":
		return nil, errors.New("the Redis URL is one of Redis Sentinel, which is not supported; give the URL of one server, redis://host:6379")
	case scheme != "redis" && scheme != "rediss" && scheme != "unix":
		return nil, errors.New("the Redis URL has an unknown scheme; use redis://, rediss:// (TLS) or unix:// (socket)")
	}
	u, err := url.Parse(raw)
	if err != nil || strings.Contains(path, "@") || u.Fragment != "" {
		// The error of url.Parse repeats the URL, and parts of a password that was cut at the wrong place.
		return nil, errors.New("the Redis URL cannot be read; in user name and password, characters such as / @ : # ? % must be percent-encoded (/ is %2F)")
	}
	opt, err := redis.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("the Redis URL %s: %s", Redact(raw), strings.TrimPrefix(err.Error(), "redis: "))
	}
	if opt.DB < 0 {
		return nil, fmt.Errorf("the Redis URL %s: the database number is negative", Redact(raw))
	}
	return opt, nil
}

// split parts the authority (user, password, host and port) from what follows it.
func split(rest string) (authority, path string) {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		return rest[:end], rest[end:]
	}
	return rest, ""
}

// Redact gives the URL without user name, password and query, for logs and errors.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	_, rest, found := strings.Cut(raw, "://")
	// An @ behind the authority can mean that a password with a slash was taken for a host.
	if _, path := split(rest); err != nil || !found || strings.Contains(path, "@") {
		return "(unreadable Redis URL)"
	}
	if u.User != nil {
		u.User = url.User("xxxxx")
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}

package redisurl

import (
	"errors"
	"net/url"
	"strings"
)

// errUnreadable repeats nothing of the URL: it may be parts of a password that was cut at the wrong place.
var errUnreadable = errors.New("the Redis URL cannot be read; in user name and password, characters such as / @ : # ? % must be percent-encoded (/ is %2F)")

// pieces are what a URL consists of.
type pieces struct {
	scheme string
	kind   Kind
	hosts  []string // host or host:port, one or more; for a socket, one that is empty
	url    *url.URL // with the first of the hosts
}

// cut takes a URL apart. Its errors repeat nothing of it.
func cut(raw string) (*pieces, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	switch {
	case raw == "":
		return nil, errors.New("the Redis URL is empty; write redis://host:6379")
	case !found:
		return nil, errors.New("the Redis URL has no scheme; write redis://host:6379, or rediss:// for TLS")
	}
	p := &pieces{scheme: scheme}
	switch scheme {
	case "redis", "rediss", "unix":
	case "redis+sentinel", "rediss+sentinel":
		p.kind = Sentinel
	default:
		return nil, errors.New("the Redis URL has an unknown scheme; use redis://, rediss:// (TLS), unix:// (socket) or redis+sentinel://")
	}
	if strings.Contains(rest, "://") {
		return nil, errors.New("the Redis URL has a scheme in the middle; several addresses share one: redis://host1:6379,host2:6379")
	}
	authority, path := split(rest)
	if strings.Contains(path, "@") {
		return nil, errUnreadable
	}
	user := ""
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	p.hosts = strings.Split(authority, ",")
	if len(p.hosts) > 1 && p.kind == Standalone {
		p.kind = Cluster
	}
	if p.kind == Cluster && scheme == "unix" {
		return nil, errors.New("the Redis URL has several sockets; give one, or addresses of a cluster with redis://")
	}
	for _, host := range p.hosts {
		u, err := url.Parse(scheme + "://" + user + host + path)
		if err != nil || u.Fragment != "" {
			return nil, errUnreadable
		}
		if u.Hostname() == "" && p.kind != Standalone {
			return nil, errors.New("the Redis URL has an empty address; separate addresses by single commas: host1:6379,host2:6379")
		}
		if p.url == nil {
			p.url = u
		}
	}
	return p, nil
}

// split parts the authority (user, password and hosts) from what follows it.
func split(rest string) (authority, path string) {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		return rest[:end], rest[end:]
	}
	return rest, ""
}

// Redact gives the URL without user name, password and query, for logs and errors.
func Redact(raw string) string {
	p, err := cut(raw)
	if err != nil {
		return "(unreadable Redis URL)"
	}
	user := ""
	if p.url.User != nil {
		user = "xxxxx@"
	}
	return p.scheme + "://" + user + strings.Join(p.hosts, ",") + p.url.EscapedPath()
}

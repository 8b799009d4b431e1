// Package rediscontainer holds the Redis backplane to its contract against a Redis in a container, for machines that have a
// Docker engine but no redis-server. It is a module of its own, so that users of the library do not inherit what it needs.
//
// Run it with: cd internal/rediscontainer && go test ./...
package rediscontainer

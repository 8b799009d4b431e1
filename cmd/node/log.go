package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// newLogger writes to w in one of the two formats.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // the setting takes only what this takes
	options := &slog.HandlerOptions{Level: l}
	if format == formatJSON {
		options.ReplaceAttr = readableDuration
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// readableDuration writes durations as they are written everywhere else, "1.5s", where JSON would have nanoseconds.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// redisLogger takes what the Redis client says into our log. By default it writes lines of its own to standard error, one for
// each failed attempt to connect; the parts that use it report the same once, when it begins and when it ends.
type redisLogger struct{ log *slog.Logger }

// Printf makes redisLogger a logger of go-redis.
func (r redisLogger) Printf(ctx context.Context, format string, v ...any) {
	if r.log.Enabled(ctx, slog.LevelDebug) {
		r.log.DebugContext(ctx, "redis client", "text", fmt.Sprintf(format, v...))
	}
}

// isTerminal says whether a person is likely to read what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

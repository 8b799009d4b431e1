package settings_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/internal/settings"
)

// sample is a table with a setting of every kind, and where its values go.
type sample struct {
	settings.Table
	Config    string
	Listen    string
	Redis     string
	Secret    []byte
	KeepAlive time.Duration
	Size      int64
	Origins   []string
	Level     string
	Debug     bool
	Version   bool
}

func newSample(files map[string]string) *sample {
	s := new(sample)
	s.Table = settings.Table{
		Command: "node",
		About:   "A sample.",
		Prefix:  "APP_",
		Ignore:  []string{"APP_TEST_"},
		Config:  "config",
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Settings: []settings.Setting{
			{Name: "listen", Value: settings.String(&s.Listen), Default: ":8080", Usage: "where to listen", Group: "Network"},
			{Name: "redis", Value: settings.StringFunc(&s.Redis, "url", checkURL), File: true, Mask: maskURL, Usage: "where Redis is", Group: "Network"},
			{Name: "secret", Value: settings.Bytes(&s.Secret, 8), Secret: true, DefaultText: "none", Usage: "signs things", Group: "Security"},
			{Name: "keep-alive", Value: settings.Duration(&s.KeepAlive), Default: "15s", Usage: "between pings", Group: "Limits"},
			{Name: "max-size", Value: settings.Size(&s.Size), Default: "32KiB", Usage: "of a message", Group: "Limits"},
			{Name: "origins", Value: settings.List(&s.Origins, nil), Usage: "who may connect", Group: "Security"},
			{Name: "log-level", Value: settings.OneOf(&s.Level, "debug", "info"), Default: "info", Usage: "what to log", Group: "Other"},
			{Name: "debug", Value: settings.Bool(&s.Debug), Usage: "more of it", Group: "Other"},
			{Name: "config", Value: settings.String(&s.Config), NotInFile: true, Usage: "the YAML file", Group: "Other"},
			{Name: "version", Value: settings.Bool(&s.Version), FlagOnly: true, Usage: "print the version", Group: "Other"},
		},
	}
	return s
}

func checkURL(text string) error {
	if text != "" && !strings.HasPrefix(text, "redis://") {
		return errors.New("use redis://host:6379")
	}
	return nil
}

func maskURL(text string) string {
	if _, host, ok := strings.Cut(text, "@"); ok {
		return "redis://xxxxx@" + host
	}
	return text
}

func TestPrecedence(t *testing.T) {
	s := newSample(map[string]string{
		"node.yaml":  "listen: :1\nkeep-alive: 1s\nmax-size: 1MiB\norigins: [a, b]\nredis-file: absent.txt\nlog-level: debug # chatty\n",
		"secret.txt": "sixteen letters!\n",
	})
	err := s.Load(
		[]string{"--listen=:3", "-debug", "--redis", "redis://h:1"},
		[]string{"PATH=/bin", "APP_LISTEN=:2", "APP_KEEP_ALIVE=2s", "APP_CONFIG=node.yaml", "APP_TEST_X=1", "APP_SECRET_FILE=secret.txt"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.Listen, s.KeepAlive, s.Size, s.Origins, s.Redis, string(s.Secret), s.Level, s.Debug, s.Version)
	want := fmt.Sprint(":3", 2*time.Second, 1<<20, []string{"a", "b"}, "redis://h:1", "sixteen letters!", "debug", true, false)
	if got != want {
		t.Errorf("values %s\nwant   %s", got, want)
	}
	for name, want := range map[string]bool{"listen": true, "max-size": true, "secret": true, "version": false} {
		if s.Given(name) != want {
			t.Errorf("Given(%q) = %v", name, !want)
		}
	}
}

func TestDefaults(t *testing.T) {
	s := newSample(nil)
	if err := s.Load(nil, nil); err != nil {
		t.Fatal(err)
	}
	if s.Listen != ":8080" || s.KeepAlive != 15*time.Second || s.Size != 32768 || s.Level != "info" || s.Secret != nil {
		t.Errorf("defaults: %+v", s)
	}
}

func TestProblems(t *testing.T) {
	type env = []string
	type args = []string
	type files = map[string]string
	tests := []struct {
		name  string
		args  args
		env   env
		files files
		want  []string
	}{
		{"unknown flag", args{"--lisen=:1"}, nil, nil, []string{"--lisen: there is no such flag; did you mean --listen?"}},
		{"unknown flag and its value", args{"--frobnicate", "7", "--debug"}, nil, nil, []string{"--frobnicate: there is no such flag; node --help lists them all"}},
		{"a bare word", args{"start"}, nil, nil, []string{`"start": is not a flag, and nothing else is expected here`}},
		{"a flag without its value", args{"--listen"}, nil, nil, []string{"--listen: needs a value: --listen=STRING"}},
		{"bad duration", args{"--keep-alive=5"}, nil, nil, []string{`--keep-alive: "5": use a number and a unit, such as "15s", "500ms" or "1m30s"`}},
		{"negative duration", args{"--keep-alive=-5s"}, nil, nil, []string{`--keep-alive: "-5s": use more than zero, such as "15s"`}},
		{"bad size", args{"--max-size=big"}, nil, nil, []string{`--max-size: "big": use a positive number of bytes such as "32768" or "64KiB", or "none" for no limit`}},
		{"too big a size", args{"--max-size=9999999999GiB"}, nil, nil, []string{`--max-size: "9999999999GiB": use a positive number of bytes such as "32768" or "64KiB", or "none" for no limit`}},
		{"bad switch", args{"--debug=maybe"}, nil, nil, []string{`--debug: "maybe": use true or false`}},
		{"not one of", nil, env{"APP_LOG_LEVEL=loud"}, nil, []string{`APP_LOG_LEVEL in the environment: "loud": use one of: debug, info`}},
		{"empty variable", nil, env{"APP_KEEP_ALIVE="}, nil, []string{`APP_KEEP_ALIVE in the environment: "": use a number and a unit, such as "15s", "500ms" or "1m30s"`}},
		{"unknown variable", nil, env{"APP_KEEPALIVE=1s"}, nil, []string{"APP_KEEPALIVE in the environment: there is no such setting; did you mean APP_KEEP_ALIVE?"}},
		{"lower-case variable", nil, env{"APP_listen=:1"}, nil, []string{"APP_listen in the environment: there is no such setting; node --help lists them all"}},
		{"flag-only variable", nil, env{"APP_VERSION=1"}, nil, []string{"APP_VERSION in the environment: is a flag only: --version"}},
		{"a short secret stays secret", args{"--secret=hunter2"}, nil, nil, []string{"--secret: has 7 bytes; at least 8 are needed (openssl rand -base64 12 makes one)"}},
		{"an empty secret", nil, env{"APP_SECRET="}, nil, []string{"APP_SECRET in the environment: is empty; give it a value or leave it out"}},
		{"a masked URL", args{"--redis=http://u:hunter2@h"}, nil, nil, []string{`--redis: "redis://xxxxx@h": use redis://host:6379`}},
		{"value and file", args{"--secret=sixteen letters!", "--secret-file=s"}, nil, files{"s": "sixteen letters!"}, []string{"--secret-file: is given together with --secret; remove one of them"}},
		{"secret file absent", args{"--secret-file=s"}, nil, nil, []string{"--secret-file: open s: file does not exist"}},
		{"secret file empty", args{"--secret-file=s"}, nil, files{"s": "\n"}, []string{"--secret-file: the file s is empty"}},
		{"secret file short", nil, env{"APP_SECRET_FILE=s"}, files{"s": "hunter2\n"}, []string{"APP_SECRET_FILE in the environment: has 7 bytes; at least 8 are needed (openssl rand -base64 12 makes one)"}},
		{"no file for what is no secret", args{"--listen-file=s"}, nil, nil, []string{"--listen-file: there is no such flag; node --help lists them all"}},
		{"config absent", args{"--config=c"}, nil, nil, []string{"--config: open c: file does not exist"}},
		{"config no YAML", nil, env{"APP_CONFIG=c"}, files{"c": "a: b: c\n"}, []string{"APP_CONFIG in the environment: c is not YAML: mapping values are not allowed in this context"}},
		{"config a list", args{"--config=c"}, nil, files{"c": "- a\n"}, []string{`--config: c must hold settings, one on a line, such as "listen: :8080"`}},
		{"config of two documents", args{"--config=c"}, nil, files{"c": "debug: on\n---\ndebug: off\n"}, []string{`--config: c holds more than one document; keep one, without "---" after it`}},
		{"unknown key", args{"--config=c"}, nil, files{"c": "# comment\nredis-url: x\n"}, []string{"c:2: redis-url: there is no such setting; node --help lists them all"}},
		{"key twice", args{"--config=c"}, nil, files{"c": "debug: on\nlisten: :1\ndebug: off\n"}, []string{"c:3: debug: stands on line 1 already; remove one of them"}},
		{"key without value", args{"--config=c"}, nil, files{"c": "redis:\n"}, []string{`c:1: redis: has no value; write "" if it is to be empty, else remove the line`}},
		{"nested", args{"--config=c"}, nil, files{"c": "redis:\n  url: x\n"}, []string{"c:1: redis: must be one plain value, not a list or a mapping"}},
		{"a list that is none", args{"--config=c"}, nil, files{"c": "origins: {a: b}\n"}, []string{"c:1: origins: must be a list of plain words"}},
		{"config in config", args{"--config=c"}, nil, files{"c": "config: d\n"}, []string{"c:1: config: cannot stand in the file"}},
		{"a bad value that is overruled", args{"--config=c", "--keep-alive=1s"}, nil, files{"c": "keep-alive: never\n"}, []string{`c:1: keep-alive: "never": use a number and a unit, such as "15s", "500ms" or "1m30s"`}},
		{
			"all at once", args{"--lisen=:1", "--keep-alive=x", "--config=c"}, env{"APP_FOO=1", "APP_DEBUG=x"}, files{"c": "bar: 1\nmax-size: x\n"},
			[]string{
				"--lisen: there is no such flag; did you mean --listen?",
				"APP_FOO in the environment: there is no such setting; node --help lists them all",
				`--keep-alive: "x": use a number and a unit, such as "15s", "500ms" or "1m30s"`,
				`APP_DEBUG in the environment: "x": use true or false`,
				"c:1: bar: there is no such setting; node --help lists them all",
				`c:2: max-size: "x": use a positive number of bytes such as "32768" or "64KiB", or "none" for no limit`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := newSample(tt.files).Load(tt.args, tt.env)
			var problems settings.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want problems", err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error gives a secret away: %v", err)
			}
		})
	}
}

// TestServiceLinks: a Kubernetes Service called "app" must not keep the command from starting.
func TestServiceLinks(t *testing.T) {
	err := newSample(nil).Load(nil, []string{
		"APP_SERVICE_HOST=127.0.0.1", "APP_SERVICE_PORT=80", "APP_SERVICE_PORT_HTTP=80", "APP_PORT=tcp://127.0.0.1:80",
		"APP_PORT_80_TCP=tcp://127.0.0.1:80", "APP_PORT_80_TCP_PROTO=tcp", "APP_PORT_80_TCP_PORT=80", "APP_PORT_80_TCP_ADDR=127.0.0.1",
		"APP_REDIS_SERVICE_HOST=127.0.0.1", "APP_REDIS_PORT=tcp://127.0.0.1:6379",
	})
	if err != nil {
		t.Error(err)
	}
	if err := newSample(nil).Load(nil, []string{"APP_PORT=80"}); err == nil {
		t.Error("APP_PORT=80 is passed over, though it is no service link")
	}
}

func TestLogValueMasks(t *testing.T) {
	s := newSample(nil)
	if err := s.Load([]string{"--secret=sixteen letters!", "--redis=redis://u:hunter2@h:1"}, nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("starting", "settings", &s.Table)
	line := b.String()
	for _, bad := range []string{"sixteen", "hunter2", "version"} {
		if strings.Contains(line, bad) {
			t.Errorf("%q stands in the log: %s", bad, line)
		}
	}
	for _, want := range []string{"settings.listen=:8080", "settings.secret=********", "settings.redis=redis://xxxxx@h:1", "settings.max-size=32768"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing: %s", want, line)
		}
	}
}

func TestHelp(t *testing.T) {
	var b strings.Builder
	if err := newSample(nil).WriteHelp(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Usage: node [flags]",
		"\nNetwork\n  --listen=STRING\n        where to listen. (default: :8080)\n",
		"  --redis=URL   (or --redis-file=PATH)\n",
		"        signs things. (default: none)\n",
		"  --log-level=debug|info\n",
		"  --debug\n",
		"--keep-alive is APP_KEEP_ALIVE",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 101 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("listen: :1\norigins: [a, b]\n")
	f.Add("a: &x b\nc: *x\n")
	f.Add("? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := newSample(map[string]string{"c": text})
		_ = s.Load([]string{"--config=c"}, nil) // must not panic, whatever it says
	})
}

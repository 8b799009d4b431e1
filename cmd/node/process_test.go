package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubfleet/hubfleet/internal/redistest"
)

func TestBadUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(file, []byte("listen: :1\npresence: on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want string // all of standard error
	}{
		{"unknown flag", []string{"--lisen=:1"}, nil, "node: --lisen: there is no such flag; did you mean --listen?\n"},
		{"flag of another version", []string{"--presence-lease=5s"}, nil, "node: --presence-lease: there is no such flag; node --help lists them all\n"},
		{"bad duration", []string{"--keep-alive=5"}, nil, "node: --keep-alive: \"5\": use a number and a unit, such as \"15s\", \"500ms\" or \"1m30s\"\n"},
		{"bad address", []string{"--listen=8080"}, nil, "node: --listen: \"8080\": use HOST:PORT, or :PORT for all interfaces\n"},
		{"bad peer address", []string{"--peer-listen=8081"}, nil, "node: --peer-listen: \"8081\": use HOST:PORT, or :PORT for all interfaces\n"},
		{"bad URL for peers", []string{"--advertise=10.0.0.7:8081"}, nil, "node: --advertise: \"10.0.0.7:8081\": use http://HOST:PORT, with nothing behind it\n"},
		{"bad origin", []string{"--allowed-origins=https://a.example,b.example"}, nil, "node: --allowed-origins: \"https://a.example,b.example\": \"b.example\": \"b.example\" is not an origin: write scheme://host or scheme://host:port without a path or wildcards, or * for any\n"},
		{"short secret", []string{"--auth-jwt-secret=hunter2"}, nil, "node: --auth-jwt-secret: has 7 bytes; at least 32 are needed (openssl rand -base64 48 makes one)\n"},
		{"issuer without secret", []string{"--auth-jwt-issuer=x"}, nil, "node: --auth-jwt-issuer: means nothing without --auth-jwt-secret; give one, or leave this out\n"},
		{"issuer of the demo", []string{"--auth-jwt-issuer=hubfleet-demo", "--auth-jwt-secret=" + strings.Repeat("s", 32)}, nil, "node: --auth-jwt-issuer: is reserved for the demo; use another\n"},
		{"unknown variable", nil, []string{"HUBFLEET_REDIS_URL=redis://h"}, "node: HUBFLEET_REDIS_URL in the environment: there is no such setting; node --help lists them all\n"},
		{"unknown key", []string{"--config", file}, nil, "node: " + file + ":2: presence: there is no such setting; node --help lists them all\n"},
		{"Redis Cluster with two schemes", []string{"--redis=redis://u:hunter2@h:1,redis://h:2"}, nil, "node: --redis: \"(unreadable Redis URL)\": the Redis URL has a scheme in the middle; several addresses share one: redis://host1:6379,host2:6379\n"},
		{"Sentinel without a name", []string{"--redis=redis+sentinel://u:hunter2@h:1"}, nil, "node: --redis: \"redis+sentinel://xxxxx@h:1\": the Redis URL redis+sentinel://xxxxx@h:1: the name of the primary is missing; write redis+sentinel://host:26379/NAME, as in the sentinels' configuration (often mymaster)\n"},
		{"shards of one server", []string{"--redis=redis://u:hunter2@h:1", "--redis-sharded"}, nil, "node: --redis-sharded: needs a Redis Cluster in --redis: several addresses, or ?cluster=true\n"},
		{"too many connections", []string{"--redis-connections=65"}, nil, "node: --redis-connections: \"65\": use a whole number from 1 to 64\n"},
		{"no URL of Redis", []string{"--redis=h:6379"}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command(t, tt.args...)
			cmd.Env = append(cmd.Env, tt.env...)
			code, stdout, stderr := finish(t, cmd)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
			if tt.want == "" && (!strings.HasPrefix(stderr, "node: --redis: ") || !strings.Contains(stderr, "redis://host:6379")) {
				t.Errorf("%q does not say what is right", stderr)
			}
			if tt.want != "" && stderr != tt.want {
				t.Errorf("%q\nwant %q", stderr, tt.want)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Error("the message gives a secret away")
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	code, stdout, stderr := finish(t, command(t, "--help"))
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "Usage: node [flags]") {
		t.Errorf("--help: %d, %q, %q", code, stdout, stderr)
	}
	for _, s := range newConfig(false).table.Settings {
		if !strings.Contains(stdout, "  --"+s.Name) {
			t.Errorf("--help says nothing of --%s", s.Name)
		}
	}
	code, stdout, stderr = finish(t, command(t, "--version"))
	if code != exitOK || stderr != "" || !strings.HasPrefix(stdout, "hubfleet node ") {
		t.Errorf("--version: %d, %q, %q", code, stdout, stderr)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := finish(t, command(t, "--listen="+l.Addr().String(), "--admin-listen=127.0.0.1:0"))
	if code != exitFailure || !strings.Contains(stderr, l.Addr().String()) || !strings.Contains(stderr, "another program has this port") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestCleanStop(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			p := launch(t)
			p.signal(s)
			within(t, 10*time.Second, "stopping", func() {
				if code := p.exit(); code != exitOK {
					t.Errorf("exit code %d", code)
				}
			})
		})
	}
}

func TestSecondSignal(t *testing.T) {
	p := launch(t, "--drain-timeout=1h")
	c := dial(t, p, "")
	p.signal(syscall.SIGTERM)
	p.log.wait(t, "msg=stopping") // a connection this young is not closed for two seconds
	p.signal(syscall.SIGTERM)
	within(t, time.Second, "ending at once", func() {
		if code := p.exit(); code != exitFailure {
			t.Errorf("exit code %d", code)
		}
	})
	p.log.wait(t, "second signal")
	_ = c
}

// TestStartLine: what is in force stands in the log, and no secret does.
func TestStartLine(t *testing.T) {
	dir := t.TempDir()
	secrets := map[string]string{"admin": "topsecret-admin-token", "redis": "redis://u:topsecret@127.0.0.1:1", "jwt": strings.Repeat("topsecret", 4)}
	for name, text := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(config, []byte("keep-alive: 7s\nclient-timeout: 14s\nauth-jwt-secret-file: "+filepath.Join(dir, "jwt")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=text", "--config="+config, "--admin-token-file="+filepath.Join(dir, "admin"))
	cmd.Env = append(cmd.Env, "HUBFLEET_KEEP_ALIVE=8s", "HUBFLEET_REDIS_FILE="+filepath.Join(dir, "redis"), "HUBFLEET_CLUSTER_SECRET="+strings.Repeat("topsecret", 4))
	p := launchCommand(t, cmd)
	line := p.log.wait(t, "msg=starting")
	for _, want := range []string{
		"settings.keep-alive=8s", "settings.client-timeout=14s", "settings.handshake-timeout=15s", "settings.admin-token=********",
		"settings.redis=redis://xxxxx@127.0.0.1:1", "settings.auth-jwt-secret=********", "settings.cluster-secret=********",
		"settings.demo=false", "settings.redis-prefix=hubfleet:", "settings.drain-timeout=30s",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is missing in %s", want, line)
		}
	}
	p.log.wait(t, "127.0.0.1:1") // it says that it cannot reach Redis, and goes on
	if status, body := p.get(p.admin + "/readyz"); status != 503 || !strings.Contains(body, "Redis") {
		t.Errorf("readyz: %d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(p.log.String(), "topsecret") {
		t.Error("a secret stands in the log")
	}
}

// TestTwoProcesses chats across two nodes on one Redis.
func TestTwoProcesses(t *testing.T) {
	server := redistest.Start(t)
	a := launch(t, "--redis="+server.URL(), "--demo=true", "--node-name=a")
	b := launch(t, "--redis="+server.URL(), "--demo=true", "--node-name=b")
	for _, p := range []*process{a, b} {
		poll(t, "ready", func() bool { status, _ := p.get(p.admin + "/readyz"); return status == 200 })
	}
	ann, bob := dial(t, a, "?user=ann"), dial(t, b, "?user=bob")
	bob.invoke("SendToUser", "ann", "bob", "hi")
	ann.expect(`{"type":1,"target":"ReceiveMessage","arguments":["bob","hi"]}`)
	if n := server.Do(t, "PUBSUB", "NUMSUB", "hubfleet:ChatHub:all").([]any)[1]; n != int64(2) {
		t.Errorf("%v nodes listen on hubfleet:ChatHub:all", n)
	}
}

// poll waits for something that another process does in its own time.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in time", what)
		}
	}
}

// TestLogIsOurs: every line on standard error is one of our log, whatever the libraries have to say.
func TestLogIsOurs(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	cmd := command(t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--log-format=json", "--log-level=debug", "--redis="+server.URL())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := newLogWatch(stderr)
	log.wait(t, `"msg":"redis client"`)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-log.ended
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	for line := range strings.Lines(log.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
			t.Errorf("this is no line of our log: %s", line)
		}
	}
}

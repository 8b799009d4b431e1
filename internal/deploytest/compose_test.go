package deploytest

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// compose reads docker-compose.yml as "docker compose" does, which holds it to the schema.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{root + "/docker-compose.yml"}, cli.WithWorkingDirectory(root))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// nodes are the services that run the image of this repository.
func nodes(t *testing.T) map[string]types.ServiceConfig {
	t.Helper()
	found := make(map[string]types.ServiceConfig)
	for name, s := range compose(t).Services {
		if strings.HasPrefix(s.Image, "hubfleet-node:") {
			found[name] = s
		}
	}
	if len(found) != 3 {
		t.Fatalf("%d services run the node's image, want three", len(found))
	}
	return found
}

// TestComposeBuildsOnce: one service builds the image, since builds of one tag side by side fail on some engines; the others take what it
// has built, and never ask a registry.
func TestComposeBuildsOnce(t *testing.T) {
	all := nodes(t)
	var built []string
	for _, s := range all {
		if s.Build != nil {
			built = append(built, s.Image)
		}
	}
	if len(built) != 1 {
		t.Fatalf("%d services build the image: %v", len(built), built)
	}
	for name, s := range all {
		switch {
		case s.Build != nil:
			if version := s.Build.Args["VERSION"]; version == nil || *version == "" {
				t.Errorf("%s builds an image without a version", name)
			}
		case s.Image != built[0]:
			t.Errorf("%s runs %s, which nobody builds; %v", name, s.Image, built)
		case s.PullPolicy != types.PullPolicyNever:
			t.Errorf("%s: pull_policy is %q, want never", name, s.PullPolicy)
		}
	}
}

// variables are those of a service.
func variables(s types.ServiceConfig) map[string]string {
	env := make(map[string]string)
	for name, value := range s.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

// TestComposeSettings: the nodes start with what Compose gives them, and get as long to stop as they may take.
func TestComposeSettings(t *testing.T) {
	known := settings(t)
	for name, s := range nodes(t) {
		var env []string
		for variable, value := range variables(s) {
			if _, _, ok := flagOf(t, known, variable); strings.HasPrefix(variable, "HUBFLEET_") && !ok {
				t.Errorf("%s: the node has no setting %s", name, variable)
			}
			env = append(env, variable+"="+value)
		}
		if out, err := node(t, append(slices.Clone([]string(s.Command)), "--version"), env); err != nil {
			t.Errorf("%s: the node refuses its settings: %s", name, out)
		}
		if drain, _ := drainOf(t, variables(s)); s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) != drain+margin {
			t.Errorf("%s: stop_grace_period is %v; drain timeout %v + %v is %v", name, s.StopGracePeriod, drain, margin, drain+margin)
		}
		if s.Hostname != name {
			t.Errorf("%s calls itself %s", name, s.Hostname)
		}
		if s.HealthCheck == nil || !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/node", "healthcheck"}) {
			t.Errorf("%s: the health check is %+v", name, s.HealthCheck)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || s.Privileged || len(s.Ports) > 0 {
			t.Errorf("%s: it has more rights than it needs, or publishes ports", name)
		}
		if d, ok := s.DependsOn["redis"]; !ok || d.Condition != types.ServiceConditionHealthy {
			t.Errorf("%s does not wait for Redis", name)
		}
	}
}

// TestComposeIsLocal: whatever is published is for this machine, and every image has a version.
func TestComposeIsLocal(t *testing.T) {
	published := 0
	for name, s := range compose(t).Services {
		for _, p := range s.Ports {
			published++
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, p.Published, p.HostIP)
			}
		}
		if _, tag, ok := strings.Cut(s.Image[strings.LastIndex(s.Image, "/")+1:], ":"); !ok || tag == "latest" {
			t.Errorf("%s: the image %s has no version", name, s.Image)
		}
	}
	if published != 3 {
		t.Errorf("%d ports are published; nginx, Prometheus and Grafana have one each", published)
	}
}

// TestComposeFiles: what is mounted exists and lies where the program looks.
func TestComposeFiles(t *testing.T) {
	for name, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
	}
	// Provider and home page of Grafana name the folder that Compose mounts.
	var provider struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/dashboards/hubfleet.yaml")), &provider); err != nil {
		t.Fatal(err)
	}
	grafana := compose(t).Services["grafana"]
	folder := provider.Providers[0].Options.Path
	if !slices.ContainsFunc(grafana.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Target == folder && filepath.Base(v.Source) == "dashboards"
	}) {
		t.Errorf("the dashboards are not mounted at %s", folder)
	}
	home := variables(grafana)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if name, ok := strings.CutPrefix(home, folder+"/"); !ok {
		t.Errorf("the home page is %s, which is not in %s", home, folder)
	} else {
		read(t, "deploy/grafana/dashboards/"+name)
	}
	var source struct {
		Datasources []struct{ UID, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yaml")), &source); err != nil {
		t.Fatal(err)
	}
	if url := source.Datasources[0].URL; url != "http://prometheus:9090" || len(compose(t).Services["prometheus"].Ports) == 0 || compose(t).Services["prometheus"].Ports[0].Target != 9090 {
		t.Errorf("Grafana asks %s", url)
	}
}

var upstreamServer = regexp.MustCompile(`(?m)^\s+server ([\w-]+):(\d+) `)

// TestComposeAddresses: nginx and Prometheus know every node, by the name and on the port on which it listens.
func TestComposeAddresses(t *testing.T) {
	all := nodes(t)
	var names []string
	var ports map[string]int
	for name, s := range all {
		names = append(names, name)
		ports = listeners(t, variables(s))
	}
	slices.Sort(names)

	var clients []string
	for _, m := range upstreamServer.FindAllStringSubmatch(read(t, "deploy/nginx/nginx.conf"), -1) {
		clients = append(clients, m[1])
		if portOf(t, ":"+m[2]) != ports["http"] {
			t.Errorf("nginx sends clients to %s:%s; the nodes listen on %d", m[1], m[2], ports["http"])
		}
	}
	if !slices.Equal(clients, names) {
		t.Errorf("nginx knows %q; there are %q", clients, names)
	}

	var config struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	var scraped []string
	for _, target := range config.ScrapeConfigs[0].StaticConfigs[0].Targets {
		host, _, _ := strings.Cut(target, ":")
		scraped = append(scraped, host)
		if portOf(t, target) != ports["admin"] {
			t.Errorf("Prometheus reads %s; the nodes listen on %d", target, ports["admin"])
		}
	}
	if !slices.Equal(scraped, names) {
		t.Errorf("Prometheus knows %q; there are %q", scraped, names)
	}

	nginx := compose(t).Services["nginx"]
	if listen := regexp.MustCompile(`(?m)^\s+listen (\d+);`).FindStringSubmatch(read(t, "deploy/nginx/nginx.conf")); listen == nil || uint32(portOf(t, ":"+listen[1])) != nginx.Ports[0].Target {
		t.Errorf("nginx listens on %q; Compose publishes %d", listen, nginx.Ports[0].Target)
	}
	for _, name := range names {
		if d := nginx.DependsOn[name]; d.Condition != types.ServiceConditionHealthy {
			t.Errorf("nginx does not wait for %s; the first page would be an error", name)
		}
	}
}

// TestNginxResolves: nginx looks the nodes' names up while it runs, so that one that is stopped is not in its way when it starts or
// reloads; and the image is one that can.
func TestNginxResolves(t *testing.T) {
	text := nginxRules(t)
	if got := directive(t, "resolver"); got != "127.0.0.11 valid=5s" {
		t.Errorf("nginx asks %s; Compose's DNS is at 127.0.0.11", got)
	}
	if !regexp.MustCompile(`\n\s+zone \w+ \d+k;`).MatchString(text) {
		t.Error("names are looked up only for servers in shared memory: there is no zone")
	}
	for _, line := range regexp.MustCompile(`(?m)^\s+server node[^;]*;`).FindAllString(text, -1) {
		if !slices.Contains(strings.Fields(line), "resolve") {
			t.Errorf("without resolve, nginx does not start while that node is stopped: %s", strings.TrimSpace(line))
		}
	}
	// The open source nginx has it since 1.27.3.
	image := compose(t).Services["nginx"].Image
	version := regexp.MustCompile(`nginx:(\d+)\.(\d+)`).FindStringSubmatch(image)
	if version == nil {
		t.Fatalf("the version of %s cannot be read", image)
	}
	major, _ := strconv.Atoi(version[1])
	minor, _ := strconv.Atoi(version[2])
	if major < 1 || major == 1 && minor < 28 {
		t.Errorf("%s does not know resolve", image)
	}
}

// negotiateLocation is the only place where a POST may be repeated.
var negotiateLocation = regexp.MustCompile(`(?s)location ~ /negotiate\$ \{[^{}]*proxy_next_upstream error timeout non_idempotent;[^{}]*\}`)

// nginxRules are nginx.conf without comments, and without that place.
func nginxRules(t *testing.T) string {
	t.Helper()
	text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(read(t, "deploy/nginx/nginx.conf"), "")
	if n := len(negotiateLocation.FindAllString(text, -1)); n != 1 {
		t.Errorf("nginx.conf repeats negotiations in %d places, want 1", n)
	}
	return negotiateLocation.ReplaceAllString(text, "")
}

// directive is the value of the only directive of a name in the nginx configuration.
func directive(t *testing.T, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^\s*`+name+` ([^;]*);`).FindAllStringSubmatch(nginxRules(t), -1)
	if len(found) != 1 {
		t.Fatalf("nginx.conf has %d directives %s", len(found), name)
	}
	return found[0][1]
}

// pollTimeout is how long a poll may last that nothing answers, as docs/protocol.md has it.
const pollTimeout = 90 * time.Second

// TestNginxRules: quiet connections outlast the keep-alive and a poll, nothing is held back, nothing that is not idempotent is
// repeated but a negotiation, there is no affinity, and no token ends up in a log.
func TestNginxRules(t *testing.T) {
	keepAlive, err := time.ParseDuration(settings(t)["keep-alive"].value)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"proxy_read_timeout", "proxy_send_timeout"} {
		if d, err := time.ParseDuration(directive(t, name)); err != nil || d <= pollTimeout || d <= 2*keepAlive {
			t.Errorf("%s is %s; a poll lasts %v, and pings come every %v", name, directive(t, name), pollTimeout, keepAlive)
		}
	}
	for name, want := range map[string]string{
		"proxy_buffering": "off", "proxy_request_buffering": "off", "proxy_http_version": "1.1", "client_max_body_size": "0",
		"proxy_next_upstream": "error timeout",
		"error_log":           "stderr crit",
	} {
		if got := directive(t, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	text := nginxRules(t)
	for _, header := range []string{
		"Upgrade $http_upgrade", "Connection $connection_upgrade", "Host $http_host", "X-Forwarded-For $proxy_add_x_forwarded_for", "X-Forwarded-Proto $scheme",
	} {
		if !strings.Contains(text, "proxy_set_header "+header+";") {
			t.Errorf("nginx.conf does not set the header %s", header)
		}
	}
	for _, bad := range []string{"ip_hash", "hash ", "sticky", "non_idempotent", "$request_uri", "$args", "$query_string", `$request"`, "$request "} {
		if strings.Contains(text, bad) {
			t.Errorf("nginx.conf has %q", bad)
		}
	}
}

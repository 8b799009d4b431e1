package deploytest

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/hubfleet/hubfleet/pkg/metrics"
)

// container is the one of the nodes.
func container(t *testing.T, all manifests) core.Container {
	t.Helper()
	containers := the[*apps.Deployment](t, all, "hubfleet").Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("%d containers", len(containers))
	}
	return containers[0]
}

// environment is what the container's variables are, with an address for the Pod's.
func environment(t *testing.T, all manifests) map[string]string {
	t.Helper()
	env := maps.Clone(configOf(t, all).Data)
	for _, e := range container(t, all).Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == "status.podIP" {
			env[e.Name] = "10.1.2.3"
		}
	}
	return env
}

// TestKubernetesSettings: the node starts with what the manifests say. Every flag and variable exists and has a value that it
// takes, and the files that are named are in the Secret.
func TestKubernetesSettings(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		known := settings(t)
		secrets := t.TempDir()
		var env []string
		for name, value := range environment(t, all) {
			if flag, file, ok := flagOf(t, known, name); strings.HasPrefix(name, "HUBFLEET_") && !ok {
				t.Errorf("the node has no setting %s", name)
			} else if ok && file {
				// What the Secret has there is the operator's; any good value does.
				path := filepath.Join(secrets, filepath.Base(value))
				text := strings.Repeat("s", 64)
				if flag == "redis" {
					text = "rediss://user:password@redis.example.com:6379"
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				value = path
			}
			env = append(env, name+"="+value)
		}
		var args []string
		for _, arg := range container(t, all).Args {
			for name, value := range environment(t, all) {
				arg = strings.ReplaceAll(arg, "$("+name+")", value)
			}
			args = append(args, arg)
		}
		if out, err := node(t, append(args, "--version"), env); err != nil {
			t.Errorf("the node refuses the manifests' settings: %s", out)
		}
		if !slices.Contains(args, "--advertise=http://10.1.2.3:8081") {
			t.Errorf("the Pods do not announce their own address: %q", args)
		}
		if len(container(t, all).Command) > 0 {
			t.Error("the manifest overrules the image's entry point")
		}
	})
}

// portOf is the port of an address to listen on.
func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// listeners are the ports on which a node listens with these variables, by the names that the manifests have for them.
func listeners(t *testing.T, env map[string]string) map[string]int {
	t.Helper()
	known := settings(t)
	ports := make(map[string]int)
	for name, flag := range map[string]string{"http": "listen", "admin": "admin-listen", "peer": "peer-listen"} {
		address := known[flag].value
		if given := env["HUBFLEET_"+strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))]; given != "" {
			address = given
		}
		ports[name] = portOf(t, address)
	}
	return ports
}

// TestKubernetesPorts: every port in the manifests is one on which the node listens, and is used for what it is for.
func TestKubernetesPorts(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		env := environment(t, all)
		want := listeners(t, env)
		got := make(map[string]int)
		for _, p := range container(t, all).Ports {
			got[p.Name] = int(p.ContainerPort)
		}
		if !maps.Equal(got, want) {
			t.Errorf("the container's ports are %v; the node listens on %v", got, want)
		}
		if admin := env["HUBFLEET_ADMIN_LISTEN"]; !strings.HasPrefix(admin, ":") {
			t.Errorf("the admin listener is on %q: the kubelet and Prometheus would not reach it", admin)
		}
		if args := container(t, all).Args; len(args) == 0 || portOf(t, strings.TrimPrefix(args[0], "--advertise=http://")) != want["peer"] {
			t.Errorf("%q announces another port than %d", args, want["peer"])
		}

		c := container(t, all)
		for what, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			path := map[string]string{"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}[what]
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port != intstr.FromString("admin") {
				t.Errorf("the %s probe is %+v; want %s on the port admin", what, probe, path)
			}
		}
		service := the[*core.Service](t, all, "hubfleet")
		if len(service.Spec.Ports) != 1 || service.Spec.Ports[0].TargetPort != intstr.FromString("http") || service.Spec.SessionAffinity != "" {
			t.Errorf("the Service is %+v", service.Spec)
		}
		for _, o := range all {
			switch o := o.(type) {
			case *networking.NetworkPolicy:
				if o.Name == "hubfleet" {
					checkPolicy(t, o, want)
				}
			case *monitoring.PodMonitor:
				if e := o.Spec.PodMetricsEndpoints; len(e) != 1 || e[0].Port == nil || *e[0].Port != "admin" || e[0].Path != "/metrics" {
					t.Errorf("the PodMonitor reads %+v", e)
				}
			case *gateway.HTTPRoute:
				for _, rule := range o.Spec.Rules {
					if len(rule.BackendRefs) != 1 || string(rule.BackendRefs[0].Name) != service.Name || rule.BackendRefs[0].Port == nil ||
						int32(*rule.BackendRefs[0].Port) != service.Spec.Ports[0].Port || rule.SessionPersistence != nil {
						t.Errorf("the route leads to %+v", rule.BackendRefs)
					}
				}
			}
		}
	})
}

// checkPolicy holds the network policy to what nodes need: clients to the client port, nodes to the peer port in both directions,
// Prometheus to the operator's port, nodes to Redis and to DNS.
func checkPolicy(t *testing.T, p *networking.NetworkPolicy, ports map[string]int) {
	t.Helper()
	if len(p.Spec.PolicyTypes) != 2 {
		t.Errorf("the policy is for %v", p.Spec.PolicyTypes)
	}
	open := make(map[string]bool)
	for _, rule := range p.Spec.Ingress {
		for _, port := range rule.Ports {
			open[port.Port.String()] = true
			if len(rule.From) == 0 {
				t.Errorf("the port %s is open to everyone", port.Port)
			}
		}
	}
	if want := map[string]bool{"http": true, "peer": true, "admin": true}; !maps.Equal(open, want) {
		t.Errorf("open to others: %v; want %v", open, want)
	}
	out := make(map[string]bool)
	for _, rule := range p.Spec.Egress {
		for _, port := range rule.Ports {
			out[port.Port.String()] = true
			if len(rule.To) == 0 {
				t.Errorf("the port %s of everyone can be reached", port.Port)
			}
		}
	}
	if want := map[string]bool{"53": true, "peer": true, "6379": true}; !maps.Equal(out, want) {
		t.Errorf("reachable by the nodes: %v; want %v", out, want)
	}
	for name := range open {
		if ports[name] == 0 {
			t.Errorf("the policy opens %s, on which nothing listens", name)
		}
	}
}

// TestIngress: the Ingresses lead to the Service, name no affinity, and say what nginx.conf says: one for all, and one for
// negotiations, which alone are repeated.
func TestIngress(t *testing.T) {
	all := decode(t, strings.Split(read(t, "deploy/k8s/components/ingress/ingress.yaml"), "\n---\n"))
	ingress, negotiate := the[*networking.Ingress](t, all, "hubfleet"), the[*networking.Ingress](t, all, "hubfleet-negotiate")
	service := the[*core.Service](t, build(t, kubernetes+"/base"), "hubfleet")
	for o, want := range map[*networking.Ingress]string{ingress: "/ Prefix", negotiate: "/chat/negotiate Exact"} {
		for _, rule := range o.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				if b := path.Backend.Service; b.Name != service.Name || b.Port.Name != service.Spec.Ports[0].Name {
					t.Errorf("%s leads to %+v", o.Name, b)
				}
				if got := path.Path + " " + string(*path.PathType); got != want {
					t.Errorf("%s is for %s, want %s", o.Name, got, want)
				}
			}
		}
		for name, value := range o.Annotations {
			if strings.Contains(name, "affinity") || strings.Contains(name, "hash") {
				t.Errorf("%s: %s: %s", o.Name, name, value)
			}
		}
		for annotation, name := range map[string]string{
			"proxy-buffering": "proxy_buffering", "proxy-request-buffering": "proxy_request_buffering", "proxy-body-size": "client_max_body_size",
			"proxy-connect-timeout": "proxy_connect_timeout", "proxy-read-timeout": "proxy_read_timeout", "proxy-send-timeout": "proxy_send_timeout",
			"proxy-next-upstream": "proxy_next_upstream", "proxy-next-upstream-timeout": "proxy_next_upstream_timeout",
			"proxy-next-upstream-tries": "proxy_next_upstream_tries",
		} {
			value := directive(t, name)
			if strings.HasSuffix(name, "_timeout") {
				value = strings.TrimSuffix(value, "s") // the annotation is in seconds
			}
			if o == negotiate && name == "proxy_next_upstream" {
				value += " non_idempotent" // as nginxRules has found in nginx.conf
			}
			if got := o.Annotations["nginx.ingress.kubernetes.io/"+annotation]; got != value {
				t.Errorf("%s of %s is %q; nginx.conf has %s %s", annotation, o.Name, got, name, value)
			}
		}
	}
	if len(ingress.Annotations) != len(negotiate.Annotations) || *ingress.Spec.IngressClassName != *negotiate.Spec.IngressClassName ||
		ingress.Spec.Rules[0].Host != negotiate.Spec.Rules[0].Host || !reflect.DeepEqual(ingress.Spec.TLS, negotiate.Spec.TLS) {
		t.Errorf("they differ in more than what is repeated: %+v, %+v", ingress, negotiate)
	}
}

// margin is what a node may take beyond its drain timeout: to notice the signal, and to end.
const margin = 10 * time.Second

// drainOf are the times of a drain with these variables.
func drainOf(t *testing.T, env map[string]string) (timeout, delay time.Duration) {
	t.Helper()
	known := settings(t)
	read := func(flag, variable string) time.Duration {
		text := known[flag].value
		if env[variable] != "" {
			text = env[variable]
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", flag, err)
		}
		return d
	}
	return read("drain-timeout", "HUBFLEET_DRAIN_TIMEOUT"), read("drain-delay", "HUBFLEET_DRAIN_DELAY")
}

// TestKubernetesTimes: the grace period holds the preStop hook, the drain and a margin; two nodes do not drain at once; a node that
// drains by hand is out of the Service before it stops serving; a rollout is not called failed while it goes on.
func TestKubernetesTimes(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		d := the[*apps.Deployment](t, all, "hubfleet")
		drain, delay := drainOf(t, environment(t, all))
		c := container(t, all)

		var preStop time.Duration
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			if c.Lifecycle.PreStop.Sleep == nil {
				t.Fatal("a preStop hook other than a sleep: this image has no shell, and the length is not known here")
			}
			preStop = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		}
		if grace := time.Duration(*d.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; grace != preStop+drain+margin {
			t.Errorf("the grace period is %v; preStop %v + drain timeout %v + %v is %v", grace, preStop, drain, margin, preStop+drain+margin)
		}
		minReady := time.Duration(d.Spec.MinReadySeconds) * time.Second
		if minReady < drain {
			t.Errorf("minReadySeconds is %v: the next Pod would drain before this one is done, after %v", minReady, drain)
		}
		r := c.ReadinessProbe
		if notice := time.Duration(r.PeriodSeconds*r.FailureThreshold) * time.Second; notice >= delay {
			t.Errorf("unreadiness is noticed after %v, but the node serves only %v more", notice, delay)
		}
		s := c.StartupProbe
		if start := time.Duration(s.PeriodSeconds*s.FailureThreshold) * time.Second; time.Duration(*d.Spec.ProgressDeadlineSeconds)*time.Second < 2*(minReady+start) {
			t.Errorf("a rollout is given up after %d s; a Pod may take %v", *d.Spec.ProgressDeadlineSeconds, minReady+start)
		}
		if rolling := d.Spec.Strategy.RollingUpdate; rolling.MaxSurge.IntVal != 1 || rolling.MaxUnavailable.IntVal != 0 {
			t.Errorf("the rollout is %v, %v", rolling.MaxSurge, rolling.MaxUnavailable)
		}
	})
}

// TestMemoryLimits: the Go runtime knows of 90 % of what the container may have.
func TestMemoryLimits(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		limits := container(t, all).Resources.Limits
		checkMemory(t, "the Pod", environment(t, all)["GOMEMLIMIT"], limits.Memory().Value())
	})
	for name, s := range nodes(t) {
		checkMemory(t, name, variables(s)["GOMEMLIMIT"], int64(s.MemLimit))
	}
}

func checkMemory(t *testing.T, who, runtime string, limit int64) {
	t.Helper()
	text, _ := strings.CutSuffix(runtime, "MiB")
	mib, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if share := float64(mib<<20) / float64(limit); share < 0.85 || share > 0.92 {
		t.Errorf("%s: GOMEMLIMIT is %.0f %% of the memory limit", who, 100*share)
	}
}

// adapterRule is the one for the Prometheus adapter in docs/operations.md.
var adapterRule = regexp.MustCompile(`(?s)seriesQuery: '(\w+)\{[^']*\}'.*metricsQuery: '(sum by \(<<.GroupBy>>\) \(<<.Series>>\{<<.LabelMatchers>>\}\))'`)

// TestAutoscaler: the metric is a gauge that has each connection once, under its hub and transport, so that the sum that the documented
// rule makes of a Pod's series is what the Pod holds; and scaling down is slower than a drain.
func TestAutoscaler(t *testing.T) {
	all := overlays(t)["production"]
	h := the[*autoscaling.HorizontalPodAutoscaler](t, all, "hubfleet")
	fallback := false
	for _, m := range h.Spec.Metrics {
		switch m.Type {
		case autoscaling.PodsMetricSourceType:
			row, ok := rowOf(m.Pods.Metric.Name)
			if !ok || row.Kind != metrics.Gauge || !slices.Equal(row.Labels, []string{"hub", "transport"}) {
				t.Errorf("%s is a %v by %q: no sum of connections", m.Pods.Metric.Name, row.Kind, row.Labels)
			}
			if rule := adapterRule.FindStringSubmatch(read(t, "docs/operations.md")); rule == nil || rule[1] != row.Name {
				t.Errorf("the documented rule for the adapter does not sum %s: %q", row.Name, rule)
			}
		case autoscaling.ResourceMetricSourceType:
			fallback = m.Resource.Name == core.ResourceCPU
		}
	}
	if !fallback {
		t.Error("without the adapter there is no metric to scale by")
	}
	down := h.Spec.Behavior.ScaleDown
	if drain, _ := drainOf(t, environment(t, all)); time.Duration(down.Policies[0].PeriodSeconds)*time.Second < drain+margin || len(down.Policies) != 1 ||
		down.Policies[0].Value != 1 || *down.StabilizationWindowSeconds < 600 {
		t.Errorf("scaling down is %+v; one drain takes up to %v", down, drain+margin)
	}
}

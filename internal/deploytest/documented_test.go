package deploytest

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	networking "k8s.io/api/networking/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

var documentedBlock = regexp.MustCompile("(?ms)^```yaml\n((?:patches|labels):\n.*?)^```$")

// TestDocumentedPatches: what docs/operations.md tells people to add to an overlay applies to the one for production, and does what
// it is there for.
func TestDocumentedPatches(t *testing.T) {
	site, policy, route, labels := 0, 0, 0, 0
	for _, block := range documentedBlock.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		all := buildText(t, "resources: [../overlays/production]\n"+block[1])
		switch {
		case strings.Contains(block[1], "hostnames"):
			site++
			mine := copyOverlay(t, "production", block[1])
			spec := the[*gateway.HTTPRoute](t, mine, "hubfleet").Spec
			if len(spec.Hostnames) != 1 || spec.Hostnames[0] != "chat.example.org" {
				t.Errorf("the route is for %v", spec.Hostnames)
			}
			if to := spec.ParentRefs; len(to) != 1 || to[0].Name != "public" || to[0].Namespace == nil || *to[0].Namespace != "edge" {
				t.Errorf("the route belongs to %+v", to)
			}
			before := the[*networking.NetworkPolicy](t, build(t, kubernetes+"/overlays/production"), "hubfleet").Spec
			before.Ingress[0].From[0].NamespaceSelector.MatchLabels = map[string]string{"kubernetes.io/metadata.name": "envoy-gateway-system"}
			if after := the[*networking.NetworkPolicy](t, mine, "hubfleet").Spec; !reflect.DeepEqual(before, after) {
				t.Errorf("the policy is\n%+v\nwant\n%+v", after, before)
			}
			// The rule for Prometheus is where the text says that it is.
			if from := before.Ingress[2].From[0].NamespaceSelector.MatchLabels; from["kubernetes.io/metadata.name"] != "monitoring" {
				t.Errorf("/spec/ingress/2 lets in %v", from)
			}
		case strings.Contains(block[1], "ipBlock"):
			policy++
			ingress := the[*networking.NetworkPolicy](t, all, "hubfleet").Spec.Ingress
			if last := ingress[len(ingress)-1]; len(ingress) != 4 || last.From[0].IPBlock == nil || len(last.Ports) != 2 {
				t.Errorf("the policy lets in %+v", ingress)
			}
		case strings.Contains(block[1], "timeouts"):
			route++
			if limits := the[*gateway.HTTPRoute](t, all, "hubfleet").Spec.Rules[0].Timeouts; limits == nil || limits.Request == nil || *limits.Request != "0s" {
				t.Errorf("the route's timeouts are %+v", limits)
			}
		case strings.Contains(block[1], "release"):
			labels++
			if m, r := the[*monitoring.PodMonitor](t, all, "hubfleet"), the[*monitoring.PrometheusRule](t, all, "hubfleet"); m.Labels["release"] == "" || r.Labels["release"] == "" {
				t.Errorf("labels %v, %v", m.Labels, r.Labels)
			}
		default:
			t.Errorf("what is this for?\n%s", block[1])
		}
	}
	if site != 1 || policy != 1 || route != 1 || labels != 1 {
		t.Errorf("patches for the site %d, the policy %d, the route %d, labels %d; want one of each", site, policy, route, labels)
	}
}

// copyOverlay builds a copy of an overlay, as deep as it, with these patches after its own.
func copyOverlay(t *testing.T, name, patches string) manifests {
	t.Helper()
	folder, err := os.MkdirTemp(kubernetes, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	mine := folder + "/mine"
	if err := os.CopyFS(mine, os.DirFS(kubernetes+"/overlays/"+name)); err != nil {
		t.Fatal(err)
	}
	var all, more map[string]any
	for text, to := range map[string]*map[string]any{read(t, "deploy/k8s/overlays/"+name+"/kustomization.yaml"): &all, patches: &more} {
		if err := yaml.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	all["patches"] = append(all["patches"].([]any), more["patches"].([]any)...)
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine+"/kustomization.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, mine)
}

// buildText builds a kustomization with this text, in a folder beside the overlays' one.
func buildText(t *testing.T, text string) manifests {
	t.Helper()
	// Kustomize takes relative paths only.
	overlay, err := os.MkdirTemp(kubernetes, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(overlay) })
	if err := os.WriteFile(overlay+"/kustomization.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, overlay)
}

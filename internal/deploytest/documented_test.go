package deploytest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	networking "k8s.io/api/networking/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

var documentedBlock = regexp.MustCompile("(?ms)^```yaml\n((?:patches|labels):\n.*?)^```$")

// TestDocumentedPatches: what docs/operations.md tells people to add to an overlay applies to the one for production, and does what
// it is there for.
func TestDocumentedPatches(t *testing.T) {
	policy, route, labels := 0, 0, 0
	for _, block := range documentedBlock.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		all := buildText(t, "resources: [../overlays/production]\n"+block[1])
		switch {
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
	if policy != 1 || route != 1 || labels != 1 {
		t.Errorf("patches for the policy %d, the route %d, labels %d; want one of each", policy, route, labels)
	}
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

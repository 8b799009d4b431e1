package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	rulesFile     = "deploy/prometheus/rules/hubfleet.yaml"
	rulesTestFile = "deploy/prometheus/tests/hubfleet.yaml"
	ruleFile      = "deploy/k8s/components/monitoring/prometheusrule.yaml"
	runbook       = "https://github.com/hubfleet/hubfleet/blob/main/docs/operations.md#"
)

// rule is an alert, with what the tests read of it.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// promtool runs Prometheus' own checker; Debian's package "prometheus" brings it.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v (make setup installs it)\n%s", strings.Join(args, " "), err, out)
	}
}

// TestRules: Prometheus takes its configuration and the rules, and every alert fires and clears in its test cases.
func TestRules(t *testing.T) {
	promtool(t, "check", "config", "deploy/prometheus/prometheus.yml")
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	promtool(t, "test", "rules", rulesTestFile)

	var file struct {
		Tests []struct {
			Cases []struct {
				Name   string `json:"alertname"`
				Alerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, rulesTestFile)), &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		fired := false
		for _, c := range test.Cases {
			if len(c.Alerts) > 0 {
				fires[c.Name], fired = true, true
			} else if fired {
				silent[c.Name] = true // after it had fired
			}
		}
	}
	for _, r := range rules(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: fires in a test: %v; clears afterwards: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

// TestRunbooks: every alert says how bad it is, has a text, and leads to an entry of its own in the operators' document.
func TestRunbooks(t *testing.T) {
	document := read(t, "docs/operations.md")
	entries := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^### (Hubfleet\w+)$`).FindAllStringSubmatch(document, -1) {
		entries[m[1]] = true
	}
	for _, r := range rules(t) {
		if want := runbook + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !entries[r.Alert] {
			t.Errorf("docs/operations.md has no entry ### %s", r.Alert)
		}
		delete(entries, r.Alert)
		if r.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: %v, %v", r.Alert, r.Labels, r.Annotations)
		}
	}
	for name := range entries {
		t.Errorf("docs/operations.md has an entry %s, which is no alert", name)
	}
}

// TestPrometheusRule holds the object for the Prometheus operator to the rules of Compose: there is one text.
func TestPrometheusRule(t *testing.T) {
	_, groups, found := strings.Cut(read(t, rulesFile), "\ngroups:\n")
	if !found {
		t.Fatal("no groups")
	}
	want := "# Made from " + rulesFile + ": make generate.\n" + `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: hubfleet
  labels:
    app.kubernetes.io/name: hubfleet
    app.kubernetes.io/component: node
spec:
  groups:
` + regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(groups, "  $1")
	if update {
		if err := os.WriteFile(filepath.Join(root, ruleFile), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, ruleFile) != want {
		t.Errorf("%s is not what %s makes of it: run make generate", ruleFile, rulesFile)
	}
}

package deploytest

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/hubfleet/hubfleet/pkg/metrics"
)

// panel is one of a dashboard, with what the tests read of it.
type panel struct {
	Title, Description, Type string
	Datasource               struct{ UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

type dashboard struct {
	file, UID, Title string
	Editable         bool
	Panels           []panel
	Annotations      struct{ List []struct{ Expr string } }
	Templating       struct {
		List []struct{ Name, Type, Definition string }
	}
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(root + "/deploy/grafana/dashboards/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("dashboards: %q, %v", files, err)
	}
	var all []dashboard
	for _, file := range files {
		d := dashboard{file: filepath.Base(file)}
		if err := json.Unmarshal([]byte(read(t, "deploy/grafana/dashboards/"+d.file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// query is one that a dashboard or an alert asks, and where it stands.
type query struct{ where, expr string }

// substituted is a query of a dashboard with values for its variables.
func substituted(expr string) string {
	return strings.NewReplacer("$__rate_interval", "5s", "$namespace", namespace, "$pod", ".+", "$hub", ".+").Replace(expr)
}

// namespace is what the nodes of the test are in.
const namespace = "test"

// panelQueries are those of all panels and annotations.
func panelQueries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				all = append(all, query{d.file + ": " + p.Title, substituted(target.Expr)})
			}
		}
	}
	return all
}

// foreign are metrics that others have: Prometheus itself, the Go client for it, kube-state-metrics. What else is named must be in the
// table of pkg/metrics.
var foreign = regexp.MustCompile(`^(up|ALERTS|go_goroutines|go_gc_gomemlimit_bytes|go_sched_latencies_seconds_bucket|` +
	`process_(cpu_seconds_total|resident_memory_bytes|open_fds|max_fds)|kube_horizontalpodautoscaler_(status_current_replicas|spec_max_replicas|status_condition))$`)

// added are the labels that come with the scrape, or with histograms.
var added = []string{"namespace", "pod", "job", "le", "__name__"}

// rowOf is the row of the table for a series' name, and whether there is one.
func rowOf(series string) (metrics.Name, bool) {
	for _, n := range metrics.Names {
		names := []string{n.Name}
		if n.Kind == metrics.Histogram {
			names = []string{n.Name + "_bucket", n.Name + "_sum", n.Name + "_count"}
		}
		if slices.Contains(names, series) {
			return n, true
		}
	}
	return metrics.Name{}, false
}

// TestMetricNames: every metric in a dashboard or an alert is in the table, with the labels by which it is chosen and summed.
func TestMetricNames(t *testing.T) {
	all := panelQueries(t)
	for _, d := range dashboards(t) {
		for _, a := range d.Annotations.List {
			if a.Expr != "" {
				all = append(all, query{d.file + ": annotation", substituted(a.Expr)})
			}
		}
	}
	for _, r := range rules(t) {
		all = append(all, query{r.Alert, r.Expr})
	}
	used := make(map[string]bool)
	for _, q := range all {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
		if err != nil {
			t.Errorf("%s: %v in %s", q.where, err, q.expr)
			continue
		}
		known := slices.Clone(added)
		strange := false
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			row, ok := rowOf(v.Name)
			used[row.Name] = true
			if !ok && !foreign.MatchString(v.Name) {
				t.Errorf("%s: no node has the metric %s", q.where, v.Name)
			}
			known = append(known, row.Labels...)
			strange = strange || !ok
			for _, m := range v.LabelMatchers {
				if ok && !slices.Contains(added, m.Name) && !slices.Contains(row.Labels, m.Name) {
					t.Errorf("%s: %s has no label %s", q.where, v.Name, m.Name)
				}
			}
			return nil
		})
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if a, ok := n.(*parser.AggregateExpr); ok && !strange {
				for _, label := range a.Grouping {
					if !slices.Contains(known, label) {
						t.Errorf("%s: nothing in %s has a label %s", q.where, q.expr, label)
					}
				}
			}
			return nil
		})
	}
	for _, n := range metrics.Names {
		if !used[n.Name] && !slices.Contains(unused, n.Name) {
			t.Errorf("no dashboard and no alert shows %s", n.Name)
		}
	}
}

// unused are metrics that no dashboard needs.
var unused = []string{
	"hubfleet_presence_changes_total", // the batches tell enough
}

// TestDashboards: each has its variables, is not changed by hand in Grafana, and its panels say what they show and what to do.
func TestDashboards(t *testing.T) {
	uids := make(map[string]bool)
	for _, d := range dashboards(t) {
		if d.UID == "" || uids[d.UID] || d.Editable || d.Title == "" {
			t.Errorf("%s: uid %q, title %q, editable %v", d.file, d.UID, d.Title, d.Editable)
		}
		uids[d.UID] = true
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
		}
		if !slices.Equal(names, []string{"datasource", "namespace", "pod", "hub"}) {
			t.Errorf("%s: variables %q", d.file, names)
		}
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || len(p.Description) < 5 || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: %q has no description, unit, data source or query", d.file, p.Title)
			}
			for _, target := range p.Targets {
				if target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, `namespace="$namespace", pod=~"$pod"`) {
					t.Errorf("%s: %q does not heed the variables: %s", d.file, p.Title, target.Expr)
				}
				if strings.Contains(target.Expr, "rate(") && !strings.Contains(target.Expr, "[$__rate_interval]") {
					t.Errorf("%s: %q: a rate over a fixed time: %s", d.file, p.Title, target.Expr)
				}
			}
		}
	}
}

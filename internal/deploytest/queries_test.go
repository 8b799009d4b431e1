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
	Annotations      struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []variable
	}
}

// variable is one of a dashboard. Grafana runs Query, and shows Definition in its settings.
type variable struct {
	Name, Type, Definition string
	Query                  any // the kind of data source, or an object
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
		for _, a := range d.Annotations.List {
			if a.Expr != "" {
				all = append(all, query{d.file + ": annotation " + a.Name, substituted(a.Expr)})
			}
		}
	}
	return all
}

// beneath is a query without what hides that it finds nothing, "or vector(0)", or that what it finds is 0, "> 0".
func beneath(t *testing.T, q query) query {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
	if err != nil {
		t.Fatalf("%s: %v", q.where, err)
	}
	if b, ok := expr.(*parser.BinaryExpr); ok {
		_, number := b.RHS.(*parser.NumberLiteral)
		call, isCall := b.RHS.(*parser.Call)
		if number && b.Op.IsComparisonOperator() || isCall && call.Func.Name == "vector" && b.Op == parser.LOR {
			q.expr = b.LHS.String()
		}
	}
	return q
}

// labelValues is the only function of Grafana that the variables use.
var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// choice is what a variable offers: the values that a label has in a selection of series.
type choice struct{ where, selection, label string }

// choices are those of all variables that ask Prometheus.
func choices(t *testing.T) []choice {
	t.Helper()
	var all []choice
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			asked, _ := v.Query.(map[string]any)
			text, _ := asked["query"].(string)
			m := labelValues.FindStringSubmatch(text)
			if m == nil || text != v.Definition {
				t.Errorf("%s: the variable %s asks %q and shows %q", d.file, v.Name, text, v.Definition)
				continue
			}
			all = append(all, choice{d.file + ": variable " + v.Name, substituted(m[1]), m[2]})
		}
	}
	if len(all) != 6 {
		t.Errorf("%d variables ask Prometheus; each of two dashboards has three", len(all))
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
	for _, c := range choices(t) {
		// As a query, what is summed by the label: it must be there.
		all = append(all, query{c.where, "sum by (" + c.label + ") (" + c.selection + ")"})
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

// fixedWindow is a range, or a window of a subquery, that does not follow the time that is shown.
var fixedWindow = regexp.MustCompile(`\[[^\]$][^\]]*\]`)

// totals are panels that say a total over a time in words, and so have a fixed one.
var totals = []string{
	"overview.json: Slow clients", // in the last hour
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
				for _, fixed := range fixedWindow.FindAllString(target.Expr, -1) {
					if !slices.Contains(totals, d.file+": "+p.Title) {
						t.Errorf("%s: %q looks at a fixed time, %s: %s", d.file, p.Title, fixed, target.Expr)
					}
				}
			}
		}
	}
}

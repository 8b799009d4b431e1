package readme

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubfleet/hubfleet/pkg/auth"
	"github.com/hubfleet/hubfleet/pkg/metrics"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md anew")

const (
	metricsDoc = "docs/metrics.md"
	begin, end = "<!-- generated: go test ./internal/readme -run TestMetricsDocument -update -->\n", "<!-- end -->\n"
)

// TestMetricsDocument holds docs/metrics.md to the one table of names, and to the registry for the values of labels.
func TestMetricsDocument(t *testing.T) {
	file := filepath.Join(root, metricsDoc)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no part that begins with %q and ends with %q", metricsDoc, begin, end)
	}
	want := head + begin + "\n" + metricsTable() + "\n" + labelTable(t) + "\n" + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, string(text)); diff != "" && !*update {
		t.Errorf("%s is not what the code has; write it anew with -update (-code +document):\n%s", metricsDoc, diff)
	}
}

// metricsTable is pkg/metrics' table in Markdown.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n")
	for _, n := range metrics.Names {
		name := "`" + n.Name + "`"
		if n.Backplane {
			name += " †"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, n.Kind, codeList(n.Labels), n.Help)
	}
	return b.String()
}

// open are the labels whose values are made by the program: by its hubs and their methods, and by its build.
var open = map[string]string{
	"hub":       "the names of the hubs",
	"method":    "the names of the hub's methods, and `_unknown`",
	"version":   "of the program",
	"revision":  "the commit it was built from",
	"goversion": "of the toolchain",
}

// labelTable lists for each metric and label the values that there are, as the registry has them before anything happens.
func labelTable(t *testing.T) string {
	m := metrics.New(metrics.Options{Backplane: true})
	m.Hub("ChatHub", []string{"SendMessage"})
	for _, reason := range auth.Reasons {
		m.AuthReasons(string(reason))
	}
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	type label struct{ metric, name string }
	values := make(map[label]map[string]bool)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				key := label{f.GetName(), l.GetName()}
				if values[key] == nil {
					values[key] = make(map[string]bool)
				}
				values[key][l.GetValue()] = true
			}
		}
	}
	var b strings.Builder
	b.WriteString("| Label | Of | Values |\n|---|---|---|\n")
	seen := make(map[string]string) // rows that say the same are one
	var rows []string
	for _, n := range metrics.Names {
		for _, name := range n.Labels {
			text, isOpen := open[name]
			of := "`" + n.Name + "`"
			if isOpen {
				of = "all"
			} else if text = codeList(slices.Sorted(maps.Keys(values[label{n.Name, name}]))); text == "" {
				t.Errorf("%s has no series before something happens, so that the first event would not show as an increase", n.Name)
			}
			key := name + " " + text
			if seen[key] == "" {
				rows = append(rows, key)
				seen[key] = of
			} else if !isOpen {
				seen[key] += ", " + of
			}
		}
	}
	for _, key := range rows {
		name, text, _ := strings.Cut(key, " ")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, seen[key], text)
	}
	return b.String()
}

func codeList(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

package observe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	dashboardFiles = "../../deploy/grafana/dashboards/*.json"
	rulesFile      = "../../deploy/prometheus/rules.yml"
	rulesTests     = "rules_test.yml"
	runbookFile    = "../../docs/RUNBOOK.md"
	provisioned    = "../../deploy/grafana/provisioning/datasources/tickfan.yml"
)

type dashboard struct {
	file string

	UID           string
	Title         string
	Tags          []string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Definition string
			Datasource       datasource
		}
	}
	Panels []panel
}

type datasource struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               datasource
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ RefID, Expr, LegendFormat string }
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob(dashboardFiles)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dashboardFiles, len(files), err)
	}
	for _, f := range files {
		d := dashboard{file: filepath.Base(f)}
		if err := json.Unmarshal(read(t, f), &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, d)
	}
	return all
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	readYAML(t, rulesFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no alerts", rulesFile)
	}
	return all
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, file), v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// words are the texts between two marks.
func words(text, begin, end string) (all []string) {
	for {
		_, rest, found := strings.Cut(text, begin)
		word, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return all
		}
		all, text = append(all, strings.TrimSpace(word)), after
	}
}

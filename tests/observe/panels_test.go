package observe

import (
	"slices"
	"strings"
	"testing"
)

// A panel without a word on what is normal is a picture.
func TestPanelsSayWhatIsNormal(t *testing.T) {
	var sources struct{ Datasources []struct{ UID, Type string } }
	readYAML(t, provisioned, &sources)
	known := func(d datasource) bool {
		return slices.ContainsFunc(sources.Datasources, func(s struct{ UID, Type string }) bool { return s.UID == d.UID && s.Type == d.Type })
	}
	uids := map[string]string{}
	for _, d := range dashboards(t) {
		if other := uids[d.UID]; other != "" || d.UID == "" || d.Title == "" || !slices.Contains(d.Tags, "tickfan") {
			t.Errorf("%s: uid %q (also of %q), title %q, tags %q", d.file, d.UID, other, d.Title, d.Tags)
		}
		uids[d.UID] = d.file
		// That of Grafana 11.6 to 13, the last of this form.
		if d.SchemaVersion != 42 {
			t.Errorf("%s: schemaVersion %d", d.file, d.SchemaVersion)
		}
		for _, v := range d.Templating.List {
			if !known(v.Datasource) {
				t.Errorf("%s: variable %s asks %+v, which is not provisioned", d.file, v.Name, v.Datasource)
			}
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			at := d.file + ": " + p.Title
			if ids[p.ID] || p.Title == "" {
				t.Errorf("%s: panel %d has no title, or another has its id", at, p.ID)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: lies on %q or beyond the edge", at, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Description) < 20 || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || !known(p.Datasource) {
				t.Errorf("%s: description %q, unit %q, %d queries, source %+v", at, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets), p.Datasource)
			}
		}
	}
}

func TestAlertsHaveTheirSection(t *testing.T) {
	const at = "https://github.com/tickfan/tickfan/blob/main/docs/RUNBOOK.md#"
	text := string(read(t, runbookFile))
	sections := words(text, "\n## ", "\n")
	names := map[string]bool{}
	for _, a := range alerts(t) {
		if names[a.Alert] {
			t.Errorf("%s is there twice", a.Alert)
		}
		names[a.Alert] = true
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) {
			t.Errorf("%s: labels %v, annotations %v", a.Alert, a.Labels, a.Annotations)
		}
		if url := a.Annotations["runbook_url"]; url != at+strings.ToLower(a.Alert) || !slices.Contains(sections, a.Alert) {
			t.Errorf("%s: runbook %s, section %v", a.Alert, url, slices.Contains(sections, a.Alert))
		}
	}
	for i, section := range sections {
		if !names[section] {
			t.Errorf("section %s is of no alert", section)
		}
		_, body, _ := strings.Cut(text, "\n## "+section+"\n")
		body, _, _ = strings.Cut(body, "\n## ")
		for _, part := range []string{"**Clients**:", "**Look**:", "**Do**:"} {
			if !strings.Contains(body, part) {
				t.Errorf("section %d, %s: no %s", i, section, part)
			}
		}
	}
}

// The runbook names panels in italics.
func TestRunbookNamesPanels(t *testing.T) {
	var titles []string
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			titles = append(titles, p.Title)
		}
	}
	text := strings.ReplaceAll(string(read(t, runbookFile)), "**", "")
	named := words(text, " *", "*")
	if len(named) < 10 {
		t.Errorf("only %d panels named: %q", len(named), named)
	}
	for _, name := range named {
		if !slices.Contains(titles, strings.Join(strings.Fields(name), " ")) {
			t.Errorf("no panel is named %q", name)
		}
	}
}

// promtool says whether rules_test.yml holds; this says whether each alert is in it.
func TestAlertsAreSeenFiring(t *testing.T) {
	var file struct {
		Tests []struct {
			Name string
			Expr []struct {
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, rulesTests, &file)
	fires := map[string]bool{}
	for _, test := range file.Tests {
		quiet := false
		for _, e := range test.Expr {
			quiet = quiet || len(e.Samples) == 0
			for _, s := range e.Samples {
				for _, name := range words(s.Labels, `alertname="`, `"`) {
					fires[name] = true
				}
			}
		}
		if !quiet {
			t.Errorf("%s: at no time nothing fires", test.Name)
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s has not been seen firing in %s", a.Alert, rulesTests)
		}
	}
}

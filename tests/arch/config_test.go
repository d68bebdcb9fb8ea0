package arch

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/services/dev"
	"github.com/tickfan/tickfan/services/edge"
	"github.com/tickfan/tickfan/services/ingest"
	"github.com/tickfan/tickfan/services/registry"
	"github.com/tickfan/tickfan/services/router"
	"github.com/tickfan/tickfan/services/tickctl"
)

var updateFlag = flag.Bool("update", false, "write the table of docs/CONFIG.md anew")

// What docs/CONFIG.md says of flags is what the commands read.
func TestConfigTable(t *testing.T) {
	const (
		file       = "../../docs/CONFIG.md"
		begin, end = "<!-- Made by make config from the commands' own flags. -->\n", "<!-- end -->\n"
	)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, tail, found := bytes.Cut(rest, []byte(end))
	if !ok || !found {
		t.Fatalf("%s: no place for the table, between %q and %q", file, begin, end)
	}
	want := slices.Concat(head, []byte(begin), configTable(everySetting(t)), []byte(end), tail)
	switch {
	case bytes.Equal(text, want):
	case *updateFlag:
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the commands read: run make config, and look at what changed", file)
	}
}

// everySetting gives the flags of all commands that the repository has.
func everySetting(t *testing.T) []conf.Setting {
	t.Helper()
	services := []struct {
		name     string
		settings func() ([]conf.Setting, error)
	}{
		{"ingest", func() ([]conf.Setting, error) { return conf.Settings("ingest", &ingest.Config{}, ingest.Defaults()) }},
		{"router", func() ([]conf.Setting, error) { return conf.Settings("router", &router.Config{}, router.Defaults()) }},
		{"registry", func() ([]conf.Setting, error) {
			return conf.Settings("registry", &registry.Config{}, registry.Defaults())
		}},
		{"edge", func() ([]conf.Setting, error) { return conf.Settings("edge", &edge.Config{}, edge.Defaults()) }},
		{"dev", func() ([]conf.Setting, error) { return conf.Settings("dev", &dev.Config{}, dev.Defaults()) }},
		{"tickctl", tickctl.Settings},
	}
	var all []conf.Setting
	listed := map[string]bool{}
	for _, s := range services {
		some, err := s.settings()
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			t.Errorf("%s has no flags", s.name)
		}
		all = append(all, some...)
		listed[path.Join("services", s.name, "cmd", s.name)] = true
	}
	for _, f := range repository(t).product() {
		if f.in("services") && f.Name.Name == "main" && !listed[f.dir] {
			t.Errorf("the table of flags lacks the command in %s", f.dir)
		}
	}
	return all
}

// configTable has a row for each flag; commands whose flag of a name has the same text share one.
func configTable(all []conf.Setting) []byte {
	type row struct {
		conf.Setting
		commands, defaults []string
	}
	var rows []*row
	for _, s := range all {
		i := slices.IndexFunc(rows, func(r *row) bool {
			return r.Flag == s.Flag && r.Variable == s.Variable && r.Help == s.Help
		})
		if i < 0 {
			i, rows = len(rows), append(rows, &row{Setting: s})
		}
		rows[i].commands = append(rows[i].commands, s.Command)
		rows[i].defaults = append(rows[i].defaults, s.Default)
	}
	var b bytes.Buffer
	fmt.Fprint(&b, "| flag | variable | of | default | |\n|---|---|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(r.Flag), code(r.Variable), strings.Join(r.commands, ", "),
			defaultCell(r.commands, r.defaults), escape.Replace(r.Help))
	}
	return b.Bytes()
}

// defaultCell is the default that the first command shares with others, then each other one.
func defaultCell(commands, defaults []string) string {
	common := defaults[0]
	if len(defaults) > 1 && !slices.Contains(defaults[1:], common) {
		common = ""
	}
	var each []string
	if common != "" {
		each = append(each, code(common))
	}
	for i, d := range defaults {
		if d != common {
			each = append(each, commands[i]+": "+code(d))
		}
	}
	return strings.Join(each, ", ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

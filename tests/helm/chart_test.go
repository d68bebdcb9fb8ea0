//go:build helm

package helm

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/services/edge"
	"github.com/tickfan/tickfan/services/ingest"
	"github.com/tickfan/tickfan/services/registry"
	"github.com/tickfan/tickfan/services/router"
)

var renderedFlag = flag.String("rendered", "", "folder of rendered charts, a file for each")

func TestMain(m *testing.M) { natstest.Main(m) }

// rendered gives the manifests of each rendered chart, by its file's name.
func rendered(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(*renderedFlag, "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files in %q (%v): run make helm", len(files), *renderedFlag, err)
	}
	all := map[string][]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = strings.Split(string(text), "\n---\n")
	}
	return all
}

var (
	imageLine    = regexp.MustCompile(`(?m)^ +image: "tickfan/([a-z]+):[^"]+"$`)
	argumentLine = regexp.MustCompile(`(?m)^ +- "(--[^"]+)"$`)
	variableName = regexp.MustCompile(`(?m)- name: (TICKFAN_[A-Z_]+)`)
	metricName   = regexp.MustCompile(`metric: {name: ([a-z_]+)}`)
	graceLine    = regexp.MustCompile(`(?m)^ +terminationGracePeriodSeconds: ([0-9]+)`)
	nonRoot      = regexp.MustCompile(`(?s)enableServiceLinks: false.*runAsNonRoot: true.*readOnlyRootFilesystem: true`)
)

// What an edge's end takes besides the drain.
const (
	preStop = 5 * time.Second
	ending  = 10 * time.Second
)

func TestServicesTakeTheirFlags(t *testing.T) {
	for chart, manifests := range rendered(t) {
		var found []string
		for _, m := range manifests {
			image := imageLine.FindStringSubmatch(m)
			if image == nil {
				continue
			}
			service := image[1]
			found = append(found, service)
			args := []string{"--nats=nats://nats:4222"} // comes from a variable
			for _, line := range argumentLine.FindAllStringSubmatch(m, -1) {
				args = append(args, strings.ReplaceAll(line[1], "$(POD_IP)", "10.0.0.1"))
			}
			if len(args) < 4 {
				t.Errorf("%s: %s has the flags %q alone: are they rendered in another form?", chart, service, args)
			}
			cfg, err := parse(service, args)
			if err != nil {
				t.Errorf("%s: %s %q: %v", chart, service, args, err)
				continue
			}
			var environ []string
			for _, v := range variableName.FindAllStringSubmatch(m, -1) {
				environ = append(environ, v[1]+"=x")
			}
			if err := conf.UnknownEnv(environ, cfg); err != nil || !slices.Contains(environ, "TICKFAN_NATS=x") {
				t.Errorf("%s: %s has the variables %q: %v", chart, service, environ, err)
			}
			if _, port, _ := net.SplitHostPort(cfg.CommonConfig().Ops); !strings.Contains(m, "{name: ops, containerPort: "+port+"}") {
				t.Errorf("%s: %s serves ops on %s, and its Pod says another port", chart, service, port)
			}
			if e, ok := cfg.(*edge.Config); ok {
				grace, err := strconv.Atoi(graceLine.FindStringSubmatch(m)[1])
				if err != nil || time.Duration(grace)*time.Second < preStop+e.DrainTimeout+ending {
					t.Errorf("%s: the edge is killed after %d s and drains for %s (%v)", chart, grace, e.DrainTimeout, err)
				}
			}
			if !nonRoot.MatchString(m) {
				t.Errorf("%s: %s lacks service links off, no root, or a root folder to read alone", chart, service)
			}
		}
		want := []string{"registry", "router", "edge", "ingest"}
		if chart == "region" {
			want = want[:3] // prices are stamped at home
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s runs %q, want %q", chart, found, want)
		}
	}
}

func parse(service string, args []string) (daemon.Config, error) {
	var cfg daemon.Config
	var vars map[string]string
	switch service {
	case "ingest":
		cfg, vars = &ingest.Config{}, ingest.Defaults()
	case "router":
		cfg, vars = &router.Config{}, router.Defaults()
	case "registry":
		cfg, vars = &registry.Config{}, registry.Defaults()
	case "edge":
		cfg, vars = &edge.Config{}, edge.Defaults()
	}
	_, err := conf.Parse(service, "", cfg, args, vars)
	return cfg, err
}

// What the chart gives Prometheus and Grafana are the files that docker-compose.yml gives them.
func TestRulesAndDashboardsAreThose(t *testing.T) {
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	chart := strings.Join(rendered(t)["production"], "\n---\n")
	for _, file := range append(files, "../../deploy/prometheus/rules.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for line := range strings.Lines(string(text)) {
			n := strings.Index(chart[at:], strings.TrimSpace(line))
			if n < 0 {
				t.Errorf("%s: not in the chart for production: %s", file, line)
				break
			}
			at += n
		}
	}
}

// An autoscaler that asks for what is not there scales nothing, and says so only to who looks.
func TestEdgesCountWhatTheAutoscalerAsksFor(t *testing.T) {
	code, err := os.ReadFile("../../services/edge/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for chart, manifests := range rendered(t) {
		for _, name := range metricName.FindAllStringSubmatch(strings.Join(manifests, "\n"), -1) {
			found = true
			if !strings.Contains(string(code), `gauge("`+strings.ReplaceAll(name[1], "_", ".")+`", "{connection}"`) {
				t.Errorf("%s: the edge has no gauge %s", chart, name[1])
			}
		}
	}
	if !found {
		t.Error("no chart asks for a metric: is it rendered in another form?")
	}
}

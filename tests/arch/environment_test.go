package arch

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/services/dev"
	"github.com/tickfan/tickfan/services/edge"
	"github.com/tickfan/tickfan/services/ingest"
	"github.com/tickfan/tickfan/services/registry"
	"github.com/tickfan/tickfan/services/router"
)

// One environment may be given to all of Tickfan: what one service or tickctl reads, none refuses. And nothing passes as
// a setting that nobody reads.
func TestEnvironment(t *testing.T) {
	configs := map[string]any{
		"dev": &dev.Config{}, "edge": &edge.Config{}, "ingest": &ingest.Config{}, "registry": &registry.Config{}, "router": &router.Config{},
	}
	read := map[string]bool{}
	for _, cfg := range configs {
		for _, name := range conf.Env(cfg) {
			read[name] = true
		}
	}
	for _, name := range tickctlEnvironment(t) {
		read[name] = true
	}
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		environ = append(environ, name+"=x")
	}
	for _, service := range slices.Sorted(maps.Keys(configs)) {
		if err := conf.UnknownEnv(environ, configs[service]); err != nil {
			t.Errorf("%s refuses what others read, which libs/conf should list as Elsewhere:\n%v", service, err)
		}
	}

	listed := conf.Elsewhere()
	common := conf.Env(&struct {
		conf.Common `embed:""`
	}{})
	for i, name := range listed {
		switch {
		case !read[name]:
			t.Errorf("libs/conf lists %s, which nobody reads", name)
		case slices.Contains(common, name):
			t.Errorf("libs/conf lists %s, which every service has", name)
		case i > 0 && listed[i-1] >= name:
			t.Errorf("libs/conf lists %s out of order", name)
		}
	}
}

var variable = regexp.MustCompile(`TICKFAN_[A-Z0-9_]+`)

// tickctlEnvironment gives the variables in the tags of tickctl's flags. Its settings are no Config.
func tickctlEnvironment(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, f := range repository(t).product() {
		if !f.in("services/tickctl") {
			continue
		}
		for tag := range f.tags() {
			all = append(all, variable.FindAllString(reflect.StructTag(strings.Trim(tag, "`")).Get("env"), -1)...)
		}
	}
	if len(all) == 0 {
		t.Fatal("no variable found in the flags of tickctl")
	}
	return all
}

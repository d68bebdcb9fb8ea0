package arch

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// sources is a small repository.
type sources map[string]string

func (s sources) load(t *testing.T) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range s {
		fsys[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "TOP", top))}
	}
	parsed, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// Each rule finds what breaks it, where it is broken, and nothing in what only looks like it.
var cases = []struct {
	rule   string
	broken sources
	faults []string // how the faults found in broken begin, in their order
	fine   sources
}{{
	rule: "ProtoImportsLittle",
	broken: sources{
		"proto/tick/a.go":      "package tick\nimport \"TOP/libs/conf\"",
		"proto/tick/a_test.go": "package tick\nimport \"github.com/nats-io/nats.go\"",
		"proto/wire/a.go":      "package wire\nimport \"TOP/protocol\"",
	},
	faults: []string{"proto/tick/a.go:2: imports TOP/libs/conf", "proto/tick/a_test.go:2:", "proto/wire/a.go:2:"},
	fine: sources{
		"proto/tick/a.go": "package tick\nimport (\n\"encoding/json\"\n\"github.com/vmihailenco/msgpack/v5\"\n\"TOP/proto/wire\"\n)",
		"libs/bus/a.go":   "package bus\nimport \"github.com/nats-io/nats.go\"",
	},
}, {
	rule: "SDKImportsLittle",
	broken: sources{
		"libs/sdk/go/a.go": "package tickfan\nimport (\n\"TOP/libs/conf\"\n\"go.uber.org/goleak\"\n\"github.com/nats-io/nats.go\"\n)",
	},
	faults: []string{"libs/sdk/go/a.go:3:", "libs/sdk/go/a.go:4:", "libs/sdk/go/a.go:5:"},
	fine: sources{
		"libs/sdk/go/a.go":      "package tickfan\nimport (\n\"net\"\n\"github.com/lxzan/gws\"\n\"TOP/proto/session\"\n)",
		"libs/sdk/go/a_test.go": "package tickfan_test\nimport (\n\"TOP/libs/sdk/go\"\n\"go.uber.org/goleak\"\n)",
	},
}, {
	rule:   "LibsKnowNoService",
	broken: sources{"libs/ops/a_test.go": "package ops\nimport _ \"TOP/services/edge\""},
	faults: []string{"libs/ops/a_test.go:2:"},
	fine:   sources{"libs/ops/a.go": "package ops\nimport \"TOP/libs/conf\""},
}, {
	rule: "ServicesKnowNoOther",
	broken: sources{
		"services/edge/a.go":              "package edge\nimport \"TOP/services/router\"",
		"services/router/internal/x/a.go": "package x\nimport \"TOP/services/registry/internal/store\"",
		"services/dev/a.go":               "package dev\nimport \"TOP/services/tickctl\"",
		"services/tickctl/a.go":           "package tickctl\nimport \"TOP/services/dev\"",
	},
	faults: []string{"services/dev/a.go:2:", "services/edge/a.go:2:", "services/router/internal/x/a.go:2:", "services/tickctl/a.go:2:"},
	fine: sources{
		"services/edge/cmd/edge/a.go": "package main\nimport (\n\"TOP/services/edge\"\n\"TOP/libs/daemon\"\n)",
		"services/dev/a.go":           "package dev\nimport (\n\"TOP/services/edge\"\n\"TOP/services/registry\"\n)",
		"services/tickctl/a.go":       "package tickctl\nimport (\n\"TOP/libs/bus\"\n\"TOP/libs/sdk/go\"\n\"TOP/proto/tick\"\n)",
	},
}, {
	rule: "NothingKnowsTheTests",
	broken: sources{
		"services/edge/a_test.go": "package edge\nimport \"TOP/tests/stack\"",
	},
	faults: []string{"services/edge/a_test.go:2:"},
	fine:   sources{"tests/e2e/a_test.go": "package e2e\nimport \"TOP/tests/stack\""},
}, {
	rule:   "NoDotImports",
	broken: sources{"services/edge/a.go": "package edge\nimport . \"github.com/nats-io/nats.go\""},
	faults: []string{"services/edge/a.go:2:"},
	fine:   sources{"services/edge/a.go": "package edge\nimport _ \"embed\""},
}, {
	rule:   "OnlyNatsdHasTheServer",
	broken: sources{"services/dev/a.go": "package dev\nimport \"github.com/nats-io/nats-server/v2/server\""},
	faults: []string{"services/dev/a.go:2:"},
	fine:   sources{"libs/natsd/a.go": "package natsd\nimport \"github.com/nats-io/nats-server/v2/server\""},
}, {
	rule: "DevOnlyRuns",
	broken: sources{
		"services/dev/a.go": "package dev\nimport e \"TOP/services/edge\"\nvar x = e.NewServer()",
	},
	faults: []string{"services/dev/a.go:3: e.NewServer"},
	fine: sources{
		"services/dev/a.go": "package dev\nimport \"TOP/services/edge\"\nvar x = edge.Run\ntype c struct { edge.Options; d edge.Config; e edge.Deps }",
	},
}, {
	rule: "OnlyBusDials",
	broken: sources{
		"services/edge/a.go": "package edge\nimport \"github.com/nats-io/nats.go\"\nfunc f() { nats.Connect(\"\") }",
		"libs/ops/a.go":      "package ops\nimport n \"github.com/nats-io/nats.go\"\nfunc f() { n.Options{}.Connect() }",
		"libs/ops/b.go":      "package ops\nimport \"github.com/nats-io/nats.go\"\nfunc g() { nats.GetDefaultOptions() }",
	},
	faults: []string{"libs/ops/a.go:3: n.Options", "libs/ops/b.go:3:", "services/edge/a.go:3: nats.Connect"},
	fine: sources{
		"libs/bus/a.go":           "package bus\nimport \"github.com/nats-io/nats.go\"\nfunc f() { nats.Connect(\"\") }",
		"services/edge/a.go":      "package edge\nimport (\n\"github.com/nats-io/nats.go\"\n\"TOP/libs/bus\"\n)\nfunc f(nc *nats.Conn) { bus.Connect() }",
		"services/edge/a_test.go": "package edge\nimport \"github.com/nats-io/nats.go\"\nfunc g() { nats.Connect(\"\") }",
	},
}, {
	rule: "OnlyEdgeUpgrades",
	broken: sources{
		"services/ingest/a.go": "package ingest\nimport \"github.com/lxzan/gws\"\nfunc f() { gws.NewUpgrader(nil, nil); gws.NewServer(nil, nil) }",
	},
	faults: []string{"services/ingest/a.go:3: gws.NewUpgrader", "services/ingest/a.go:3: gws.NewServer"},
	fine: sources{
		"services/ingest/a.go":          "package ingest\nimport \"github.com/lxzan/gws\"\nfunc f() { gws.NewClient(nil, nil) }",
		"services/edge/internal/x/a.go": "package x\nimport \"github.com/lxzan/gws\"\nfunc f() { gws.NewUpgrader(nil, nil) }",
	},
}, {
	rule: "OneWriterPerStore",
	broken: sources{
		"services/registry/a.go": "package registry\nimport \"TOP/proto/subject\"\nvar x = subject.KVLeader",
		"services/ingest/a.go":   "package ingest\nimport \"TOP/proto/subject\"\nvar x, y = subject.KVEdges, subject.KVInterest",
		"services/router/a.go":   "package router\nimport \"github.com/nats-io/nats.go/jetstream\"\nvar x jetstream.KeyValue",
		"services/router/b.go":   "package router\nfunc f(js js) { js.CreateOrUpdateStream(); js.Stream().Purge() }",
		"services/edge/a.go":     "package edge\nconst x = \"$KV.INTEREST.\"",
		"libs/interest/a.go":     "package interest\nconst x = \"INTEREST\"",
	},
	faults: []string{
		"libs/interest/a.go:2: \"INTEREST\"", "services/edge/a.go:2: \"$KV.INTEREST.\"", "services/ingest/a.go:3: KVEdges", "services/ingest/a.go:3: KVInterest",
		"services/registry/a.go:3: KVLeader", "services/router/a.go:3: KeyValue", "services/router/b.go:2: CreateOrUpdateStream", "services/router/b.go:2: Purge",
	},
	fine: sources{
		"libs/interest/a.go":     "package interest\nimport \"TOP/proto/subject\"\nvar x = subject.KVInterest",
		"libs/kvview/a.go":       "package kvview\nconst x = \"$KV.\"",
		"libs/ops/a.go":          "package ops\nimport \"go.opentelemetry.io/otel/attribute\"\nvar x attribute.KeyValue",
		"services/ingest/a.go":   "package ingest\nimport \"TOP/proto/subject\"\nfunc f() { js.CreateKeyValue(subject.KVLeader); js.CreateStream(subject.StreamTicks) }",
		"services/registry/a.go": "package registry\nimport \"TOP/proto/subject\"\nfunc f() { js.CreateKeyValue(subject.KVEdges) }",
		"proto/subject/a.go":     "package subject\nconst KVLeader = \"LEADER\"",
	},
}, {
	rule: "PackagesAreDescribed",
	broken: sources{
		"libs/a/a.go":             "package a",
		"libs/b/doc.go":           "package b",
		"libs/c/doc.go":           "// Pakage c is.\npackage c",
		"libs/d/doc.go":           "// Package d is.\npackage d",
		"libs/d/d.go":             "// Package d is again.\npackage d",
		"services/e/cmd/e/a.go":   "// Runs e.\npackage main",
		"tests/only/only_test.go": "package only",
	},
	faults: []string{"libs/a: no doc.go", "libs/b:", "libs/c:", "libs/d/d.go:1:", "services/e/cmd/e: no comment", "tests/only:"},
	fine: sources{
		"libs/d/doc.go":            "// Package d is.\npackage d",
		"libs/d/d_test.go":         "package d_test",
		"services/e/cmd/e/main.go": "// Command e runs it.\npackage main",
	},
}, {
	rule:   "PackagesAreNamed",
	broken: sources{"libs/util/a.go": "package util"},
	faults: []string{"libs/util/a.go:1:"},
	fine:   sources{"libs/bus/a.go": "package bus"},
}, {
	rule:   "FilesAreShort",
	broken: sources{"libs/bus/a.go": "package bus\n" + strings.Repeat("\n", mostLines)},
	faults: []string{"libs/bus/a.go: 701 lines"},
	fine:   sources{"libs/bus/a.go": "package bus\n" + strings.Repeat("\n", mostLines-1)},
}, {
	rule:   "NoInit",
	broken: sources{"services/edge/a.go": "package edge\nfunc init() {}"},
	faults: []string{"services/edge/a.go:2:"},
	fine:   sources{"services/edge/a.go": "package edge\nfunc (x) init() {}"},
}, {
	rule: "NoPackageState",
	broken: sources{
		"libs/a/a.go": `package a
import ("net/http"; "sync")
var unset int
var lock = sync.Mutex{}
var made = map[string]int{}
var filled = make([]int, 3)
var events = (chan int)(nil)
var table = [2]int{1, 2}
var count = 1
var ready, other = 1, 2
func f() {
	table[1]++
	count += 1
	g(&ready)
	http.DefaultClient = nil
}`,
		"libs/a/b.go":      "package a\nfunc h() {\n delete(made, \"\")\n}",
		"libs/a/b_test.go": "package a\nfunc i() {\n other = 1\n}",
	},
	faults: []string{
		"libs/a/a.go:3: unset has no value", "libs/a/a.go:4: lock holds", "libs/a/a.go:6: filled is made empty", "libs/a/a.go:7: events is a channel",
		"libs/a/a.go:12: changes table", "libs/a/a.go:13: changes count", "libs/a/a.go:14: changes ready", "libs/a/a.go:15: changes a variable of package http",
		"libs/a/b.go:3: changes made", "libs/a/b_test.go:3: changes other",
	},
	fine: sources{
		"libs/a/a.go": `package a
import ("embed"; "errors"; "net/http")
var errOdd = errors.New("odd")
var files embed.FS
var table = map[string]int{"a": 1}
var sizes = func() (t [3]int) { t[1] = 2; return t }()
var _ http.Handler = (*handler)(nil)
func f(http handler) {
	table := map[string]int{}
	table["b"] = 2
	http.client = 1
	for errOdd := range g() { errOdd = nil }
}`,
		"libs/a/a_test.go": "package a\nvar flag bool\nfunc g() { flag = true }",
	},
}, {
	rule: "PricesAreNoFloats",
	broken: sources{
		"proto/tick/a.go": "package tick\nimport \"strconv\"\ntype price float64\nvar x = strconv.ParseFloat",
		"services/ingest/internal/source/coinbase/a.go": "package coinbase\nvar x float32",
	},
	faults: []string{"proto/tick/a.go:3: float64", "proto/tick/a.go:4: ParseFloat", "services/ingest/internal/source/coinbase/a.go:2: float32"},
	fine: sources{
		"services/ingest/internal/source/generator/a.go": "package generator\nvar x float64",
		"proto/tick/a_test.go":                           "package tick\nvar x float64",
	},
}, {
	rule: "OnlyMainExits",
	broken: sources{
		"libs/a/a.go": "package a\nimport (\n\"log\"\n\"os\"\n)\nfunc f() {\n os.Exit(1)\n log.Fatalf(\"\")\n}",
	},
	faults: []string{"libs/a/a.go:7:", "libs/a/a.go:8:"},
	fine:   sources{"services/a/cmd/a/main.go": "package main\nimport \"os\"\nfunc main() { os.Exit(1) }"},
}, {
	rule: "TestsDoNotSleep",
	broken: sources{
		"libs/a/a_test.go":   "package a\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }",
		"libs/a/b_test.go":   "package a\nimport (\n\"testing/synctest\"\nclock \"time\"\n)\nfunc g() {\n synctest.Test(t, func(t) { })\n clock.Sleep(1)\n}",
		"tests/stack/run.go": "package stack\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }",
	},
	faults: []string{"libs/a/a_test.go:3:", "libs/a/b_test.go:8:", "tests/stack/run.go:3:"},
	fine: sources{
		"libs/a/a.go":      "package a\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }",
		"libs/a/b_test.go": "package a\nimport (\n\"testing/synctest\"\nclock \"time\"\n)\nfunc g() {\n synctest.Test(t, func(t *T) { go func() { clock.Sleep(1) }() })\n}",
	},
}, {
	rule: "LeaksAreFound",
	broken: sources{
		"libs/a/a.go":      "package a\nfunc f() { go g() }",
		"libs/a/a_test.go": "package a\nfunc TestMain(m *testing.M) { m.Run() }",
		"libs/b/b_test.go": "package b\nfunc f() { group.Go(g) }",
	},
	faults: []string{"libs/a/a.go:2:", "libs/b/b_test.go:2:"},
	fine: sources{
		"libs/a/a.go":      "package a\nfunc f() { go g() }",
		"libs/a/a_test.go": "package a_test\nimport \"TOP/libs/natstest\"\nfunc TestMain(m *testing.M) { natstest.Main(m) }",
		"libs/b/b.go":      "package b\nfunc f() { go g() }",
	},
}, {
	rule: "ModulesAgree",
	broken: sources{
		"go.work":           "go 1.26.0\nuse (\n.\n./proto\n./gone\n./tests/compose/tools/x\n)",
		"go.mod":            "module TOP\ngo 1.26.0\nrequire TOP/proto v0.1.0\nreplace TOP/proto => ./libs",
		"proto/go.mod":      "module TOP/proto\ngo 1.25.0",
		"tests/go.mod":      "module TOP/test\ngo 1.26.0\ntoolchain go1.26.1",
		"libs/sdk/x/go.mod": "module TOP/libs/sdk/x",

		"tests/compose/tools/x/go.mod": "module TOP/tests/compose/tools/x\ngo 1.26.0",
	},
	faults: []string{
		"go.mod: requires TOP/proto v0.1.0", "go.mod: no replace of TOP/proto", "libs/sdk/x/go.mod: not in go.work", "libs/sdk/x/go.mod: no module or go line",
		"proto/go.mod: go 1.25.0", "tests/compose/tools/x/go.mod: in go.work", "tests/go.mod: not in go.work", "tests/go.mod: go 1.26.0", "tests/go.mod: module TOP/test", "go.work: uses gone",
	},
	fine: sources{
		"go.work":            "go 1.26.0\nuse (\n.\n./proto\n./libs/sdk/go\n)",
		"go.mod":             "module TOP\ngo 1.26.0\nrequire TOP/proto v0.0.0\nreplace TOP/proto => ./proto",
		"proto/go.mod":       "module TOP/proto\ngo 1.26.0",
		"libs/sdk/go/go.mod": "module TOP/libs/sdk/go\ngo 1.26.0\nrequire TOP/proto v0.0.0\nreplace TOP/proto => ../../../proto",

		"tests/compose/tools/x/go.mod": "module TOP/tests/compose/tools/x\ngo 1.26.0",
	},
}}

func TestRulesFindWhatBreaksThem(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			tried := false
			for _, c := range cases {
				if c.rule != r.name {
					continue
				}
				tried = true
				got := r.check(c.broken.load(t))
				if !slices.EqualFunc(got, c.faults, func(got, want string) bool {
					return strings.HasPrefix(got, strings.ReplaceAll(want, "TOP", top))
				}) {
					t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.faults, "\n\t"))
				}
				if got := r.check(c.fine.load(t)); len(got) > 0 {
					t.Errorf("nothing is wrong, but found\n\t%s", strings.Join(got, "\n\t"))
				}
			}
			if !tried {
				t.Error("nobody has tried to break it: add a case")
			}
		})
	}
}

package tickctl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
)

func TestEdges(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() { local.edges[1].Draining = true })
	t.Setenv("TICKFAN_NATS", local.URL())
	code, out, err := run(t, "", "edges")
	lines := strings.Split(out, "\n")
	if code != exitDone || err != "" || len(lines) != 4 ||
		!strings.HasPrefix(lines[0], "EDGE           ADDRESS        CONNECTIONS  CAPACITY  FULL  BUCKETS  SYMBOLS  STATE ") ||
		!strings.HasPrefix(lines[1], "edge-a-ab12cd  10.0.0.7:8080          250      1000   25%        1       40  open ") ||
		!strings.HasPrefix(lines[2], "edge-b-ef34gh  10.0.0.8:8080           50      1000    5%        1        2  draining ") {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	code, out, err = run(t, "", "edges", "--json")
	var answer control.EdgesAnswer
	if code != exitDone || err != "" || json.Unmarshal([]byte(out), &answer) != nil || len(answer.Edges) != 2 || answer.Edges[0].Connections != 250 {
		t.Errorf("code %d, err %q, out %s", code, err, out)
	}
	local.change(func() { local.edges = nil })
	if code, out, _ := run(t, "", "edges"); code != exitDone || out != "region local has no edge\n" {
		t.Errorf("none: code %d, out %q", code, out)
	}
}

func TestBuckets(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() { local.edges, local.buckets[1].Leased = local.edges[:1], false })
	t.Setenv("TICKFAN_NATS", local.URL())
	code, out, err := run(t, "", "buckets")
	const want = `BUCKET           CONNECTIONS  SYMBOLS  EVERY  CHANGES  LEASE
edge-a-ab12cd-0          250       40      1       12  yes
edge-b-ef34gh-0            -        2      0        3  no: its edge is dead
`
	if code != exitDone || err != "" || out != want {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	code, out, err = run(t, "", "buckets", "--json")
	if code != exitDone || err != "" || !strings.HasPrefix(out, `{"buckets":[{"bucket":"edge-a-ab12cd-0","number":12,"symbols":40,"every":1,"leased":true},`) {
		t.Errorf("code %d, err %q, out %s", code, err, out)
	}
	local.change(func() { local.buckets = nil })
	if code, out, _ := run(t, "", "buckets"); code != exitDone || out != "region local has no bucket that wants a symbol\n" {
		t.Errorf("none: code %d, out %q", code, out)
	}
}

// Where registries of several regions answer, one has to be named.
func TestRegionIsFound(t *testing.T) {
	local := newRegion(t, "local")
	local.serve(t, "eu")
	code, _, err := run(t, "", "edges", "--nats", local.URL())
	if code != exitFault || !strings.Contains(err, "registries of the regions eu, local answer here; name one with --region") {
		t.Errorf("code %d, err %q", code, err)
	}
	for _, args := range [][]string{{"edges"}, {"buckets"}} {
		if code, out, err := run(t, "", append(args, "--nats", local.URL(), "--region", "eu")...); code != exitDone || !strings.Contains(out, string(edgeA)) {
			t.Errorf("%v: code %d, err %q, out %q", args, code, err, out)
		}
	}
	if code, _, err := run(t, "", "edges", "--nats", local.URL(), "--region", "EU"); code != exitFault || !strings.Contains(err, "bad_region") {
		t.Errorf("code %d, err %q", code, err)
	}
	if code, _, err := run(t, "", "edges", "--nats", local.URL(), "--region", "us"); code != exitFault ||
		!strings.Contains(err, "no registry answered on registry.us.edges; is registry or dev running") {
		t.Errorf("code %d, err %q", code, err)
	}
}

// Without a registry, or without NATS, each command says so in one line.
func TestNobodyAnswers(t *testing.T) {
	server := natstest.Start(t)
	commands := [][]string{{"edges"}, {"buckets"}, {"symbol", "BTC-USD"}, {"drain", "edge-ab12cd"}, {"top"}}
	for _, args := range commands {
		code, out, err := run(t, "", append(args, "--nats", server.URL(), "--timeout", "2s")...)
		if code != exitFault || out != "" || strings.Count(err, "\n") != 1 || !strings.Contains(err, "no registry answered at "+server.URL()+"; is registry or dev running, and connected there?") {
			t.Errorf("%v: code %d, out %q, err %q", args, code, out, err)
		}
	}
	server.Stop()
	for _, args := range commands {
		code, out, err := run(t, "", append(args, "--nats", server.URL(), "--timeout", "50ms")...)
		if code != exitFault || out != "" || strings.Count(err, "\n") != 1 || !strings.Contains(err, "is nats-server or dev running there?") {
			t.Errorf("%v: code %d, out %q, err %q", args, code, out, err)
		}
	}
}

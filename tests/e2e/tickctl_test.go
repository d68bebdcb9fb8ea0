package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/tests/stack"
)

// tickctl is an operator's command, run to its end.
type tickctl struct {
	t    *testing.T
	nats string
}

func (c *tickctl) run(args ...string) (code int, out, faults string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, programs.Path("tickctl"), args...)
	cmd.Env = append(os.Environ(), "TICKFAN_NATS="+c.nats)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		c.t.Fatalf("tickctl %v: %v", args, err)
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "tickctl: ") {
			c.t.Errorf("tickctl %v has a fault of more than a line:\n%s", args, &stderr)
		}
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// says is what a command that does its work prints.
func (c *tickctl) says(args ...string) string {
	c.t.Helper()
	code, out, faults := c.run(args...)
	if code != 0 || faults != "" {
		c.t.Errorf("tickctl %v: exit code %d, %s", args, code, faults)
	}
	return out
}

// json is the same with --json, of one document.
func (c *tickctl) json(to any, args ...string) {
	c.t.Helper()
	out := strings.TrimSpace(c.says(append(args, "--json")...))
	if err := json.Unmarshal([]byte(out), to); err != nil {
		c.t.Fatalf("tickctl %v: %v:\n%s", args, err, out)
	}
}

// regionStatus is what this test reads of `status --json`.
type regionStatus struct {
	Region                                string
	Servers                               []struct{ Version string }
	Registries                            []struct{ ID, Version string }
	Routers                               []struct{ Ready bool }
	Edges, Buckets, Connections, Capacity int
	Home, JetStream                       bool
	Leader                                string
	Epoch                                 uint64
	Beat                                  int64 `json:"beat_age_ms"`
	Lag                                   int64 `json:"lag_ms"`
}

// TestTickctl: an operator sees what runs, drains an edge, and is told what is wrong.
func TestTickctl(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctl := &tickctl{t, s.NATS.URL()}
	pub := publish(t, s, "PUB-USD")
	client := dial(t, "client", tickfan.Compact, s.Edges[0], s.Edges[1])
	client.subscribe([]string{"PUB-USD", "BTC-USD"}, tickfan.Every())
	var answer control.IngestAnswer
	ctl.json(&answer, "pub", "BTC-USD", "64123.51")
	if !answer.OK {
		t.Errorf("pub: %+v", answer)
	}

	look := func() (r regionStatus) { // nothing, where something is wrong: a busy machine may be late
		t.Helper()
		var report struct{ Regions []regionStatus }
		if code, out, _ := ctl.run("status", "--json"); code == 0 && json.Unmarshal([]byte(out), &report) == nil && len(report.Regions) == 1 {
			r = report.Regions[0]
		}
		return r
	}
	var now regionStatus
	natstest.Eventually(t, patience, func() bool { now = look(); return now.Connections == 1 && now.Lag >= 0 }, "status shows the client and the lag")
	if now.Region != "local" || len(now.Servers) != 1 || now.Servers[0].Version == "" || len(now.Registries) != 1 || now.Registries[0].Version == "" ||
		len(now.Routers) != 1 || !now.Routers[0].Ready || now.Edges != 2 || now.Buckets != 1 || now.Capacity == 0 || !now.Home || !now.JetStream ||
		!strings.HasPrefix(now.Leader, "ingest-") || now.Epoch != answer.Epoch || now.Beat < 0 {
		t.Errorf("status: %+v", now)
	}
	natstest.Eventually(t, patience, func() bool {
		code, out, _ := ctl.run("status")
		return code == 0 && strings.Contains(out, now.Leader)
	}, "status shows who leads, as a table")

	var leases control.EdgesAnswer
	ctl.json(&leases, "edges")
	if len(leases.Edges) != 2 || !strings.HasPrefix(string(leases.Edges[0].Edge), "edge-a-") || leases.Edges[0].Connections != 1 || leases.Edges[0].Address != s.Edges[0].Address() {
		t.Fatalf("edges: %+v", leases)
	}
	edge := string(leases.Edges[0].Edge)
	if out := ctl.says("edges"); !strings.Contains(out, edge) || strings.Count(out, " open ") != 2 {
		t.Errorf("edges:\n%s", out)
	}
	var wanted control.BucketsAnswer
	ctl.json(&wanted, "buckets")
	if len(wanted.Buckets) != 1 || string(wanted.Buckets[0].Bucket.Edge()) != edge || wanted.Buckets[0].Symbols != 2 || !wanted.Buckets[0].Leased {
		t.Errorf("buckets: %+v", wanted)
	}
	if out := ctl.says("symbol", "BTC-USD", "--for", "0s"); !strings.Contains(out, "by 1 bucket of 1 edge, 1 of them in mode every") || !strings.Contains(out, "newest  64123.51 ") {
		t.Errorf("symbol:\n%s", out)
	}
	var counted struct {
		Ticks  int
		Newest struct{ Symbol string }
		Age    int64 `json:"age_ms"`
	}
	ctl.json(&counted, "symbol", "PUB-USD", "--for", "2s")
	if counted.Ticks == 0 || counted.Newest.Symbol != "PUB-USD" || counted.Age < 0 {
		t.Errorf("symbol: %+v", counted)
	}

	var checks struct {
		Checks []struct{ Check, Result, Found string }
	}
	ctl.json(&checks, "doctor", "--clients", "1")
	for i, name := range []string{"NATS", "JetStream", "clock of NATS", "clock of ingest"} {
		if len(checks.Checks) <= i || checks.Checks[i].Check != name || checks.Checks[i].Result != "ok" {
			t.Errorf("doctor, %s: %+v", name, checks)
		}
	}
	var busy struct {
		Edges []struct {
			Connections int
			Memory      int64 `json:"resident_bytes"`
		}
	}
	ctl.json(&busy, "top", "--ops", s.Edges[0].OpsURL(), "--ops", s.Edges[1].OpsURL(), "-n", "1")
	if len(busy.Edges) != 2 || busy.Edges[0].Connections != 1 || busy.Edges[1].Connections != 0 {
		t.Errorf("top: %+v", busy)
	}

	began := time.Now()
	out := ctl.says("drain", edge)
	checkGone(t, s.Edges[0], began)
	if !strings.Contains(out, "  "+edge+"  1 connection, ") || !strings.HasSuffix(out, "  "+edge+"  gone\n") {
		t.Errorf("drain:\n%s", out)
	}
	natstest.Eventually(t, patience, func() bool { n, _ := client.connection(); return n == 2 }, "the client is at the other edge")
	client.reaches("PUB-USD", pub.goesOn().Position)
	client.complete("PUB-USD", pub.accepted())
	natstest.Eventually(t, patience, func() bool { now = look(); return now.Edges == 1 && now.Connections == 1 }, "status shows the edge that is left")

	s.Router.Kill()
	if code, _, faults := ctl.run("status"); code != 1 || !strings.Contains(faults, "region local: no router: start router") {
		t.Errorf("status without a router: exit code %d, %s", code, faults)
	}
}

// checkGone fails the test unless the edge ends by itself, in order.
func checkGone(t *testing.T, edge *stack.Service, began time.Time) {
	t.Helper()
	if e := edge.Wait(began); e.Code != 0 {
		t.Errorf("%s: exit code %d", edge.Name(), e.Code)
	}
}

// TestTickctlRegions: status looks at regions side by side, and tells a link that is cut from a home that is well.
func TestTickctlRegions(t *testing.T) {
	t.Parallel()
	regions := stack.StartRegions(t, programs, "eu")
	home, eu := regions[0], regions[1]
	ctl := &tickctl{t, home.Server.URL()}
	both := []string{"status", "--json", "--nats", home.Server.URL(), "--nats", eu.Server.URL()}
	var report struct{ Regions []regionStatus }
	natstest.Eventually(t, patience, func() bool { // the mirror comes up after all is ready
		code, out, _ := ctl.run(both...)
		return code == 0 && json.Unmarshal([]byte(out), &report) == nil
	}, "all is well")
	if len(report.Regions) != 2 || report.Regions[0].Region != "home" || report.Regions[1].Region != "eu" || !report.Regions[0].Home || report.Regions[1].Home ||
		report.Regions[0].Leader == "" || report.Regions[1].Leader != "" || report.Regions[0].Epoch != report.Regions[1].Epoch ||
		len(report.Regions[0].Registries) != 1 || len(report.Regions[1].Registries) != 1 || len(report.Regions[1].Routers) != 1 {
		t.Errorf("%+v", report)
	}
	eu.Link.Cut()
	natstest.Eventually(t, patience, func() bool {
		code, _, faults := ctl.run("status", "--nats", home.Server.URL(), "--nats", eu.Server.URL())
		return code == 1 && strings.HasPrefix(faults, "tickctl: region eu: ") && strings.Contains(faults, "no beat of ingest within 4s: start ingest at home, or look at the link to home") &&
			!strings.Contains(faults, "region home")
	}, "the region that is cut off is named")
}

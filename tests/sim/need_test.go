//go:build linux

package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/tests/load/report"
)

const (
	tenMillion = 10_000_000
	perWrite   = 70 // bytes beside the updates: WebSocket, TCP, IP and Ethernet headers, without the acknowledgments that come back
)

// edgeCosts are what the load test says of an edge: CPU in microseconds, bytes.
type edgeCosts struct {
	write, update  float64 // CPU of a write, and of each update in it
	idle           float64 // CPU of a connection a second
	connect        float64 // CPU of an accepted connection, subscribe and snapshot included
	memory         float64 // of a connection
	compact, plain float64 // bytes of an update, tickfan.v1.compact and JSON
	commit         string
}

// readEdgeCosts takes them from the load test's results.
func readEdgeCosts(file string) (c edgeCosts, err error) {
	p, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read load test's results: %w", err)
	}
	var r report.Report
	if err := json.Unmarshal(p, &r); err != nil {
		return c, fmt.Errorf("read load test's results: %w", err)
	}
	median := func(scenario, detail string, of func(r *report.Run) float64) float64 {
		var all []float64
		for i := range r.Runs {
			if x := &r.Runs[i]; x.Scenario == scenario && x.Server == "edge" && (detail == "" || x.Detail == detail) {
				all = append(all, of(x))
			}
		}
		return report.Median(all)
	}
	// A writes one update at a time, B many: a + b and a/n + b.
	one, many := median("A", "", (*report.Run).CPUPerDelivery), median("B", "", (*report.Run).CPUPerDelivery)
	n := median("B", "", (*report.Run).UpdatesPerWrite)
	c.write = (one - many) / (1 - 1/n)
	c.update = one - c.write
	c.idle = median("D", "epoll", (*report.Run).CPUPerConnectionSecond)
	c.memory = median("D", "epoll", (*report.Run).BytesPerConnection)
	c.connect = median("F", "", (*report.Run).CPUPerConnect)
	size := func(dialect string) float64 {
		return median("G", "", func(r *report.Run) float64 { return r.More[dialect+" mean"] })
	}
	c.compact, c.plain = size("compact"), size("json")
	for _, f := range r.Machine {
		if f.Name == "commit" {
			c.commit = f.Value
		}
	}
	return c, nil
}

// cores is the CPU of so many clients that are written to so many times a second, with so many updates each.
func (c *edgeCosts) cores(clients, writes, updates float64) float64 {
	return clients * (c.idle + writes*(c.write+updates*c.update)) / 1e6
}

// gigabits is what leaves for them.
func gigabits(clients, writes, updates, update float64) float64 {
	return clients * writes * (perWrite + updates*update) * 8 / 1e9
}

// need is the arithmetic of docs/SCALE.md with the figures of this run.
func (r *results) need(b *strings.Builder, c *costs, e edgeCosts) {
	fmt.Fprintf(b, "\n## What ten million clients need\n\nThe arithmetic of [docs/SCALE.md](../../../docs/SCALE.md), with the figures above and those of [the load test](../../load/results/latest.md) (commit %s). All of it is extrapolated.\n", e.commit)
	fmt.Fprintf(b, "\nEdges: a write costs %.2f us and each update in it %.3f us (A and B), a connection %.2f us a second (D) and %.2f KB (D), an accepted one %.0f us (F); an update has %.1f bytes in tickfan.v1.compact and %.0f in JSON (G), a write %d bytes beside.\n\n",
		e.write, e.update, e.idle, e.memory/1024, e.connect, e.compact, e.plain, perWrite)
	var rows [][]string
	for _, most := range []float64{1 / writeGap.Seconds(), 20, 5, 1} {
		writes, updates := r.Market.given(most)
		rows = append(rows, []string{num(most), num(e.cores(tenMillion, writes, updates)), f1(tenMillion * e.memory / 1e9),
			num(gigabits(tenMillion, writes, updates, e.compact)), num(gigabits(tenMillion, writes, updates, e.plain)), num(stormShare * tenMillion * e.connect / 1e6)})
	}
	report.Table(b, []string{"writes a client and second, at most", "edge cores", "memory GB", "Gbit/s compact", "Gbit/s JSON", "core seconds for a storm's connects"}, rows)
	var last *step
	for i := range r.Steps {
		if len(r.Steps[i].Regions) == 1 {
			last = &r.Steps[i]
		}
	}
	if last == nil || last.Steady.Samples == nil {
		return
	}
	g := &last.Regions[0]
	measured := float64(g.Buckets)
	a, k := atMarket(last)
	steady, storm := sum(last.Steady.Samples), sum(last.Storm.Samples)
	fmt.Fprintf(b, "\nThe rest, of each region, from the step of %.0f buckets:\n\n", measured)
	rows = nil
	for _, regions := range []float64{1, 3} {
		share := tenMillion / clients / regions / measured
		x := []float64{marketRate, a.allItems() / a[seconds] * k * share, a.rate(batches) * k * share, measured * share, 1}
		rows = append(rows, []string{num(regions), num(measured * share), num(x[oneItem]), num(x[oneBatch]), f1(of(c.router, x)), f1(of(c.nats, x)), f2(a.rate(bytes) * k * share * 8 / 1e9),
			num(last.Steady.minutely(last.Steady.Samples) * share), num(storm[writes] * share),
			f2(steady.rate(registryCPU) * last.Steady.Each / 60 * share), num(float64(g.RouterMemory) * share / 1e6), num(float64(g.RegistryMemory) * share / 1e6), f1(float64(g.Bytes) * share / 1e6)})
	}
	report.Table(b, []string{"regions", "buckets", "items/s", "batches/s", "router cores", "nats-server cores", "Gbit/s to the edges", "KV writes/s, steady, a symbol a client and minute", "KV writes of a storm", "registry cores for the steady, at most", "router MB", "registry MB", "KV MB"}, rows)
}

func TestEdgeCosts(t *testing.T) {
	c, err := readEdgeCosts("../load/results/latest.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{"write": c.write, "update": c.update, "idle": c.idle, "connect": c.connect, "memory": c.memory, "compact": c.compact, "plain": c.plain} {
		if !(v > 0) {
			t.Errorf("%s: %v", name, v)
		}
	}
	if c.update > c.write || c.compact > c.plain || c.commit == "" {
		t.Errorf("%+v", c)
	}
	c = edgeCosts{write: 10, update: 1, idle: 2}
	if got := c.cores(1e6, 2, 3); got != 28 {
		t.Errorf("%v cores, want 28", got)
	}
	if got := gigabits(1e6, 10, 2, 90); got != 20 {
		t.Errorf("%v Gbit/s, want 20", got)
	}
}

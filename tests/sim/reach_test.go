//go:build linux

package sim

import (
	"math"
	"slices"
	"strings"

	"github.com/tickfan/tickfan/tests/load/report"
)

// reach holds what was measured against what is to be reached.
func (r *results) reach(b *strings.Builder, c *costs) {
	least, keys, start, lost, dark, rate := 1.0, 0.0, 0.0, 0.0, 0.0, math.Inf(1)
	for _, s := range r.Steps {
		samples := slices.Concat(s.Steady.Samples, s.Storm.Samples)
		for _, run := range s.Runs {
			samples = append(samples, run.Samples...)
		}
		for i := range samples {
			least = min(least, samples[i].useful())
		}
		for _, g := range s.Regions {
			keys = max(keys, float64(g.Keys)/float64(g.Buckets))
			start, lost, dark = max(start, g.RouterReady), max(lost, g.LostServed), max(dark, g.LostDark)
		}
		if g := s.Regions[0]; g.LostWrites > 0 {
			rate = min(rate, float64(g.LostWrites)/max(1, g.LostKV-g.LostMade))
		}
	}
	off := 0.0
	for _, run := range c.runs {
		if run.x[oneItem] > 0 {
			off = max(off, math.Abs(math.Log(run.router/of(c.router, run.x))))
		}
	}
	targets := []report.Target{
		report.AtMost("INTEREST keys a bucket", keys, 16, 1, ""),
		report.AtMost("cold start of a router, the longest", start, 5, 2, " s"),
		report.AtLeast("useful share of the items that reach an edge, the least of all loads, crowds and storms", 100*least, 99, 3, " %"),
		{What: "router CPU is of ticks, items, batches and buckets alone: a run is off the fit by at most", Want: "-", Got: pct(math.Exp(off) - 1), State: report.Told},
		{What: "all KV of a region deleted: all served again, the longest", Want: "-", Got: f1(lost) + " s", State: report.Told},
		{What: "the router serving less than 99 % meanwhile, the longest", Want: "-", Got: f1(dark) + " s", State: report.Told},
		{What: "writes a second meanwhile, the fewest", Want: "-", Got: num(rate), State: report.Told},
	}
	b.WriteString("\n## Reached\n\n")
	var rows [][]string
	for _, t := range targets {
		rows = append(rows, []string{t.What, t.Want, t.Got, string(t.State)})
	}
	report.Table(b, []string{"figure", "wanted", "measured", "reached"}, rows)
}

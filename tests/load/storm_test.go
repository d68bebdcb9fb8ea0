//go:build linux

package load

import (
	"fmt"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
)

// runF: everyone comes at once. gws does the handshake alone; the edge subscribes them and gives each its snapshot.
func (b *bench) runF() {
	order := pick(b, []string{gws, edge, gws, edge}, []string{gws, edge})
	turn := turns(order)
	for i, server := range order {
		b.attempt(load{scenario: "F", server: server, turn: turn[i], symbols: 1}, func(s *site) bool {
			if !s.connect(fleet.Plan{Name: "all", Sockets: pick(b, 15_000, 1000), Each: 1}) {
				if server == edge { // this is what is asked here; a baseline may try again
					s.wrong("%d refused and %d failed of %d", s.run.Connecting.Refused, s.run.Connecting.Failed, s.run.Connecting.Asked)
				}
				return server == edge
			}
			s.window()
			s.next(0) // that they are really there
			s.run.Published = 1
			s.finish(patience)
			return true
		})
	}
}

func (b *bench) tellF() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("connection storm, %d at once, subscribe and snapshot included", pick(b, 15_000, 1000)),
		Head: []string{"server", "connections/s", "CPU/connection", "refused", "failed"}}
	var rate, cpu []float64
	for _, p := range b.pairs("F", edge, "", gws, "") {
		rate = append(rate, report.Ratio(p[0].ConnectRate(), p[1].ConnectRate())*100)
		cpu = append(cpu, report.Ratio(p[0].CPUPerConnect(), p[1].CPUPerConnect()))
	}
	refused, asked := 0, 0
	for _, r := range b.of("F", edge, "") {
		refused += r.Connecting.Refused + r.Connecting.Failed
		asked += r.Connecting.Asked
	}
	nobody := report.Holds("nobody refused", refused == 0, fmt.Sprintf("%d of %d refused or failed", refused, asked))
	if asked == 0 {
		nobody.State = report.NotMeasured
	}
	s.Targets = []report.Target{
		report.AtLeast("connections accepted a second, of what plain gws accepts doing neither", report.Median(rate), 75, 0, " %"),
		report.AtMost("CPU a connection, as a multiple of plain gws's", report.Median(cpu), 1.3, 2, " x"),
		nobody,
	}
	for _, server := range []string{gws, edge} {
		m := func(figure func(*report.Run) float64) float64 { return b.median("F", server, "", figure) }
		s.Rows = append(s.Rows, []string{server, count(m((*report.Run).ConnectRate)), microseconds(m((*report.Run).CPUPerConnect)),
			fmt.Sprintf("%.0f", m(func(r *report.Run) float64 { return float64(r.Connecting.Refused) })),
			fmt.Sprintf("%.0f", m(func(r *report.Run) float64 { return float64(r.Connecting.Failed) }))})
	}
	return s
}

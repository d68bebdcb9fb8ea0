//go:build linux

package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
)

const tracesOff, tracesOn = "traces off", "traces on"

// runJ: as A, with a collector of traces and without. At A's rate each tick is traced, so that each delivery is counted; the
// cap would let four times as many through.
func (b *bench) runJ() {
	order := pick(b, []string{tracesOff, tracesOn, tracesOn, tracesOff, tracesOff, tracesOn}, []string{tracesOff, tracesOn})
	turn := turns(order)
	for i, detail := range order {
		var collector *tracetest.Collector
		l := load{scenario: "J", server: edge, turn: turn[i], detail: detail, symbols: 1}
		if detail == tracesOn {
			collector = tracetest.Start(b.t)
			l.env = append(collector.Env(), "OTEL_BSP_SCHEDULE_DELAY=5000") // as it is by default
		}
		b.attempt(l, func(s *site) bool {
			if !s.connect(fleet.Plan{Name: allCrowd, Sockets: pick(b, 10_000, 500), Each: 1}) {
				return false
			}
			rate := pick(b, fanoutRate, 50.0)
			s.warmUp(rate, pick(b, 2*time.Second, time.Second/2), allCrowd)
			s.window()
			s.publish(rate, pick(b, 15*time.Second, time.Second))
			s.finish(patience)
			if collector != nil {
				natstest.Eventually(s.t, patience, func() bool {
					return slices.ContainsFunc(collector.Spans(), func(span tracetest.Span) bool { return span.Service == "tickfan-edge" })
				}, "the edge's spans are collected")
			}
			return true
		})
	}
}

func (b *bench) tellJ() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("as A, each tick traced: ingest, router, %d sockets of one edge", pick(b, 10_000, 500))}
	var cpu []float64
	for _, p := range b.pairs("J", edge, tracesOn, edge, tracesOff) {
		cpu = append(cpu, report.Ratio(p[0].CPUPerDelivery(), p[1].CPUPerDelivery()))
	}
	s.Targets = []report.Target{
		report.AtMost(fmt.Sprintf("CPU per delivery with traces, as a multiple of that without (median of %d pairs)", len(cpu)), report.Median(cpu), 1.03, 2, " x"),
		b.allRight("J"),
	}
	s.Head = []string{"run", "CPU/delivery", "others", "p50", "p99"}
	for _, detail := range []string{tracesOff, tracesOn} {
		m := func(figure func(*report.Run) float64) float64 { return b.median("J", edge, detail, figure) }
		s.Rows = append(s.Rows, []string{detail, microseconds(m((*report.Run).CPUPerDelivery)), microseconds(m(othersPerDelivery)),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P50) })), milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P99) }))})
	}
	return s
}

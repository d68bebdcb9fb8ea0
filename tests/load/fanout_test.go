//go:build linux

package load

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/load/report"
)

const limit, gws, natsServer = "limit", "gws", "nats"

// fanoutRate is the ticks a second of one symbol that everyone has.
const fanoutRate = 5

// runA: one symbol, each tick to everyone. Neighbours are compared, and runs are short: a machine that others share changes
// by 10 % within a minute.
func (b *bench) runA() {
	order := pick(b, []string{limit, edge, gws, edge, limit, limit, edge, natsServer, edge, limit}, []string{limit, edge, gws, natsServer})
	turn := turns(order)
	for i, server := range order {
		b.attempt(load{scenario: "A", server: server, turn: turn[i], symbols: 1}, func(s *site) bool {
			if !s.connect(fleet.Plan{Name: "all", Sockets: pick(b, 10_000, 500), Each: 1}) {
				return false
			}
			rate := pick(b, fanoutRate, 50.0)
			s.warmUp(rate, pick(b, 2*time.Second, time.Second/2), "all")
			s.window()
			s.publish(rate, pick(b, 8*time.Second, time.Second))
			s.finish(patience)
			return true
		})
	}
}

func (b *bench) tellA() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("%d sockets, 1 symbol, JSON, %d ticks/s", pick(b, 10_000, 500), pick(b, fanoutRate, 50))}
	var cpu, p99 []float64
	for _, p := range b.pairs("A", edge, "", limit, "") {
		cpu = append(cpu, report.Ratio(p[0].CPUPerDelivery(), p[1].CPUPerDelivery()))
		p99 = append(p99, report.Ratio(float64(p[0].Latency.P99), float64(p[1].Latency.P99)))
	}
	s.Targets = []report.Target{
		report.AtMost(fmt.Sprintf("server CPU per delivery, as a multiple of `limit` (median of %d pairs)", len(cpu)), report.Median(cpu), 1.06, 2, " x"),
		report.AtMost("p99 latency, as a multiple of `limit`'s", report.Median(p99), 1.2, 2, " x"),
	}
	s.Head, s.Rows = b.deliveryTable("A", limit, edge, gws, natsServer)
	s.Notes = []string{"Latency runs from the publisher's clock to the client's read: the edge's includes ingest, router and three hops over NATS, `limit`'s one\nTCP connection. Others is the CPU of nats-server, ingest, router and registry, by delivery."}
	return s
}

// deliveryTable has a row a server with the medians of its runs.
func (b *bench) deliveryTable(id string, servers ...string) (head []string, rows [][]string) {
	head = []string{"server", "CPU/delivery", "others", "p50", "p90", "p99", "p99.9", "max", "ticks/s", "deliveries/s", "reads", "writes", "RSS", "kernel", "client CPU"}
	for _, server := range servers {
		runs := b.of(id, server, "")
		if len(runs) == 0 {
			continue
		}
		m := func(figure func(*report.Run) float64) float64 { return b.median(id, server, "", figure) }
		rows = append(rows, []string{
			server, microseconds(m((*report.Run).CPUPerDelivery)), microseconds(m(othersPerDelivery)),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P50) })),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P90) })),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P99) })),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P999) })),
			milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.Max) })),
			fmt.Sprintf("%.1f", m(func(r *report.Run) float64 { return float64(r.Published) / r.Window })),
			fmt.Sprintf("%.0f", m(func(r *report.Run) float64 { return float64(r.Deliveries) / r.Window })),
			fmt.Sprintf("%.0f", m(func(r *report.Run) float64 { return float64(r.Reads) })),
			count(m(func(r *report.Run) float64 { return r.EdgeWrites })),
			megabytes(m(func(r *report.Run) float64 { return float64(r.RSS) })),
			megabytes(m(func(r *report.Run) float64 { return float64(r.KernelMemory) })),
			microseconds(m(func(r *report.Run) float64 { return report.Ratio(r.FleetCPU*1e6, float64(r.Deliveries)) })),
		})
	}
	return head, rows
}

func othersPerDelivery(r *report.Run) float64 {
	all := -r.ServerCPU
	for _, v := range r.CPU {
		all += v
	}
	return all * 1e6 / float64(r.Deliveries)
}

// Of B and C.
const (
	boardSymbols = 50
	boardRate    = 1000 // ticks a second over all symbols
)

// board runs clients that each have 50 symbols.
func (b *bench) board(id string, maxRate int, window, late time.Duration) {
	b.attempt(load{scenario: id, server: edge, symbols: boardSymbols}, func(s *site) bool {
		if !s.connect(fleet.Plan{Name: "all", Sockets: pick(b, 1000, 100), Each: boardSymbols, MaxRate: maxRate}) {
			return false
		}
		s.warmUp(boardRate, pick(b, 2*time.Second, time.Second/2), "all")
		s.window()
		stop := s.sampleRSS(pick(b, 5*time.Second, time.Second/2))
		s.publish(boardRate, window)
		stop()
		s.finish(late)
		return true
	})
}

// sampleRSS reads the server's memory every so often, until stop is called.
func (s *site) sampleRSS(every time.Duration) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				n, err := measure.RSS(s.servers[0].PID())
				if err != nil {
					s.t.Error(err)
				}
				s.run.RSSOverTime = append(s.run.RSSOverTime, n)
			case <-end:
				return
			}
		}
	})
	return func() { close(end); done.Wait() }
}

func (b *bench) runB() { b.board("B", 20, pick(b, 15*time.Second, 2*time.Second), patience) }

func (b *bench) tellB() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("%d sockets x %d symbols, %d ticks/s in all, max_rate 20", pick(b, 1000, 100), boardSymbols, boardRate)}
	s.Targets = []report.Target{
		report.AtLeast("updates a write", b.median("B", edge, "", (*report.Run).UpdatesPerWrite), 40, 1, ""),
		report.AtMost("CPU per delivered update, as a multiple of A's per delivery", report.Median(b.againstA("B")), 0.045, 4, " x"),
		b.allRight("B"),
	}
	s.Head, s.Rows = b.deliveryTable("B", edge)
	return s
}

// againstA is the CPU per delivery, by that of A in the same round.
func (b *bench) againstA(id string) (all []float64) {
	for _, r := range b.of(id, edge, "") {
		var a []float64
		for _, ra := range b.of("A", edge, "") {
			if ra.Round == r.Round {
				a = append(a, ra.CPUPerDelivery())
			}
		}
		all = append(all, report.Ratio(r.CPUPerDelivery(), report.Median(a)))
	}
	return all
}

// allRight: a run that was kept and in which a client ended wrong has failed the test.
func (b *bench) allRight(id string) report.Target {
	runs := slices.DeleteFunc(slices.Clone(b.runs), func(r report.Run) bool { return r.Scenario != id })
	wrong := slices.DeleteFunc(slices.Clone(runs), func(r report.Run) bool { return r.Wrong == "" })
	t := report.Holds("every client ended on the newest value of each symbol; nothing lost, doubled or backwards, nobody closed", len(wrong) == 0,
		fmt.Sprintf("%d of %d runs", len(runs)-len(wrong), len(runs)))
	if len(runs) == 0 {
		t.State = report.NotMeasured
	}
	return t
}

// flatFrom is the share of a run after which memory must not grow any more.
const flatFrom = 0.2

func (b *bench) runC() {
	window := pick(b, time.Minute, 2*time.Second)
	if b.rounds >= 7 && b.round == 1 {
		window = 5 * time.Minute
	}
	b.board("C", 0, window, patience)
}

func (b *bench) tellC() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("%d sockets x %d symbols, %d ticks/s in all, mode latest", pick(b, 1000, 100), boardSymbols, boardRate)}
	var longest report.Run
	for _, r := range b.of("C", edge, "") {
		if r.Window > longest.Window {
			longest = r
		}
	}
	grown, n := report.Median(nil), len(longest.RSSOverTime)
	if n > 0 {
		grown = (report.Ratio(float64(longest.RSSOverTime[n-1]), float64(longest.RSSOverTime[int(float64(n)*flatFrom)])) - 1) * 100
	}
	s.Targets = []report.Target{
		report.AtMost("p99 age of a delivered value", b.median("C", edge, "", func(r *report.Run) float64 { return float64(r.Latency.P99) / 1000 }), 60, 1, " ms"),
		report.AtMost("CPU per delivered update, as a multiple of A's per delivery", report.Median(b.againstA("C")), 0.05, 4, " x"),
		b.allRight("C"),
		report.AtMost(fmt.Sprintf("growth of resident memory in %.0f s, after the first fifth", longest.Window), grown, 5, 1, " %"),
	}
	s.Head, s.Rows = b.deliveryTable("C", edge)
	return s
}

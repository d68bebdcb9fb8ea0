//go:build linux

package load

import (
	"fmt"
	"time"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/load/report"
)

// Of I.
const (
	manyEdges   = 11
	manyWorkers = 12
	manySockets = 200_000

	spareFiles  = 600      // of a process, for what is no client; an edge keeps 500
	memoryEach  = 24 << 10 // bytes that a client may cost on the whole machine, both ends and the kernel's part
	mostWorker  = 18_000   // sockets of a worker
	memorySpare = 2 << 30
)

// room is how many clients this machine has room for.
func (b *bench) room(edges, workers, wanted int) int {
	free, err := measure.Available()
	if err != nil {
		b.t.Fatal(err)
	}
	files := b.machine.Files - spareFiles
	most := min(wanted, edges*files, workers*min(mostWorker, files), int(max(free-memorySpare, 0)/memoryEach))
	if most < wanted {
		b.note("I", "%d clients instead of %d: this machine gives a process %d files and has %.1f GB free.", most, wanted, b.machine.Files, float64(free)/1e9)
	}
	return most
}

// runI: many edges on one machine, one symbol that ticks once a second. Each edge's clients are a crowd of their own,
// connected one after the other. Every client is to have every tick, so they are in mode every: in mode latest a tick is
// left out where the machine does not keep up.
func (b *bench) runI() {
	edges, workers := pick(b, manyEdges, 3), pick(b, manyWorkers, 2)
	sockets := b.room(edges, workers, pick(b, manySockets, 1500))
	b.attempt(load{scenario: "I", server: edge, edges: edges, workers: workers, symbols: 1}, func(s *site) bool {
		var plans []fleet.Plan
		for i, e := range s.edges {
			n := sockets / edges
			if i < sockets%edges {
				n++
			}
			plans = append(plans, fleet.Plan{Name: e.Name(), Targets: []string{e.Address()}, Sockets: n, Each: 1, Mode: "every"})
		}
		if !s.connect(plans...) {
			return false
		}
		s.settle(pick(b, 20*time.Second, 4*time.Second))
		rate := pick(b, 1.0, 5.0)
		s.warmUp(rate, pick(b, 3*time.Second, time.Second/2), s.crowds...)
		s.window()
		s.publish(rate, pick(b, 30*time.Second, time.Second))
		s.finish(patience)
		if want := int64(s.run.Published) * int64(sockets); s.run.Deliveries != want {
			s.wrong("%d deliveries, want %d: %d ticks to %d clients", s.run.Deliveries, want, s.run.Published, sockets)
		}
		return true
	})
}

func (b *bench) tellI() report.Scenario {
	s := report.Scenario{Title: "many edge processes on one machine, one symbol ticking once a second"}
	runs := b.of("I", edge, "")
	every := b.allRight("I")
	every.What = "every client has every tick"
	if len(runs) == 0 {
		s.Targets = []report.Target{every}
		return s
	}
	m := func(figure func(*report.Run) float64) float64 { return b.median("I", edge, "", figure) }
	every.Got = fmt.Sprintf("%d clients at %d edges, %d ticks", runs[0].Sockets, pick(b, manyEdges, 3), runs[0].Published)
	tell := func(what, got string) {
		s.Targets = append(s.Targets, report.Target{What: what, Want: "-", Got: got, State: report.Told})
	}
	s.Targets = append(s.Targets, every)
	tell("resident memory of all edges", megabytes(m(func(r *report.Run) float64 { return float64(r.RSS) })))
	tell("kernel memory of the edges' sockets", megabytes(m(func(r *report.Run) float64 { return float64(r.KernelMemory) })))
	tell("p99 latency", milliseconds(m(func(r *report.Run) float64 { return float64(r.Latency.P99) })))
	tell("CPU of all edges, in cores", figure("%.2f", m(func(r *report.Run) float64 { return r.ServerCPU / r.Window })))
	s.Head, s.Rows = b.deliveryTable("I", edge)
	return s
}

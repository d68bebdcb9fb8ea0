//go:build linux

package load

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	slowBuffer = 4096       // SO_RCVBUF of slow clients: else their kernel holds what is minutes old
	slowRead   = 10_000 / 8 // bytes a second: 10 kbit/s
	stalled    = -1         // reads nothing once it is ready
	slowShare  = 10         // one in so many is stalled, and as many are slow

	controlRun = "all read"  // without slow clients: what these are held against
	slowRun    = "some slow" // with them

	allCrowd   = "all" // those that read
	stallCrowd = "stalled"
	slowCrowd  = "slow"
)

// runE: as A, with clients that cannot take what they are sent. What slow ones cost is what this run grows by more than the
// same run without them, from the same moment on: what publishing needs is in both. It is read from Go right after a
// collection, for resident memory goes up and down with the garbage, by more than all slow clients together take.
func (b *bench) runE() {
	for _, detail := range []string{controlRun, slowRun} {
		b.attempt(load{scenario: "E", server: edge, detail: detail, flags: []string{"--pprof"}, symbols: 1}, func(s *site) bool {
			sockets := pick(b, 10_000, 500)
			plans := []fleet.Plan{{Name: allCrowd, Sockets: sockets, Each: 1}}
			if detail == slowRun {
				slow := sockets / slowShare
				plans = []fleet.Plan{
					{Name: allCrowd, Sockets: sockets - 2*slow, Each: 1},
					{Name: stallCrowd, Sockets: slow, Each: 1, ReadRate: stalled, RcvBuf: slowBuffer},
					{Name: slowCrowd, Sockets: slow, Each: 1, ReadRate: slowRead, RcvBuf: slowBuffer},
				}
			}
			if !s.connect(plans...) {
				return false
			}
			s.settle(pick(b, 20*time.Second, 4*time.Second))
			s.run.SettledInUse = s.inUse()
			rate := pick(b, fanoutRate, 50.0)
			s.warmUp(rate, pick(b, 2*time.Second, time.Second/2), allCrowd)
			s.window()
			s.publish(rate, pick(b, 30*time.Second, 3*time.Second))
			s.await(allCrowd, patience)
			s.collect()
			s.run.InUse = s.inUse()
			if detail == slowRun {
				s.fleet.Resume(stallCrowd)
				s.fleet.Resume(slowCrowd)
				s.await(stallCrowd, patience)
				s.await(slowCrowd, patience)
			}
			return true
		})
	}
}

func (b *bench) tellE() report.Scenario {
	s := report.Scenario{Title: "as A, with 10 % of the clients stalled and 10 % at 10 kbit/s, SO_RCVBUF 4 KB",
		Head: []string{"run", "sockets", "p50", "p99", "max", "CPU/delivery", "Go's before", "Go's after", "kernel's before", "kernel's after", "RSS before", "RSS after"}}
	var p99, extra []float64
	for _, p := range b.pairs("E", edge, slowRun, edge, controlRun) {
		slow, control := &p[0], &p[1]
		p99 = append(p99, report.Ratio(float64(slow.Crowds[allCrowd].Latency.P99), float64(control.Latency.P99)))
		n := slow.Crowds[stallCrowd].Sockets + slow.Crowds[slowCrowd].Sockets
		extra = append(extra, float64(grown(slow)-grown(control))/float64(n)/1024)
	}
	s.Targets = []report.Target{
		report.AtMost("p99 of those that read, as a multiple of the same run without slow clients", report.Median(p99), 1.2, 2, " x"),
		report.AtMost("memory more for a slow client, the kernel's included", report.Median(extra), 8, 2, " KB"),
		b.allRight("E"),
	}
	for _, detail := range []string{controlRun, slowRun} {
		runs := b.of("E", edge, detail)
		if len(runs) == 0 {
			continue
		}
		m := func(figure func(*report.Run) float64) float64 { return b.median("E", edge, detail, figure) }
		memory := func(figure func(*report.Run) int64) string {
			return megabytes(m(func(r *report.Run) float64 { return float64(figure(r)) }))
		}
		latency := func(q func(report.Quantiles) int64) string {
			return milliseconds(m(func(r *report.Run) float64 {
				if c, ok := r.Crowds[allCrowd]; ok {
					return float64(q(c.Latency))
				}
				return float64(q(r.Latency))
			}))
		}
		s.Rows = append(s.Rows, []string{detail, fmt.Sprint(runs[0].Sockets),
			latency(func(q report.Quantiles) int64 { return q.P50 }), latency(func(q report.Quantiles) int64 { return q.P99 }),
			latency(func(q report.Quantiles) int64 { return q.Max }), microseconds(m((*report.Run).CPUPerDelivery)),
			memory(func(r *report.Run) int64 { return r.SettledInUse }), memory(func(r *report.Run) int64 { return r.InUse }),
			memory(func(r *report.Run) int64 { return r.SettledInOS }), memory(func(r *report.Run) int64 { return r.KernelMemory }),
			memory(func(r *report.Run) int64 { return r.SettledRSS }), memory(func(r *report.Run) int64 { return r.RSS }),
		})
	}
	s.Notes = []string{"Memory is what the run with slow clients grew by from the last connect to the end, in Go's heap and stacks (after a collection) and in the\nkernel, less what the other run grew by. Latency is of those that read."}
	return s
}

// grown is what publishing added to the memory of servers and kernel.
func grown(r *report.Run) int64 { return r.InUse - r.SettledInUse + r.KernelMemory - r.SettledInOS }

// inUse has every edge collect its garbage and sums what Go then has in use for heap, stacks and its own tables.
func (s *site) inUse() (all int64) {
	s.t.Helper()
	for _, e := range s.edges {
		_, profile, err := stack.Get(e.OpsURL() + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			s.t.Fatalf("read heap of %s: %v", e.Name(), err)
		}
		found := goMemory.FindAllStringSubmatch(profile, -1)
		if len(found) != goMemoryParts {
			s.t.Fatalf("%d parts of the heap of %s told, want %d", len(found), e.Name(), goMemoryParts)
		}
		for _, f := range found {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			all += n
		}
	}
	return all
}

// goMemory finds those lines at the end of a heap profile that are memory in use: "# HeapInuse = 1234", "# Stack = 12 / 34".
var goMemory = regexp.MustCompile(`(?m)^# (?:HeapInuse|Stack|MSpan|MCache) = (\d+)`)

const goMemoryParts = 4

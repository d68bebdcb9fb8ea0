//go:build linux

package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/load/report"
	"github.com/tickfan/tickfan/tests/stack"
)

// bench is one execution: all scenarios, some rounds.
type bench struct {
	t        *testing.T
	programs stack.Programs
	short    bool
	rounds   int
	round    int // of now, from 1
	machine  measure.Machine
	runs     []report.Run
	failed   []string            // names of runs that did not end, or in which a client was told something wrong
	notes    map[string][]string // by scenario
}

// scenario is one letter of what is to be reached.
type scenario struct {
	id   string
	run  func(*bench)                 // one round
	tell func(*bench) report.Scenario // after all rounds
}

func scenarios() []scenario {
	return []scenario{
		{"A", (*bench).runA, (*bench).tellA},
		{"B", (*bench).runB, (*bench).tellB},
		{"C", (*bench).runC, (*bench).tellC},
		{"D", (*bench).runD, (*bench).tellD},
		{"E", (*bench).runE, (*bench).tellE},
		{"F", (*bench).runF, (*bench).tellF},
		{"G", (*bench).runG, (*bench).tellG},
		{"H", (*bench).runH, (*bench).tellH},
		{"I", (*bench).runI, (*bench).tellI},
		{"J", (*bench).runJ, (*bench).tellJ},
	}
}

// needFiles is what 15,000 sockets at one process need.
const needFiles = 15_000 + spareFiles

// TestLoad runs the scenarios one after the other, never two at once.
func TestLoad(t *testing.T) {
	b := &bench{t: t, rounds: *roundsFlag, notes: map[string][]string{}}
	switch *loadFlag {
	case "":
		t.Skip("measures nothing without -load; see make bench and make bench-short")
	case "bench":
	case "short":
		b.short, b.rounds = true, 1
	default:
		t.Fatalf("-load %q: bench or short", *loadFlag)
	}
	var err error
	if b.machine, err = measure.Describe("."); err != nil {
		t.Fatal(err)
	}
	if !b.short && b.machine.Files < needFiles {
		t.Fatalf("a process may have %d files, and %d are needed: raise it with ulimit -n", b.machine.Files, needFiles)
	}
	if b.programs, err = stack.Build(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.programs.Remove)

	began := time.Now()
	wanted := func(id string) bool { return *onlyFlag == "" || strings.Contains(*onlyFlag, id) }
	for b.round = 1; b.round <= b.rounds; b.round++ {
		for _, s := range scenarios() {
			if wanted(s.id) {
				s.run(b)
			}
		}
	}
	r := b.report(began, wanted)
	t.Logf("%s\n%d rounds in %s", r.Markdown(), b.rounds, time.Since(began).Round(time.Second))
	if !b.short && *onlyFlag == "" {
		write(t, results, b.machine, r)
	}
}

func (b *bench) report(began time.Time, wanted func(id string) bool) *report.Report {
	r := &report.Report{Began: began, Command: "make bench", Rounds: b.rounds, Machine: b.facts(), Failed: b.failed, Runs: b.runs, Bars: b.bars()}
	if b.rounds > 1 {
		r.Command = fmt.Sprintf("make bench ROUNDS=%d", b.rounds)
	}
	if b.short {
		r.Command = "make bench-short"
	}
	for _, s := range scenarios() {
		if wanted(s.id) {
			told := s.tell(b)
			told.ID, told.Notes = s.id, append(told.Notes, b.notes[s.id]...)
			if b.short {
				measuresNothing(told.Targets)
			}
			r.Scenarios = append(r.Scenarios, told)
		}
	}
	return r
}

// measuresNothing: the short form is too small for its figures to say whether a target is reached; what must hold, must.
func measuresNothing(targets []report.Target) {
	for i, t := range targets {
		if t.Limit && t.State != report.NotMeasured {
			targets[i].State = report.Told
		}
	}
}

func (b *bench) facts() []report.Fact {
	m := b.machine
	tracked := "no"
	if m.Tracked {
		tracked = "yes, which makes each write and read dearer: some firewall or NAT has rules"
	}
	return []report.Fact{
		{Name: "CPU", Value: fmt.Sprintf("%s, %d cores; servers and clients share them, over loopback", m.CPU, m.Cores)},
		{Name: "memory", Value: fmt.Sprintf("%.1f GB", float64(m.Memory)/1e9)},
		{Name: "kernel", Value: m.Kernel},
		{Name: "Go", Value: m.Go},
		{Name: "commit", Value: m.Commit},
		{Name: "load average before", Value: m.Busy},
		{Name: "connections tracked by the kernel", Value: tracked},
	}
}

// results is where the published figures lie.
const results = "results"

func write(t *testing.T, dir string, m measure.Machine, r *report.Report) {
	t.Helper()
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	foot := fmt.Sprintf("%s, %s: %s, %d cores for servers and clients, %s, commit %s", r.Command, r.Began.UTC().Format(time.DateOnly), m.CPU, m.Cores, m.Go, m.Commit)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"latest.json": text, "latest.md": []byte(r.Markdown()), "latest.svg": []byte(report.SVG(r.Bars, foot))} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// pick is a size of the full form or of the short one.
func pick[T any](b *bench, full, short T) T {
	if b.short {
		return short
	}
	return full
}

// note says something about a scenario, once.
func (b *bench) note(id, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range b.notes[id] {
		if n == text {
			return
		}
	}
	b.notes[id] = append(b.notes[id], text)
}

// of gives the runs of a scenario and server, in the order of the rounds.
func (b *bench) of(id, server, detail string) []report.Run {
	var found []report.Run
	for _, r := range b.runs {
		if r.Scenario == id && r.Server == server && r.Detail == detail {
			found = append(found, r)
		}
	}
	return found
}

// pairs are the runs of a scenario in which two servers stood beside each other, first and second in turn.
func (b *bench) pairs(id, first, firstDetail, second, secondDetail string) (all [][2]report.Run) {
	others := b.of(id, second, secondDetail)
	for _, r := range b.of(id, first, firstDetail) {
		for _, o := range others {
			if o.Round == r.Round && o.Turn == r.Turn {
				all = append(all, [2]report.Run{r, o})
			}
		}
	}
	return all
}

// turns says of each place in an order the how-manieth of its kind it is.
func turns(order []string) []int {
	all, seen := make([]int, len(order)), map[string]int{}
	for i, s := range order {
		seen[s]++
		all[i] = seen[s]
	}
	return all
}

// median of a figure of all runs of a scenario and server.
func (b *bench) median(id, server, detail string, figure func(*report.Run) float64) float64 {
	var all []float64
	for _, r := range b.of(id, server, detail) {
		all = append(all, figure(&r))
	}
	return report.Median(all)
}

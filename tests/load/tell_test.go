//go:build linux

package load

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/load/report"
)

// delivering is a run with that CPU per delivery in microseconds.
func delivering(scenario string, round int, server string, each float64, p99 int64) report.Run {
	return report.Run{Scenario: scenario, Round: round, Server: server, Deliveries: 1_000_000, ServerCPU: each, Window: 10, Latency: report.Quantiles{P99: p99}}
}

func targets(s report.Scenario) string {
	var all []string
	for _, t := range s.Targets {
		all = append(all, fmt.Sprintf("%s (%s)", t.Got, t.State))
	}
	return strings.Join(all, ", ")
}

// A ratio is of neighbours: the machine may have been slow in one round.
func TestRatiosAreOfNeighbours(t *testing.T) {
	b := &bench{t: t, rounds: 3, notes: map[string][]string{}, runs: []report.Run{
		delivering("A", 0, limit, 9, 9000), // its neighbour has failed
		delivering("A", 1, limit, 4, 1000), delivering("A", 1, edge, 4.2, 1100), delivering("A", 1, gws, 6, 2000),
		delivering("A", 2, limit, 8, 2000), delivering("A", 2, edge, 8.4, 2200),
		delivering("A", 3, limit, 4, 1000), delivering("A", 3, edge, 5, 3000),
		delivering("B", 1, edge, 0.42, 1), delivering("B", 2, edge, 0.42, 1), delivering("B", 3, edge, 0.1, 1),
	}}
	if got, want := targets(b.tellA()), "1.05 x (yes), 1.10 x (yes)"; got != want {
		t.Errorf("A: %s, want %s", got, want)
	}
	if got, want := b.againstA("B"), []float64{0.1, 0.05, 0.02}; !slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }) {
		t.Errorf("B by A: %v, want %v", got, want)
	}
	if rows := b.tellA().Rows; len(rows) != 3 || rows[0][1] != "6.000 us" || rows[1][1] != "5.000 us" {
		t.Errorf("table of A: %v", rows)
	}
}

// What was told wrong is in the figures, and so is that nothing was run.
func TestWrongRunsAreTold(t *testing.T) {
	b := &bench{t: t, notes: map[string][]string{}}
	if got := b.allRight("C"); got.State != report.NotMeasured {
		t.Errorf("without a run: %+v", got)
	}
	b.runs = []report.Run{{Scenario: "C"}, {Scenario: "C"}, {Scenario: "B", Wrong: "?"}}
	if got := b.allRight("C"); got.State != report.Reached || got.Got != "2 of 2 runs" {
		t.Errorf("all right: %+v", got)
	}
	b.runs[1].Wrong = "one sock lost"
	if got := b.allRight("C"); got.State != report.Missed || got.Got != "1 of 2 runs" {
		t.Errorf("one wrong: %+v", got)
	}
}

// Every scenario can be told when nothing of it was run.
func TestNothingRunIsTold(t *testing.T) {
	b := &bench{t: t, notes: map[string][]string{}}
	r := b.report(time.Unix(0, 0), func(string) bool { return true })
	if _, err := r.JSON(); err != nil {
		t.Error(err)
	}
	for _, s := range r.Scenarios {
		for _, target := range s.Targets {
			if target.State == report.Reached {
				t.Errorf("%s: reached without a run: %+v", s.ID, target)
			}
		}
	}
	if n := len(r.Scenarios); n != len(scenarios()) {
		t.Errorf("%d scenarios told, there are %d", n, len(scenarios()))
	}
}

// Slow clients are charged with what their run grew by more than the one without them.
func TestSlowClientsAreChargedWithTheDifference(t *testing.T) {
	b := &bench{t: t, notes: map[string][]string{}, runs: []report.Run{
		{Scenario: "E", Server: edge, Detail: controlRun, SettledInUse: 100 << 20, InUse: 103 << 20, KernelMemory: 1 << 20, Latency: report.Quantiles{P99: 1000}},
		{Scenario: "E", Server: edge, Detail: slowRun, SettledInUse: 90 << 20, InUse: 94 << 20, KernelMemory: 4 << 20,
			Crowds: map[string]report.Crowd{allCrowd: {Latency: report.Quantiles{P99: 1100}}, stallCrowd: {Sockets: 512}, slowCrowd: {Sockets: 512}}},
	}}
	if got, want := targets(b.tellE()), "1.10 x (yes), 4.00 KB (yes), 2 of 2 runs (yes)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTurns(t *testing.T) {
	if got, want := turns([]string{limit, edge, gws, edge, limit}), []int{1, 1, 1, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWrite(t *testing.T) {
	b := &bench{t: t, notes: map[string][]string{}, runs: []report.Run{delivering("A", 1, edge, 4, 1000)}}
	r := b.report(time.Unix(0, 0), func(string) bool { return true })
	dir := filepath.Join(t.TempDir(), "results")
	write(t, dir, b.machine, r)
	for name, want := range map[string]string{"latest.json": `"server": "edge"`, "latest.md": "# Load test", "latest.svg": "Tickfan edge"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q in %d bytes", name, err, want, len(text))
		}
	}
}

// A replay gives a symbol's whole price at each of its frames, from its first trade on.
func TestReplayOfAnExchange(t *testing.T) {
	lines := []string{
		`{"ts":1000000,"dir":"connect","data":"wss://x"}`,
		`{"ts":1723000000000002000,"dir":"recv","data":"{\"stream\":\"a@bookTicker\",\"data\":{\"u\":1,\"s\":\"AUSD\",\"b\":\"1.10\",\"B\":\"5.0\",\"a\":\"1.20\",\"A\":\"6.0\"}}"}`,
		`{"ts":1723000000000003000,"dir":"recv","data":"{\"stream\":\"a@trade\",\"data\":{\"e\":\"trade\",\"E\":1723000000,\"s\":\"AUSD\",\"t\":7,\"p\":\"1.15\",\"q\":\"0.5\",\"b\":88,\"a\":99,\"T\":1,\"m\":true,\"M\":true}}"}`,
		`{"ts":1723000000000004000,"dir":"recv","data":"{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"E\":1723000000,\"s\":\"XUSD\",\"p\":\"9\",\"q\":\"1\"}}"}`,
		`{"ts":1723000000000008000,"dir":"recv","data":"{\"stream\":\"a@bookTicker\",\"data\":{\"u\":2,\"s\":\"AUSD\",\"b\":\"1.11\",\"B\":\"5.5\",\"a\":\"1.20\",\"A\":\"6.0\"}}"}`,
	}
	file := filepath.Join(t.TempDir(), "x.jsonl.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readReplay(file, []string{"BUSD", "AUSD"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`0s 1 {"price":"1.15","bid":"1.10","ask":"1.20","size":"0.5","bid_size":"5.0","ask_size":"6.0","ts":1723000000000003}`,
		`5µs 1 {"price":"1.15","bid":"1.11","ask":"1.20","size":"0.5","bid_size":"5.5","ask_size":"6.0","ts":1723000000000008}`,
	}
	var all []string
	for _, r := range got {
		all = append(all, fmt.Sprintf("%s %d %s", r.after, r.symbol, r.quote))
	}
	if !slices.Equal(all, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
	if got, err := readReplay(file, []string{"AUSD"}, 1); err != nil || len(got) != 1 {
		t.Errorf("%d of the first price, %v", len(got), err)
	}
}

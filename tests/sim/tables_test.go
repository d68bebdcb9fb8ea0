//go:build linux

package sim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// made is a step as it would be if an item cost 0.5 us and a batch 2 us of a router.
func made(buckets int) step {
	n := float64(buckets)
	s := step{Name: "made", Regions: []standing{{Name: "home", Buckets: buckets, Edges: max(1, buckets/10), Wishes: 1900 * buckets, Keys: uint64(16 * buckets), Bytes: uint64(40_000 * buckets),
		Joined: 1, RouterMemory: 1e6, RouterReady: 0.002 * n, RouterReadyCPU: 0.1, RegistryReady: 0.1}}}
	for _, l := range []load{{0, 1, 1}, {5000, n, 1}, {1000, n, 1}} {
		var a sample
		a[seconds], a[ticks] = 10, 10*l.Rate/l.K
		a[itemsWanted] = a[ticks] * n
		a[batches] = a[itemsWanted]/l.Rate*600 + n
		if l.Rate == 0 {
			a[itemsWanted], a[batches] = 0, 10*n
		}
		a[routerCPU] = 5e-6*a[ticks] + 0.5e-6*a[itemsWanted] + 2e-6*a[batches] + (0.01+20e-6*n)*a[seconds]
		a[natsCPU] = a[routerCPU]
		s.Runs = append(s.Runs, run{load: l, Buckets: buckets, Samples: []sample{a}})
	}
	var a sample
	a[seconds], a[writes], a[requests], a[itemsWanted] = 10, 10*n, 10*n, 100
	a[clientChanges] = 300 * n
	s.Steady, s.Storm = phase{Each: 60, Samples: []sample{a}}, phase{Clients: 1000 * buckets, Samples: []sample{a}}
	return s
}

func TestResults(t *testing.T) {
	r := &results{Began: time.Unix(0, 0), Market: newMarket(), rhythm: madeUp(), edge: edgeCosts{write: 10, update: 0.1, idle: 0.8, connect: 57, memory: 1100, compact: 6, plain: 220}, Steps: []step{made(10), made(100), made(1000)}}
	r.Machine.Cores = 2
	text := r.markdown()
	for _, want := range []string{
		"| router      | 5.00      | 0.500      | 2.00       | 20.0                   | 10.0        |",
		"| KV keys                         | 1.00  |",
		"| KV writes in a steady crowd     | 1.00  |",
		"something else ran beside",
		"| ≤ 16.0     | 16.0      | yes      |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "| no       |") {
		t.Errorf("something is missed in\n%s", text)
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("what is no number is in\n%s", text)
	}
	p, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"rate":5000`, `"router cpu":`, `"kv_keys":16000`} {
		if !strings.Contains(string(p), want) {
			t.Errorf("no %s in JSON", want)
		}
	}
	(&results{Market: r.Market, rhythm: madeUp()}).markdown() // of nothing, it is empty
}

//go:build linux

package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/load/report"
)

// What needs no machine, but the rhythm and the market alone.

// writeGap is the least time between two writes to a client that an edge keeps to by default.
const writeGap = 25 * time.Millisecond

// windows are the flush windows to compare.
var windows = []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond}

// flushed is what a router makes of a second for a bucket that wants all, in mode latest.
func (r *rhythm) flushed(m *market, window time.Duration) (batches, items float64) {
	dice := rand.New(rand.NewPCG(1, 7))
	next := time.Duration(math.MinInt64)
	for i := 0; i < len(r.times); batches++ {
		leaves := max(r.times[i], next)
		in := map[symbol]bool{}
		for ; i < len(r.times) && r.times[i] <= leaves; i++ {
			in[m.draw(dice)] = true
		}
		items += float64(len(in))
		next = leaves + window
	}
	lasts := r.times[len(r.times)-1].Seconds()
	return batches / lasts, items / lasts
}

// given is what a client that is written to at most so many times a second gets of this market, in the mean: writes a
// second, and updates in each. Ticks are taken to come evenly.
func (m *market) given(most float64) (writes, updates float64) {
	dice := rand.New(rand.NewPCG(1, 8))
	const sampled = 20_000
	for range sampled {
		var of client
		m.wishes(dice, of[:])
		none, n := 1.0, 0.0
		for _, s := range of {
			quiet := math.Exp(-marketRate * m.share[s] / most)
			none *= quiet
			n += 1 - quiet
		}
		writes += most * (1 - none)
		updates += most * n
	}
	return writes / sampled, updates / writes
}

// outlook is told beside what was measured.
func (r *results) outlook(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Of this market, without a machine\n\nWhat a router makes of %.0f ticks a second for a bucket that wants all of them, by flush window:\n\n", marketRate)
	var rows [][]string
	for _, w := range windows {
		n, items := r.rhythm.flushed(r.Market, w)
		rows = append(rows, []string{fmt.Sprint(w), num(n), num(items), f1(items / n), pct(items / marketRate)})
	}
	report.Table(b, []string{"--flush", "batches/s", "items/s", "items a batch", "items of ticks"}, rows)
	fmt.Fprintf(b, "\nWhat a client with %d symbols of it gets in mode latest, by how often it is written to at most (an edge's --write-gap of %s is %.0f a second; a client's max_rate is less):\n\n",
		eachClient, writeGap, 1/writeGap.Seconds())
	rows = nil
	for _, most := range []float64{1 / writeGap.Seconds(), 20, 5, 1} {
		writes, updates := r.Market.given(most)
		rows = append(rows, []string{num(most), f1(writes), f2(updates)})
	}
	report.Table(b, []string{"at most", "writes/s", "updates a write"}, rows)
	b.WriteString("\nWhat so many clients want together, which is what a bucket of so many is sent:\n\n")
	rows = nil
	for _, n := range []float64{10, 100, 1000, clients, bucketsOfEdge * clients} {
		symbols, ticks := r.Market.wantedBy(n)
		rows = append(rows, []string{num(n), num(symbols), pct(symbols / marketSymbols), pct(ticks)})
	}
	report.Table(b, []string{"clients", "symbols", "of all", "of all ticks"}, rows)
}

// wantedBy is how many symbols so many clients want, and which share of all ticks is theirs.
func (m *market) wantedBy(n float64) (symbols, ticks float64) {
	for _, share := range m.share {
		wanted := 1 - math.Pow(1-share, n*eachClient)
		symbols += wanted
		ticks += wanted * share
	}
	return symbols, ticks
}

func TestOutlook(t *testing.T) {
	m := newMarket()
	r := madeUp()
	last := math.Inf(1)
	for _, w := range windows {
		batches, items := r.flushed(m, w)
		if batches > 1/w.Seconds()+1 || items > marketRate+1 || items > last {
			t.Errorf("flush window %s: %.0f batches and %.0f items a second", w, batches, items)
		}
		last = items
	}
	if symbols, ticks := m.wantedBy(clients); symbols > marketSymbols || ticks < symbols/marketSymbols || ticks > 1 {
		t.Errorf("a bucket wants %v symbols, %v of all ticks", symbols, ticks)
	}
	writes, updates := m.given(1)
	if writes > 1 || updates < 1 || updates > eachClient {
		t.Errorf("%v writes a second of %v updates", writes, updates)
	}
}

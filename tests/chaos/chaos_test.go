package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/stack"
)

// TestChaos deals blows for as long as -for says.
func TestChaos(t *testing.T) {
	if *forFlag == 0 {
		t.Skip("breaks nothing without -for; see make chaos and make chaos-short")
	}
	seed := cmp.Or(*seedFlag, rand.Uint64()>>32)
	t.Logf("seed %d; the same blows again: make chaos SEED=%d FOR=%s", seed, seed, *forFlag)
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := stack.Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(programs.Remove)
	w := newWorld(t, programs, rand.New(rand.NewPCG(seed, 0)))
	if took, ok := w.settle(); !ok {
		t.Fatalf("not well before the first blow, after %s:\n\t%s", took, w.violation())
	}

	var all []blow
	for _, b := range blows() {
		if only.MatchString(b.name) {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b blow) int { return cmp.Compare(a.name, b.name) })
	times := &report{}
	began := time.Now()
	for n := 0; time.Since(began) < *forFlag; {
		// Each blow once before any comes again.
		for _, i := range w.dice.Perm(len(all)) {
			if n++; time.Since(began) >= *forFlag {
				break
			}
			if !w.suffer(all[i], times) {
				t.Errorf("seed %d, blow %d, after %s: %s:\n\t%s", seed, n, time.Since(began).Round(time.Second), all[i].name, w.violation())
				t.Logf("%s", times)
				return
			}
		}
	}
	t.Logf("%s", times)
}

// suffer deals one blow and waits until all is well. false: it was not, or something was seen that must not be.
func (w *world) suffer(b blow, times *report) (ok bool) {
	lost, gaps := w.disturbed()
	began := time.Now()
	mend := b.deal(w)
	without := time.Duration(-1)
	if b.spare {
		if without, ok = w.settle(); !ok {
			return false
		}
	}
	w.between(0, 6*time.Second)
	down := time.Since(began)
	mend()
	after, ok := w.settle()
	lostNow, gapsNow := w.disturbed()
	w.t.Logf("%-42s for %5.1f s; well without in %6s, after in %6s; %d connections lost, %d gaps told", b.name, down.Seconds(), short(without), short(after), lostNow-lost, gapsNow-gaps)
	if n, peak, mean := w.reconnected(began); n > viewers/4 {
		w.t.Logf("%-42s %d connections came back, %d in the busiest second, %.1f in the mean", "", n, peak, mean)
	}
	times.add(b.name, without, after)
	return ok
}

// reconnected tells how many connections were made since then, how many of them in the busiest second, and how many a
// second from the first to the last.
func (w *world) reconnected(since time.Time) (n, peak int, mean float64) {
	var all []time.Time
	for _, v := range w.viewers {
		v.mu.Lock()
		for _, at := range v.came {
			if at.After(since) {
				all = append(all, at)
			}
		}
		v.mu.Unlock()
	}
	slices.SortFunc(all, time.Time.Compare)
	for i, first := 0, 0; i < len(all); i++ {
		for all[i].Sub(all[first]) >= time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	if len(all) > 1 {
		mean = float64(len(all)) / max(1, all[len(all)-1].Sub(all[0]).Seconds())
	}
	return len(all), peak, mean
}

// disturbed is how many connections were lost and gaps told so far.
func (w *world) disturbed() (lost, gaps int) {
	for _, v := range w.viewers {
		v.mu.Lock()
		lost += v.lost
		gaps += v.gaps
		v.mu.Unlock()
	}
	return lost, gaps
}

func short(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// report is how long it took until all was well, by blow: while what was hit was still away, and after it was mended.
type report struct {
	without, after map[string][]time.Duration
}

func (r *report) add(name string, without, after time.Duration) {
	if r.after == nil {
		r.without, r.after = map[string][]time.Duration{}, map[string][]time.Duration{}
	}
	if without >= 0 {
		r.without[name] = append(r.without[name], without)
	}
	r.after[name] = append(r.after[name], after)
}

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "until each client had a price published after it:\n| %-42s | times | without: median, most | mended: median, most |\n|---|---|---|---|\n", "blow")
	for _, name := range slices.Sorted(maps.Keys(r.after)) {
		fmt.Fprintf(&b, "| %-42s | %5d | %s | %s |\n", name, len(r.after[name]), spread(r.without[name]), spread(r.after[name]))
	}
	return b.String()
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	all = slices.Sorted(slices.Values(all))
	return short(all[len(all)/2]) + ", " + short(all[len(all)-1])
}

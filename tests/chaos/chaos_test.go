package chaos

import (
	"cmp"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/stack"
)

// calm is how long clients are watched before a blow, to compare.
const calm = time.Second

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
	var r report
	began := time.Now()
	for n := 0; time.Since(began) < *forFlag; {
		// Each blow once before any comes again.
		for _, i := range w.dice.Perm(len(all)) {
			if n++; time.Since(began) >= *forFlag {
				break
			}
			if !w.suffer(all[i], &r) {
				t.Errorf("seed %d, blow %d, after %s: %s:\n\t%s", seed, n, time.Since(began).Round(time.Second), all[i].name, w.violation())
				t.Logf("%s", &r)
				return
			}
		}
	}
	t.Logf("%s", &r)
}

// suffer deals one blow and waits until all is well. false: it was not, or something was seen that must not be.
func (w *world) suffer(b blow, r *report) (ok bool) {
	w.asleep = ""
	w.see()
	<-time.After(calm)
	before := w.see()
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
	then := w.see()
	w.t.Logf("%-42s for %5.1f s; well without in %6s, after in %6s; %d connections lost, %d gaps told", b.name, down.Seconds(), short(without), short(after), then.lost, then.gaps)
	if n, peak, mean := w.reconnected(began); n > viewers/4 {
		w.t.Logf("%-42s %d connections came back, %d in the busiest second, %.1f in the mean", "", n, peak, mean)
	}
	r.add(b.name, without, after, before, then)
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

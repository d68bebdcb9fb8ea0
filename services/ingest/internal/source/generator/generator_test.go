package generator

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

var opening = time.Unix(1_763_769_600, 0)

type made struct {
	sym subject.Symbol
	tick.Quote
}

// run advances in steps, as the clock would.
func run(g *Generator, from time.Time, d, step time.Duration) (all []made) {
	for at := from.Add(step); !at.After(from.Add(d)); at = at.Add(step) {
		g.Advance(at, func(sym subject.Symbol, q tick.Quote) { all = append(all, made{sym, q}) })
	}
	return all
}

func TestSameSeedSameMarket(t *testing.T) {
	a := run(New(7, opening), opening, time.Minute, 10*time.Millisecond)
	b := run(New(7, opening), opening, time.Minute, 250*time.Millisecond) // another rhythm of waking up
	if !slices.Equal(a, b) {
		t.Error("the same seed gave another market")
	}
	if slices.Equal(a, run(New(8, opening), opening, time.Minute, 10*time.Millisecond)) {
		t.Error("another seed gave the same market")
	}
}

// value is for looking at prices from afar.
func value(d tick.Decimal) float64 { return float64(d.Coef()) / math.Pow10(d.Scale()) }

func TestBelievable(t *testing.T) {
	const minutes = 25
	from := opening.Truncate(time.Hour).Add(50 * time.Minute) // over an hour's end
	all := run(New(42, from), from, minutes*time.Minute, 100*time.Millisecond)
	perSecond := float64(len(all)) / (minutes * 60)
	if perSecond < 60 || perSecond > 120 {
		t.Errorf("%.1f ticks a second, want 60 to 120", perSecond)
	}

	count, same, first, last := map[subject.Symbol]int{}, 0, map[subject.Symbol]made{}, map[subject.Symbol]made{}
	busiest := map[subject.Symbol]int{} // most ticks within one second
	inSecond := map[subject.Symbol][2]int64{}
	prices := map[subject.Symbol]map[tick.Decimal]bool{}
	ts := int64(0)
	for _, m := range all {
		if m.TS < ts {
			t.Fatalf("%s at %d, after one at %d", m.sym, m.TS, ts)
		}
		ts = m.TS
		if m.Price != m.Bid && m.Price != m.Ask || m.Bid.Coef() >= m.Ask.Coef() || m.Bid.Scale() != m.Ask.Scale() {
			t.Fatalf("%s: price %s, bid %s, ask %s", m.sym, m.Price, m.Bid, m.Ask)
		}
		if m.Low.Coef() > m.Price.Coef() || m.Price.Coef() > m.High.Coef() || m.Low.Coef() > m.Open.Coef() || m.Open.Coef() > m.High.Coef() {
			t.Fatalf("%s: low %s, open %s, price %s, high %s", m.sym, m.Low, m.Open, m.Price, m.High)
		}
		for i, d := range m.Fields() {
			if !d.Positive() {
				t.Fatalf("%s: %s is %q", m.sym, tick.Names[i], d.String())
			}
			if _, err := tick.ParseDecimal(d.String()); err != nil {
				t.Fatalf("%s: %s %s: %v", m.sym, tick.Names[i], d, err)
			}
		}
		if p, ok := last[m.sym]; ok {
			if p.Price == m.Price {
				same++
			}
			if r := value(m.Price) / value(p.Price); r < 0.98 || r > 1.02 {
				t.Errorf("%s jumps from %s to %s", m.sym, p.Price, m.Price)
			}
		} else {
			first[m.sym], prices[m.sym] = m, map[tick.Decimal]bool{}
		}
		prices[m.sym][m.Price] = true
		last[m.sym] = m
		count[m.sym]++
		s := inSecond[m.sym]
		if sec := m.TS / 1e6; s[0] == sec {
			s[1]++
		} else {
			s = [2]int64{sec, 1}
		}
		inSecond[m.sym] = s
		busiest[m.sym] = max(busiest[m.sym], int(s[1]))
	}
	if len(count) < 20 {
		t.Errorf("%d pairs, want 20 or more", len(count))
	}
	if share := float64(same) / float64(len(all)); share < 0.2 || share > 0.6 {
		t.Errorf("%.2f of the ticks repeat the price", share)
	}
	slow, fast := math.Inf(1), 0.0
	for sym, n := range count {
		rate := float64(n) / (minutes * 60)
		slow, fast = min(slow, rate), max(fast, rate)
		if r := value(last[sym].Price) / value(first[sym].Price); r < 0.8 || r > 1.25 {
			t.Errorf("%s went from %s to %s", sym, first[sym].Price, last[sym].Price)
		}
		if len(prices[sym]) < 8 {
			t.Errorf("%s had only %d prices in %d ticks", sym, len(prices[sym]), n)
		}
		if float64(busiest[sym]) < 2.5*rate {
			t.Errorf("%s has no bursts: %.1f a second on average, %d at most", sym, rate, busiest[sym])
		}
	}
	if slow > 1.5 || fast < 14 || fast > 24 {
		t.Errorf("rates from %.1f to %.1f a second, want about 1 to 20", slow, fast)
	}
}

func TestOutsidePriceIsLeftAloneThenContinued(t *testing.T) {
	g := New(1, opening)
	at := opening.Add(10 * time.Second)
	run(g, opening, 10*time.Second, 50*time.Millisecond)
	outside := tick.MustDecimal("70000.00")
	g.Outside("BTC-USD", outside, at)
	g.Outside("NOBODYS-USD", outside, at)

	quiet := run(g, at, Quiet, 50*time.Millisecond)
	others := 0
	for _, m := range quiet {
		if m.sym == "BTC-USD" {
			t.Fatalf("BTC-USD at %s", time.UnixMicro(m.TS).Sub(at))
		}
		others++
	}
	if others < 500 {
		t.Errorf("only %d ticks of the others", others)
	}
	n := 0
	for _, m := range run(g, at.Add(Quiet), 20*time.Second, 50*time.Millisecond) {
		if m.sym != "BTC-USD" {
			continue
		}
		n++
		if v := value(m.Price); v < 69_000 || v > 71_000 {
			t.Fatalf("goes on at %s, not from %s", m.Price, outside)
		}
		if value(m.High) < 70_000 || value(m.Low) > 69_000 {
			t.Fatalf("day from %s to %s: the price from outside or the day before it is not in it", m.Low, m.High)
		}
	}
	if n < 100 {
		t.Errorf("%d ticks in 20 s after the rest", n)
	}
}

func TestOutsideTwiceRestsAnew(t *testing.T) {
	g := New(1, opening)
	g.Outside("BTC-USD", tick.MustDecimal("1"), opening)
	second := opening.Add(20 * time.Second)
	for _, m := range run(g, opening, 20*time.Second, time.Second) {
		if m.sym == "BTC-USD" {
			t.Fatal("not left alone")
		}
	}
	g.Outside("BTC-USD", tick.MustDecimal("2"), second)
	for _, m := range run(g, second, Quiet, time.Second) {
		if m.sym == "BTC-USD" {
			t.Fatal("not left alone after the second price")
		}
	}
}

// Whatever somebody publishes, what follows is near it and a tick.
func TestAbsurdOutsidePrices(t *testing.T) {
	for _, s := range []string{"0.000000000001", "0.00002", "1", "5", "64123.517", "99999999999999", "999999999999999999", "123456.123456789012", "100000000000000"} {
		g := New(3, opening)
		price := tick.MustDecimal(s)
		g.Outside("BTC-USD", price, opening)
		n := 0
		for _, m := range run(g, opening, Quiet+time.Minute, 100*time.Millisecond) {
			if m.sym != "BTC-USD" {
				continue
			}
			n++
			if want := min(value(price), maxSteps); s != "0.000000000001" && math.Abs(value(m.Price)/want-1) > 0.2 {
				t.Fatalf("%s: goes on at %s", s, m.Price)
			}
			if m.Low.Coef() > m.Price.Coef() || m.Price.Coef() > m.High.Coef() {
				t.Fatalf("%s: low %s, price %s, high %s", s, m.Low, m.Price, m.High)
			}
			tk := tick.Tick{Symbol: m.sym, Position: tick.Position{Epoch: 1, Seq: 1}, Quote: m.Quote}
			if _, err := tick.Decode(tk.Append(nil)); err != nil {
				t.Fatalf("%s: %+v: %v", s, m.Quote, err)
			}
		}
		if n < 100 {
			t.Errorf("%s: %d ticks", s, n)
		}
	}
}

func TestContinueAfterRestart(t *testing.T) {
	g := New(1, opening)
	g.Continue("BTC-USD", tick.MustDecimal("81000.5"), opening)
	n := 0
	for _, m := range run(g, opening, 5*time.Second, 50*time.Millisecond) {
		if m.sym == "BTC-USD" {
			n++
			if v := value(m.Price); v < 80_500 || v > 81_500 {
				t.Fatalf("goes on at %s", m.Price)
			}
			if v := value(m.Open); v < 70_000 || v > 92_000 {
				t.Fatalf("opened at %s", m.Open)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d ticks in 5 s", n)
	}
}

// After a long sleep of the machine there is no flood.
func TestNoBacklog(t *testing.T) {
	g := New(1, opening)
	late := opening.Add(8 * time.Hour)
	n := 0
	g.Advance(late, func(_ subject.Symbol, q tick.Quote) {
		n++
		if q.TS < late.Add(-lateness).UnixMicro() {
			t.Fatalf("a tick of %s ago", late.Sub(time.UnixMicro(q.TS)))
		}
	})
	if n == 0 || n > 200 {
		t.Errorf("%d ticks at once", n)
	}
}

func TestRunKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(5, time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		if err := g.Run(ctx, time.Now, func(_ subject.Symbol, q tick.Quote) {
			n++
			if late := time.Since(time.UnixMicro(q.TS)); late < 0 || late > time.Millisecond {
				t.Errorf("handed out %s after its time", late)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if n < 500 || n > 1500 {
			t.Errorf("%d ticks in 10 s", n)
		}
	})
}

func BenchmarkAdvance(b *testing.B) {
	g := New(1, opening)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		g.Advance(g.Next(), func(subject.Symbol, tick.Quote) { n++ })
	}
	b.ReportMetric(float64(n)/float64(b.N), "ticks/op")
}

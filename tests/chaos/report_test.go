package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// report is what blows have cost.
type report struct {
	calm  seen // before all blows
	blows map[string]*cost
}

// cost is what a blow has cost, each time that it was dealt.
type cost struct {
	without, after []time.Duration // until all was well: while what was hit was away, and after it was mended
	before, then   seen
}

func (r *report) add(name string, without, after time.Duration, before, then seen) {
	if r.blows == nil {
		r.blows = map[string]*cost{}
	}
	c := r.blows[name]
	if c == nil {
		c = &cost{}
		r.blows[name] = c
	}
	if without >= 0 {
		c.without = append(c.without, without)
	}
	c.after = append(c.after, after)
	c.before.add(before)
	c.then.add(then)
	r.calm.add(before)
}

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, `
without, mended: until each client had a price published after the blow, or after it was mended; median, most
age: of a price that reaches a client, from when it was published; 99 %%, a second before the blow, and from the blow until all was well
back: from a connection's loss to the next; 99 %%, most
new: from subscribing to what nobody else wants to a price published after that; 99 %%, most (before all blows: median %s; %s)

| %-42s | times | without | mended | age before | age | gaps told | connections lost | back | new |
|---|---|---|---|---|---|---|---|---|---|
`, at(r.calm.first, 50), worst(r.calm.first), "blow")
	for _, name := range slices.Sorted(maps.Keys(r.blows)) {
		c := r.blows[name]
		fmt.Fprintf(&b, "| %-42s | %d | %s | %s | %s | %s | %d | %d | %s | %s |\n", name, len(c.after), spread(c.without), spread(c.after),
			at(c.before.age, 99), at(c.then.age, 99), c.then.gaps, c.then.lost, worst(c.then.back), worst(c.then.first))
	}
	return b.String()
}

func worst(h *hdrhistogram.Histogram) string { return at(h, 99) + ", " + at(h, 100) }

// at is a quantile, in per cent.
func at(h *hdrhistogram.Histogram, q float64) string {
	if h == nil || h.TotalCount() == 0 {
		return "-"
	}
	return short(time.Duration(h.ValueAtQuantile(q)) * time.Microsecond)
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	all = slices.Sorted(slices.Values(all))
	return short(all[len(all)/2]) + ", " + short(all[len(all)-1])
}

func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

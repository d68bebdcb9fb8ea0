package oracle

import (
	"fmt"
	"strings"
)

// Counts is what was seen, over any number of connections and symbols.
type Counts struct {
	Ticks     int64 // all, snapshots included
	Snapshots int64 // first ticks after a subscribe

	Backwards int64 // an older price after a newer one
	Repeated  int64 // the same price twice in a row, mode latest
	Lost      int64 // prices never sent, mode every
	Doubled   int64 // prices sent twice, mode every
	Misplaced int64 // the position did not go up with the price, or its step in mode every was another than the price's
	Mistold   int64 // a gap that names what was sent, or jumps over what it does not name
	Foreign   int64 // a symbol that was not subscribed to, or a price without a number

	Skipped     int64 // prices left out in mode latest: allowed
	ToldMissing int64 // prices that gaps named, mode every: allowed, and what a run must report
	Older       int64 // snapshots older than what the client had before it came back: it is to drop them
}

// Faults is the number of what must not be.
func (c *Counts) Faults() int64 {
	return c.Backwards + c.Repeated + c.Lost + c.Doubled + c.Misplaced + c.Mistold + c.Foreign
}

// Add adds another count.
func (c *Counts) Add(o Counts) {
	c.Ticks += o.Ticks
	c.Snapshots += o.Snapshots
	c.Backwards += o.Backwards
	c.Repeated += o.Repeated
	c.Lost += o.Lost
	c.Doubled += o.Doubled
	c.Misplaced += o.Misplaced
	c.Mistold += o.Mistold
	c.Foreign += o.Foreign
	c.Skipped += o.Skipped
	c.ToldMissing += o.ToldMissing
	c.Older += o.Older
}

// Minus is what came after an earlier state of the same counts.
func (c Counts) Minus(before Counts) Counts {
	return Counts{
		Ticks: c.Ticks - before.Ticks, Snapshots: c.Snapshots - before.Snapshots,
		Backwards: c.Backwards - before.Backwards, Repeated: c.Repeated - before.Repeated,
		Lost: c.Lost - before.Lost, Doubled: c.Doubled - before.Doubled,
		Misplaced: c.Misplaced - before.Misplaced, Mistold: c.Mistold - before.Mistold, Foreign: c.Foreign - before.Foreign,
		Skipped: c.Skipped - before.Skipped, ToldMissing: c.ToldMissing - before.ToldMissing, Older: c.Older - before.Older,
	}
}

// String names the faults, or says "none".
func (c Counts) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"backwards", c.Backwards}, {"repeated", c.Repeated}, {"lost", c.Lost}, {"doubled", c.Doubled},
		{"misplaced", c.Misplaced}, {"mistold", c.Mistold}, {"foreign", c.Foreign},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

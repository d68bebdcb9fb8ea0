package bucket

import (
	"cmp"
	"slices"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

// ringSize is how many ticks of a symbol stay for readers of mode every: ten seconds at 50 ticks/s.
const ringSize = 512

// ring holds a symbol's last ticks in order for all its readers of mode every. A reader is only a position: what comes
// after it is sent, and a step between two ticks that is no step of one is a gap. So a lost tick, a reader that was too
// slow for the ring, a new epoch and a client that resumes are all the same case.
type ring struct {
	entries []entry // sorted by position; trimmed to ringSize when twice that is reached, which makes adding O(1)
	digits  session.Digits
}

type entry struct {
	tick.Tick
	frames  [wholeDialects][]byte
	compact *compactEntry // nil until a reader that speaks Compact comes by
	open    int64         // until then what is missing before this tick may still come by itself
	hole    *hole         // what is missing before this tick, once a reader has come to it
}

func (r *ring) find(p tick.Position) (int, bool) {
	return slices.BinarySearchFunc(r.entries, p, func(e entry, p tick.Position) int {
		if c := cmp.Compare(e.Epoch, p.Epoch); c != 0 {
			return c
		}
		return cmp.Compare(e.Seq, p.Seq)
	})
}

// after is the index of the first tick after p.
func (r *ring) after(p tick.Position) int {
	i, found := r.find(p)
	if found {
		i++
	}
	return i
}

// add takes ticks in any order and tells whether t is new. What is older than all of a full ring is not taken.
func (r *ring) add(t *tick.Tick, now int64) bool { return r.put(t, now, ringSize) }

// fill is add for what has been asked for: there was room for it then.
func (r *ring) fill(t *tick.Tick, now int64) bool { return r.put(t, now, 2*ringSize-1) }

func (r *ring) put(t *tick.Tick, now int64, full int) bool {
	if len(r.entries) == 2*ringSize {
		copy(r.entries, r.entries[ringSize:])
		clear(r.entries[ringSize:])
		r.entries = r.entries[:ringSize]
	}
	n := len(r.entries)
	i := n
	if n > 0 && !t.After(r.entries[n-1].Position) {
		var found bool
		if i, found = r.find(t.Position); found || i == 0 && n >= full {
			return false
		}
	}
	e := entry{Tick: *t}
	if i > 0 && !follows(r.entries[i-1].Position, t) {
		e.open = now + int64(holeWait)
	}
	if i < n {
		e.hole = r.entries[i].hole
	}
	r.entries = slices.Insert(r.entries, i, e)
	return true
}

// follows tells whether nothing can be missing between a reader at p and t.
func follows(p tick.Position, t *tick.Tick) bool {
	if p == (tick.Position{}) {
		return true // at the very start there is nothing to miss
	}
	if t.Epoch == p.Epoch {
		return t.Seq == p.Seq+1
	}
	return t.Seq == 1 && t.Prev == p
}

// gap is a run of ticks that a reader misses. To 0 means: to the end of the epoch, which nobody here knows.
type gap struct{ Epoch, From, To uint64 }

// gaps are what a reader at p misses before t, when t does not follow p.
func gaps(p tick.Position, t *tick.Tick) []gap {
	if t.Epoch == p.Epoch {
		return []gap{{p.Epoch, p.Seq + 1, t.Seq - 1}}
	}
	var g []gap
	switch prev := t.Prev; {
	case t.Seq != 1 || prev.Epoch < p.Epoch:
		g = append(g, gap{Epoch: p.Epoch, From: p.Seq + 1})
	case prev.Epoch == p.Epoch && prev.Seq > p.Seq:
		g = append(g, gap{p.Epoch, p.Seq + 1, prev.Seq})
	case prev.Epoch > p.Epoch:
		g = append(g, gap{Epoch: p.Epoch, From: p.Seq + 1}, gap{prev.Epoch, 1, prev.Seq})
	}
	if t.Seq > 1 {
		g = append(g, gap{t.Epoch, 1, t.Seq - 1})
	}
	return g
}

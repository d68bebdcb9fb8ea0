package bucket

import "time"

// slot is the wheel's resolution: fine enough for 100 writes a second, coarse enough that a thousand connections whose
// time has come share one wake-up.
const slot = 5 * time.Millisecond

// wheelSlots cover 2.56 s, more than the longest gap between two writes (max_rate 1: one second).
const wheelSlots = 512

// wheel holds the clocks that wait for their next write. Adding and firing are O(1); nothing is ever removed early: a
// clock whose connection has gone fires into nothing.
type wheel struct {
	slots [wheelSlots][]*clock
	at    int64 // slots before this one have fired
	n     int   // clocks on the wheel
}

func slotOf(t int64) int64 { return (t + int64(slot) - 1) / int64(slot) }

// add has c fire at t or up to a slot later.
func (w *wheel) add(c *clock, t, now int64) {
	if w.n == 0 {
		w.at = now / int64(slot)
	}
	s := min(max(slotOf(t), w.at+1), w.at+wheelSlots-1)
	w.slots[s%wheelSlots] = append(w.slots[s%wheelSlots], c)
	w.n++
}

// fire calls due for each clock whose time has come. due may add clocks.
func (w *wheel) fire(now int64, due func(c *clock, now int64)) {
	for last := now / int64(slot); w.n > 0 && w.at < last; {
		w.at++
		s := &w.slots[w.at%wheelSlots]
		for i, c := range *s {
			(*s)[i] = nil
			due(c, now)
			w.n-- // not before: add starts anew on an empty wheel
		}
		*s = (*s)[:0]
	}
}

// next is when the first clock fires; ok is false on an empty wheel.
func (w *wheel) next() (t int64, ok bool) {
	if w.n == 0 {
		return 0, false
	}
	s := w.at + 1
	for len(w.slots[s%wheelSlots]) == 0 {
		s++
	}
	return s * int64(slot), true
}

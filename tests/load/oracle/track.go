package oracle

// Mode says what a subscription may leave out.
type Mode uint8

const (
	Latest Mode = iota // prices may be left out, the newest comes
	Every              // each price, once and in order, or a gap that names it
)

// Fault is what was wrong with one tick or gap.
type Fault uint8

const (
	None Fault = iota
	Backwards
	Repeated
	Lost
	Doubled
	Misplaced
	Mistold
	Foreign
)

func (f Fault) String() string {
	return [...]string{"none", "backwards", "repeated", "lost", "doubled", "misplaced", "mistold", "foreign"}[f]
}

// Tick is what the oracle needs of a tick: the number that its price carries, which counts up by 1 with each price
// published of the symbol, and its position. Epoch 0: the server knows no positions.
type Tick struct {
	Number, Epoch, Seq uint64
}

// Track follows one symbol on one connection. The zero Track waits for its first tick, which is its snapshot.
type Track struct {
	highest    Tick   // of what was sent; after a gap its position is that of the last tick that the gap names
	shown      uint64 // the number of the last tick, which a client shows; not the highest one after a fault
	told       uint64 // prices after the highest that gaps have named
	holes      []hole // what was lost and may yet come, too late; rare
	started    bool   // the snapshot was there
	endUnknown bool   // a gap to the end of an epoch was told: how many it names, the next tick shows
}

// hole is lost prices, from and to included.
type hole struct{ from, to uint64 }

// mostHoles bounds what a broken server can make a Track remember.
const mostHoles = 16

// Started tells whether the snapshot was there.
func (t *Track) Started() bool { return t.started }

// Last is the number of the price that a client would show now; 0: none.
func (t *Track) Last() uint64 { return t.shown }

// Seq is the seq of the newest tick.
func (t *Track) Seq() uint64 { return t.highest.Seq }

// Again says that the client subscribes again or has come back: the next tick is a snapshot.
func (t *Track) Again() {
	t.started, t.endUnknown, t.told, t.holes = false, false, 0, nil
}

// Tick takes a tick, counts it and gives the fault, if it is one.
func (t *Track) Tick(c *Counts, m Mode, k Tick) Fault {
	c.Ticks++
	if !t.started {
		c.Snapshots++
		if k.Number < t.shown {
			c.Older++
		}
		t.started, t.highest, t.shown = true, k, k.Number
		return None
	}
	t.shown = k.Number
	if k.Number <= t.highest.Number {
		return t.old(c, m, k)
	}
	fault := None
	if !k.after(t.highest) {
		c.Misplaced++
		fault = Misplaced
	}
	switch missing := k.Number - t.highest.Number - 1; {
	case m == Latest:
		c.Skipped += int64(missing)
	case t.endUnknown:
		c.ToldMissing += int64(missing)
	case missing < t.told: // a gap named this one or one still to come
		c.Mistold++
		c.ToldMissing += int64(missing)
		fault = Mistold
	default:
		c.ToldMissing += int64(t.told)
		if lost := missing - t.told; lost > 0 {
			c.Lost += int64(lost)
			t.lose(k.Number-lost, k.Number-1)
			fault = Lost
		}
	}
	t.highest, t.told, t.endUnknown = k, 0, false
	return fault
}

// after tells whether k's position is above o's.
func (k Tick) after(o Tick) bool {
	return k.Epoch > o.Epoch || k.Epoch == o.Epoch && (k.Seq > o.Seq || k.Epoch == 0)
}

// old takes a tick that is not newer than the newest.
func (t *Track) old(c *Counts, m Mode, k Tick) Fault {
	switch same := k.Number == t.highest.Number; {
	case m == Latest && same:
		c.Repeated++
		return Repeated
	case m == Latest:
		c.Backwards++
		return Backwards
	case same:
		c.Doubled++
		return Doubled
	case t.find(k.Number):
		c.Lost--
		c.Backwards++
		return Backwards
	}
	c.Doubled++
	c.Backwards++
	return Doubled
}

// lose remembers a hole; of too many it forgets the oldest.
func (t *Track) lose(from, to uint64) {
	if len(t.holes) == mostHoles {
		t.holes = append(t.holes[:0], t.holes[1:]...)
	}
	t.holes = append(t.holes, hole{from, to})
}

// find takes a number out of the holes and tells whether it was in one.
func (t *Track) find(number uint64) bool {
	for i, h := range t.holes {
		if number < h.from || number > h.to {
			continue
		}
		t.holes[i].to = number - 1
		switch {
		case number < h.to && number > h.from:
			t.lose(number+1, h.to)
		case number < h.to:
			t.holes[i] = hole{number + 1, h.to}
		case number == h.from:
			t.holes = append(t.holes[:i], t.holes[i+1:]...)
		}
		return true
	}
	return false
}

// Gap takes a gap: the ticks of that epoch with seqs from to to will not come; to 0: to the end of the epoch. Numbers and
// seqs step alike within an epoch, so a gap's length is that of the prices it names.
func (t *Track) Gap(c *Counts, m Mode, epoch, from, to uint64) Fault {
	newest := t.highest
	if m == Latest || !t.started || epoch < newest.Epoch || to != 0 && to < from || epoch == newest.Epoch && from <= newest.Seq {
		c.Mistold++
		return Mistold
	}
	fault := None
	switch {
	case to == 0:
		t.endUnknown = true
		t.highest.Epoch, t.highest.Seq = epoch, max(from, 1)-1
		return None
	case epoch > newest.Epoch:
		t.endUnknown = true // what the epoch before held is not known
	case !t.endUnknown:
		if jumped := from - newest.Seq - 1; jumped > 0 {
			// Those between may not be said to be missing with the others: told counts from the newest on.
			c.Lost += int64(jumped)
			first := newest.Number + t.told + 1
			t.lose(first, first+jumped-1)
			t.highest.Number += jumped
			fault = Lost
		}
		t.told += to - from + 1
	}
	t.highest.Epoch, t.highest.Seq = epoch, to
	return fault
}

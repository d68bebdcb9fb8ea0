package bucket

import (
	"time"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

// numbered is what a topic has for connections that speak Compact: its number, and its newest tick in full form and in
// changed form against each of the last ticks that somebody was sent, encoded when first needed. A connection is sent
// the changed form against the version that it was sent last, which its subscription remembers in 4 bytes.
//
// Why not against the tick before alone: a connection was written to once in 20 ms, and of Binance's BTC and ETH 61 % of
// what it is sent then is not the tick after the one it has, and would be full: 42 bytes in the median, against 10.
type numbered struct {
	number  uint32
	version uint32         // of the newest tick, counting those that were sent to anybody; never 0
	sent    bool           // the newest tick was sent to somebody
	digits  session.Digits // what it and all of bases were sent with
	full    []byte         // the newest tick as a frame; empty: not needed yet

	bases  []base // by version modulo their number, which is a power of two
	oldest uint32 // version since which bases are whole
}

// base is a tick that somebody was sent.
type base struct {
	tick    tick.Tick
	at      int64  // when it ceased to be the newest
	changed []byte // the newest tick as a frame for who has this one; empty: not needed yet
}

const (
	// baseAge is how long a tick is worth to be kept as a base: connections with a max_rate of 4 and above come back
	// within it. A topic has room for as many as were sent in that time, at most maxBases.
	baseAge  = 250 * time.Millisecond
	maxBases = 64
)

func newNumbered(number uint32) *numbered {
	return &numbered{number: number, version: 1, oldest: 1, bases: make([]base, 1)}
}

// replaced is called before newest is replaced.
func (n *numbered) replaced(newest *tick.Tick, now int64) {
	if !n.sent {
		return // nobody has it, so nobody can need it as a base; and there is no frame of it
	}
	n.sent = false
	n.full = n.full[:0]
	for i := range n.bases {
		n.bases[i].changed = n.bases[i].changed[:0]
	}
	if size := uint32(len(n.bases)); n.version-n.oldest >= size {
		if now-n.base(n.oldest).at < int64(baseAge) && size < maxBases {
			n.resize(2 * len(n.bases))
		} else {
			n.oldest++
		}
	}
	b := n.base(n.version)
	b.tick, b.at = *newest, now
	if n.version++; n.version == 0 { // 0 stands for nothing sent
		n.version, n.oldest = 1, 1
	}
	if size := uint32(len(n.bases)); n.version%size == 0 && size > 1 && n.version-n.oldest > size/4 &&
		now-n.base(n.version-1-size/4).at >= int64(baseAge) { // a burst is over: less than a quarter is needed
		n.resize(len(n.bases) / 2)
	}
}

func (n *numbered) base(version uint32) *base { return &n.bases[version&uint32(len(n.bases)-1)] }

// resize makes room for that many bases and keeps as many of the last ones.
func (n *numbered) resize(size int) {
	old := *n
	n.bases = make([]base, size)
	if n.version-n.oldest > uint32(size) {
		n.oldest = n.version - uint32(size)
	}
	for v := n.oldest; v != n.version; v++ {
		*n.base(v) = *old.base(v)
	}
}

// frame is the newest tick for who was sent the version has last (0: none). Its memory is reused by the next tick.
func (n *numbered) frame(d Dialect, newest *tick.Tick, has uint32) []byte {
	if !n.sent {
		n.sent = true
		if g := n.digits.Cover(newest); g != n.digits {
			n.digits, n.oldest = g, n.version
		}
	}
	if has >= n.oldest && has < n.version {
		if b := n.base(has); session.Follows(&b.tick, newest) {
			if len(b.changed) == 0 {
				b.changed = d.AppendChanged(b.changed, n.number, &b.tick, newest, n.digits)
			}
			return b.changed
		}
	}
	if len(n.full) == 0 {
		n.full = d.AppendFull(n.full, n.number, newest, n.digits)
	}
	return n.full
}

// compactEntry is a ring's tick in Compact.
type compactEntry struct {
	digits  session.Digits
	full    []byte
	changed []byte        // for who was sent the tick at before
	before  tick.Position // of the entry before this one when changed was made
}

// frame is entry k for a reader who was sent the tick at position sent last (zero: none). It gets the changed form if
// that is the entry before.
func (r *ring) frame(d Dialect, number uint32, k int, sent tick.Position) []byte {
	e := &r.entries[k]
	c := e.compact
	if c == nil {
		r.digits = r.digits.Cover(&e.Tick)
		c = &compactEntry{digits: r.digits}
		e.compact = c
	}
	if k > 0 {
		if p := &r.entries[k-1]; p.Position == sent && p.compact != nil && p.compact.digits == c.digits && session.Follows(&p.Tick, &e.Tick) {
			if c.before != sent {
				c.changed = d.AppendChanged(c.changed[:0], number, &p.Tick, &e.Tick, c.digits)
				c.before = sent
			}
			return c.changed
		}
	}
	if c.full == nil {
		c.full = d.AppendFull(nil, number, &e.Tick, c.digits)
	}
	return c.full
}

// numbers gives topics their numbers, from 1 up, those first that are free again: small ones are short on the wire.
type numbers struct {
	last uint32
	free []uint32
}

func (n *numbers) take() uint32 {
	if i := len(n.free) - 1; i >= 0 {
		x := n.free[i]
		n.free = n.free[:i]
		return x
	}
	n.last++
	return n.last
}

// number gives a topic's number. It keeps it until it leaves the table, when nobody has been subscribed to it for a while.
func (b *Bucket) number(t *topic) uint32 {
	if t.compact == nil {
		t.compact = newNumbered(b.numbers.take())
	}
	return t.compact.number
}

// unnumber takes the number of a topic that leaves the table.
func (b *Bucket) unnumber(t *topic) {
	if t.compact != nil {
		b.numbers.free = append(b.numbers.free, t.compact.number)
		t.compact = nil
	}
}

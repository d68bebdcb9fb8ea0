package demand

import (
	"iter"
	"maps"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// Demand holds the parts of every bucket.
//
// A part is taken by these rules, in which number is the part's number here:
//
//   - Announced: if its number is above ours, its symbols are added, latest becomes every where it says so, and its
//     number is ours. What it no longer names, and every that became latest, stays until KV says the same: an
//     announcement may be of a change that never came to stand. At or below ours it is ignored.
//   - From KV: if its number is below ours it is ignored, for KV will say more: the announcement came first. If KV has
//     said that number already it is ignored, too. Else it replaces the part, removals included; so KV with the very
//     number that was announced is what completes the announced change.
//   - Gone from KV: the part is removed, whatever its number; a bucket without parts is forgotten. Where an
//     announcement overtook the removal of what was there before, KV says the part again within moments.
//   - Lost with KV: the part stays, as one that was only announced. Its edge has it written again.
type Demand struct {
	buckets map[subject.Bucket]*bucket
	ahead   map[key]time.Time // parts whose number KV has not said, or has lost, and when it was last announced
	wants   int
}

type key struct {
	bucket subject.Bucket
	part   int
}

type bucket struct {
	parts [subject.Parts]*part
}

type part struct {
	number  uint64                  // highest applied
	stored  uint64                  // highest that KV said, 0 when it said none
	symbols map[subject.Symbol]bool // every?
}

// New returns an empty Demand.
func New() *Demand {
	return &Demand{buckets: map[subject.Bucket]*bucket{}, ahead: map[key]time.Time{}}
}

// Pick is a symbol that a part names.
type Pick struct {
	Symbol subject.Symbol
	Every  bool
	Added  bool // was not wanted before; else only its flag changed
}

// Fresh tells whether the bucket needs the symbol's newest tick: it did not want it, or not every one.
func (p Pick) Fresh() bool { return p.Added || p.Every }

// Effect is what one change came to.
type Effect struct {
	Bucket  subject.Bucket
	Part    int
	Number  uint64           // the part's number now, 0 when the part is gone
	Changed []Pick           // added, or with another flag
	Removed []subject.Symbol // no longer wanted
	Closed  bool             // the bucket had no other part and is forgotten
}

// Announce takes a part from interest.<region>. ok is false when it changes nothing.
func (d *Demand) Announce(a control.Announcement, now time.Time) (e Effect, ok bool) {
	if p := d.part(a.Bucket, a.Part); p != nil && a.Number <= p.number {
		// Its edge still wants it; see Overdue.
		if k := (key{a.Bucket, a.Part}); a.Number == p.number && p.stored < p.number {
			d.ahead[k] = now
		}
		return Effect{}, false
	}
	p := d.open(a.Bucket, a.Part)
	e = Effect{Bucket: a.Bucket, Part: a.Part, Number: a.Number}
	for s, f := range a.Symbols {
		every := f == control.Every
		if had, ok := p.symbols[s]; !ok || every && !had {
			d.set(p, &e, s, every)
		}
	}
	p.number = a.Number
	d.ahead[key{a.Bucket, a.Part}] = now
	return e, true
}

// Store takes a part from KV. ok is false when it changes nothing.
func (d *Demand) Store(b subject.Bucket, n int, v control.PartValue) (e Effect, ok bool) {
	if p := d.part(b, n); p != nil && (v.Number < p.number || v.Number == p.stored) {
		return Effect{}, false
	}
	return d.replace(b, n, v), true
}

// Remove takes a part that is gone from KV. ok is false when it was not there.
func (d *Demand) Remove(b subject.Bucket, n int) (e Effect, ok bool) {
	p := d.part(b, n)
	if p == nil {
		return Effect{}, false
	}
	e = Effect{Bucket: b, Part: n}
	for s := range p.symbols {
		e.Removed = append(e.Removed, s)
	}
	d.wants -= len(p.symbols)
	delete(d.ahead, key{b, n})
	bk := d.buckets[b]
	bk.parts[n] = nil
	if bk.parts == [subject.Parts]*part{} {
		delete(d.buckets, b)
		e.Closed = true
	}
	return e, true
}

// Lost takes a part that KV has no more because KV was lost; it stays as if it was last announced at the given time.
func (d *Demand) Lost(b subject.Bucket, n int, announced time.Time) {
	if p := d.part(b, n); p != nil {
		p.stored = 0
		d.ahead[key{b, n}] = announced
	}
}

// Overdue settles the parts that were last announced before since and that KV has not said: an announcement may
// outlive its edge, and nobody would remove it. look says what KV has of a part. The effects are given to each.
func (d *Demand) Overdue(since time.Time, look func(subject.Bucket, int) (control.PartValue, bool), each func(Effect)) {
	for k, at := range d.ahead {
		if !at.Before(since) {
			continue
		}
		if v, ok := look(k.bucket, k.part); ok {
			each(d.replace(k.bucket, k.part, v))
		} else if e, ok := d.Remove(k.bucket, k.part); ok {
			each(e)
		}
	}
}

// Names are the buckets that have a part.
func (d *Demand) Names() iter.Seq[subject.Bucket] { return maps.Keys(d.buckets) }

// Each gives a bucket's parts as if they were new.
func (d *Demand) Each(name subject.Bucket) iter.Seq[Effect] {
	return func(yield func(Effect) bool) {
		b := d.buckets[name]
		if b == nil {
			return
		}
		for n, p := range b.parts {
			if p == nil {
				continue
			}
			e := Effect{Bucket: name, Part: n, Number: p.number}
			for s, every := range p.symbols {
				e.Changed = append(e.Changed, Pick{s, every, true})
			}
			if !yield(e) {
				return
			}
		}
	}
}

// Buckets is the number of buckets that have a part.
func (d *Demand) Buckets() int { return len(d.buckets) }

// Wants is the number of pairs of a bucket and a symbol it wants.
func (d *Demand) Wants() int { return d.wants }

// Ahead is the number of parts announced that KV has not said.
func (d *Demand) Ahead() int { return len(d.ahead) }

// replace makes a part what KV says.
func (d *Demand) replace(b subject.Bucket, n int, v control.PartValue) Effect {
	p := d.open(b, n)
	e := Effect{Bucket: b, Part: n, Number: v.Number}
	for s := range p.symbols {
		if _, ok := v.Symbols[s]; !ok {
			delete(p.symbols, s)
			d.wants--
			e.Removed = append(e.Removed, s)
		}
	}
	for s, f := range v.Symbols {
		every := f == control.Every
		if had, ok := p.symbols[s]; !ok || had != every {
			d.set(p, &e, s, every)
		}
	}
	p.number, p.stored = v.Number, v.Number
	delete(d.ahead, key{b, n})
	return e
}

// set adds a symbol or gives it another flag.
func (d *Demand) set(p *part, e *Effect, s subject.Symbol, every bool) {
	_, had := p.symbols[s]
	if !had {
		d.wants++
	}
	p.symbols[s] = every
	e.Changed = append(e.Changed, Pick{Symbol: s, Every: every, Added: !had})
}

// part gives a part, nil when there is none.
func (d *Demand) part(b subject.Bucket, n int) *part {
	if bk := d.buckets[b]; bk != nil {
		return bk.parts[n]
	}
	return nil
}

// open gives a part and makes it when there is none.
func (d *Demand) open(b subject.Bucket, n int) *part {
	bk := d.buckets[b]
	if bk == nil {
		bk = &bucket{}
		d.buckets[b] = bk
	}
	if bk.parts[n] == nil {
		bk.parts[n] = &part{symbols: map[subject.Symbol]bool{}}
	}
	return bk.parts[n]
}

package bucket

import (
	"slices"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// topic is one symbol in a bucket's table: its newest tick, encoded once per dialect when somebody first needs it, and
// who wants it.
type topic struct {
	symbol subject.Symbol
	part   int
	newest tick.Tick // Price is not given: no tick yet
	frames [wholeDialects][]byte
	fresh  [wholeDialects]bool // frames[i] is of newest

	traced  *traced   // newest is being followed; nil: it is not, as nearly always
	compact *numbered // nil until a connection that speaks Compact subscribes

	subs  []subref // subscribers
	holds int      // subscribes in progress that need it
	every int      // of subscribers and holds, those in mode every
	ring  *ring    // nil when every is 0 and the routers need not send each tick

	// What the routers know of this topic (see interest.go).
	wanted          control.Flag // as it stands in the part's set; empty: not in it
	number          uint64       // the change that carried wanted
	live            bool         // newest may be shown: a router has confirmed that it serves this topic, or told its newest
	unused          int64        // since when nobody needs wanted as it is; 0: somebody does
	lingers, leaves bool         // on interest's list of unused, of removed
}

// subref is one subscription: index i of clock.s.subs, and what of it each tick has to know.
type subref struct {
	clock *clock
	i     uint32
	every bool
}

func (t *topic) priced() bool { return t.newest.Price.Given() }

// set takes a tick if it is after the newest one, and into the ring if there is one. changed: newest is new;
// ringed: the ring has one more.
func (t *topic) set(tk *tick.Tick, now int64) (changed, ringed bool) {
	if t.ring != nil {
		ringed = t.ring.add(tk, now)
	}
	if tk.After(t.newest.Position) {
		if t.compact != nil {
			t.compact.replaced(&t.newest, now)
		}
		t.newest = *tk
		t.newest.Symbol = t.symbol // the table's own string, so that no decoded message stays alive
		t.fresh = [wholeDialects]bool{}
		changed = true
	}
	return changed, ringed
}

// frame is the newest tick as a ready frame. Its memory is reused by the next tick: who keeps it must copy.
func (t *topic) frame(d Dialect) []byte {
	i := d.Index()
	if !t.fresh[i] {
		t.frames[i] = d.AppendTick(t.frames[i][:0], &t.newest)
		t.fresh[i] = true
	}
	return t.frames[i]
}

// addEvery counts one more in mode every.
func (t *topic) addEvery(now int64) {
	if t.every++; t.ring == nil {
		t.ring = &ring{}
		t.seedRing(now)
	}
}

// seedRing puts the newest tick into the ring once it may be shown, so that a reader always finds its start there.
func (t *topic) seedRing(now int64) {
	if t.ring != nil && t.live && t.priced() {
		t.ring.add(&t.newest, now)
	}
}

func (t *topic) dropEvery() { t.every-- }

// subscribe appends a subscription and gives its place.
func (t *topic) subscribe(r subref) uint32 {
	t.subs = append(t.subs, r)
	return uint32(len(t.subs) - 1)
}

// unsubscribe removes the subscription at pos in O(1): the last one takes its place.
func (t *topic) unsubscribe(pos uint32) {
	last := len(t.subs) - 1
	moved := t.subs[last]
	t.subs[pos] = moved
	t.subs[last] = subref{}
	t.subs = t.subs[:last]
	if int(pos) < last {
		moved.clock.s.subs[moved.i].pos = pos
	}
	if cap(t.subs) > 64 && len(t.subs) < cap(t.subs)/4 {
		t.subs = slices.Clone(t.subs)
	}
}

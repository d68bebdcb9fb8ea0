package standby

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// early is how long before a price its tick may be seen here: what one publishes and what another makes of it come on
// different ways.
const early = time.Second

// Held are the prices. Its methods may be called from any goroutine.
//
//	standing by:  Hold --> held --Take over--> stamped, unless older than keep
//	              Tick --> the leader had it: not held
//	leading:      Stamp: what is held of the symbol is older, and forgotten
type Held struct {
	keep    time.Duration
	most    int
	pending atomic.Int64 // prices held

	mu      sync.Mutex
	leading bool
	stopped bool
	swept   time.Time // when the old ones were last dropped
	held    map[subject.Symbol]price
	ticks   map[subject.Symbol]seen // newest tick of the leader
}

type price struct {
	quote tick.Quote
	at    time.Time
	stamp func()
}

type seen struct {
	tick tick.Tick
	at   time.Time
}

// New holds prices for keep: as long as it may take until the death of a leader is known and another one stamps. Beyond
// most symbols, of whoever publishes junk, none is held.
func New(keep time.Duration, most int) *Held {
	return &Held{keep: keep, most: most, held: map[subject.Symbol]price{}, ticks: map[subject.Symbol]seen{}}
}

// Hold takes a price that came while another ingest stamps. stamp is called with it if that turns out to be needed: on
// the goroutine that calls TakeOver, or here if that was called in between. It must not call Held.
func (h *Held) Hold(s subject.Symbol, q tick.Quote, now time.Time, stamp func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	if h.leading {
		stamp()
		return
	}
	h.sweep(now)
	_, known := h.held[s]
	if t, ok := h.ticks[s]; ok && same(t.tick.Quote, q) && now.Sub(t.at) <= early {
		delete(h.held, s)
	} else if known || len(h.held) < h.most {
		h.held[s] = price{q, now, stamp}
	}
	h.pending.Store(int64(len(h.held)))
}

// sweep makes room, if there is none, by what is too old: prices that the leader refuses are never stamped.
func (h *Held) sweep(now time.Time) {
	if len(h.held) < h.most || now.Sub(h.swept) < time.Second {
		return
	}
	h.swept = now
	maps.DeleteFunc(h.held, func(_ subject.Symbol, p price) bool { return now.Sub(p.at) > h.keep })
}

// Tick takes a tick that the leader has stamped.
func (h *Held) Tick(t *tick.Tick, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leading {
		return
	}
	h.ticks[t.Symbol] = seen{*t, now}
	if p, ok := h.held[t.Symbol]; ok && same(p.quote, t.Quote) {
		delete(h.held, t.Symbol)
		h.pending.Store(int64(len(h.held)))
	}
}

// Newer are the newest ticks of the leader that come after those known.
func (h *Held) Newer(known map[subject.Symbol]tick.Position) (all []tick.Tick) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, t := range h.ticks {
		if t.tick.After(known[s]) {
			all = append(all, t.tick)
		}
	}
	return all
}

// same compares all but the time, which each ingest fills in where the publisher gave none.
func same(a, b tick.Quote) bool {
	a.TS, b.TS = 0, 0
	return a == b
}

// Stamp calls stamp with a price of a leader's own. What is held of the symbol is older, and forgotten.
func (h *Held) Stamp(s subject.Symbol, stamp func()) {
	if h.pending.Load() == 0 { // always, but for the moment of a take-over
		stamp()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, s)
	h.pending.Store(int64(len(h.held)))
	stamp()
}

// TakeOver stamps what nobody else did, in the order in which it came, and tells how many prices that were. This ingest
// leads from now on.
func (h *Held) TakeOver(now time.Time) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leading = true; h.stopped {
		return 0
	}
	for _, p := range slices.SortedFunc(maps.Values(h.held), func(a, b price) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) }) {
		if now.Sub(p.at) <= h.keep {
			p.stamp()
			n++
		}
	}
	clear(h.held)
	clear(h.ticks)
	h.pending.Store(0)
	return n
}

// Stop drops what is held: an ingest that stops takes nothing over.
func (h *Held) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	clear(h.held)
	h.pending.Store(0)
}

// StandBy says that another ingest leads.
func (h *Held) StandBy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leading = false
}

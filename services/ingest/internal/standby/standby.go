package standby

import (
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
//	not active:  Hold --> held, but what is too old when the lease is Won
//	             Tick --> the leader had it: not held
//	active:      TakeOver --> what is held is stamped
//	             Stamp: what is held of the symbol is older, and forgotten
type Held struct {
	keep    time.Duration
	most    int
	active  func() bool
	pending atomic.Int64 // prices held

	mu      sync.Mutex
	stopped bool
	swept   time.Time // when the old ones were last dropped
	held    map[subject.Symbol]price
	ticks   map[subject.Symbol]seen // newest tick of the leader
}

type price struct {
	quote tick.Quote
	at    time.Time
	stamp func() bool
}

type seen struct {
	tick tick.Tick
	at   time.Time
}

// New holds prices for keep: as long as it may take until the death of a leader is known and another one has the lease.
// Beyond most symbols, of whoever publishes junk, none is held. active tells whether this ingest leads; it must not block.
func New(keep time.Duration, most int, active func() bool) *Held {
	return &Held{keep: keep, most: most, active: active, held: map[subject.Symbol]price{}, ticks: map[subject.Symbol]seen{}}
}

// Hold takes a price that came while another ingest led. stamp is called with it if that turns out to be needed, by
// TakeOver, or here if this ingest has come to lead in between; it tells whether the price is dealt with, which it is not
// while this ingest may not stamp. It must not call Held.
func (h *Held) Hold(s subject.Symbol, q tick.Quote, now time.Time, stamp func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.count()
	if h.stopped {
		return
	}
	if h.active() {
		delete(h.held, s)
		stamp()
		return
	}
	if len(h.held) >= h.most && now.Sub(h.swept) >= time.Second {
		h.sweep(now) // of prices that the leader refuses
	}
	_, known := h.held[s]
	if t, ok := h.ticks[s]; ok && same(t.tick.Quote, q) && now.Sub(t.at) <= early {
		delete(h.held, s)
	} else if known || len(h.held) < h.most {
		h.held[s] = price{q, now, stamp}
	}
}

// count tells those who do not hold the lock.
func (h *Held) count() { h.pending.Store(int64(len(h.held))) }

func (h *Held) sweep(now time.Time) {
	h.swept = now
	maps.DeleteFunc(h.held, func(_ subject.Symbol, p price) bool { return now.Sub(p.at) > h.keep })
}

// Tick takes a tick that the leader has stamped.
func (h *Held) Tick(t *tick.Tick, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.count()
	if h.active() {
		return
	}
	h.ticks[t.Symbol] = seen{*t, now}
	if p, ok := h.held[t.Symbol]; ok && same(p.quote, t.Quote) {
		delete(h.held, t.Symbol)
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
	h.count()
	stamp()
}

// Won says that nobody else leads any more. What the one before must have come to is dropped; the rest is held until it can
// be stamped, however long that takes: nobody else will.
func (h *Held) Won(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sweep(now)
	h.count()
}

// TakeOver stamps what nobody else did, in the order in which it came, and tells how many prices that were. Where it may
// not, because this ingest leads no more or was paused, the rest is held on.
func (h *Held) TakeOver() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.count()
	if h.stopped || !h.active() {
		return 0
	}
	order := func(a, b subject.Symbol) int { return h.held[a].at.Compare(h.held[b].at) }
	for _, s := range slices.SortedFunc(maps.Keys(h.held), order) {
		if !h.held[s].stamp() {
			return n
		}
		delete(h.held, s)
		n++
	}
	clear(h.ticks)
	return n
}

// Stop drops what is held: an ingest that stops takes nothing over.
func (h *Held) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	clear(h.held)
	h.count()
}
